// Gives the DNS server its addresses on the node, and tells the kernel again and again that it serves there.
import { deleteAddress, listAddresses, replaceAddress } from '../../linux/addresses.ts';
import { failedWith } from '../../linux/libc.ts';
import { changeLink, createBridge, createDummy, deleteLink, findLink } from '../../linux/links.ts';
import { Netlink } from '../../linux/netlink.ts';
import { type Nft, openNft } from '../../linux/nft-run.ts';
import type { Log } from '../../log/log.ts';
import { type Family, familyOf, type Ip } from '../../net/address.ts';
import { localAddress, nodeTable, serve, servingSeconds, tableOf } from './tables.ts';

/** The link that has the addresses; it leads nowhere. */
export const linkName = 'weft-dns';

const renewMs = servingSeconds * 400;

export interface NodeAttachment {
  /**
   * From now on the kernel is told whether the server serves: `isServing` is asked again and again, and whenever
   * `changed` is called.
   */
  announce(isServing: () => boolean): void;
  changed(): void;
  /** Takes the server out: what is asked from now on goes to the Service. What was asked before can still be answered. */
  withdraw(): Promise<void>;
  /** Takes addresses and rules away. */
  detach(): Promise<void>;
}

/** Makes the link with the addresses and the rules, or takes over what is there; nothing leads to the server yet. */
export async function attach(addresses: readonly Ip[], log: Log): Promise<NodeAttachment> {
  const families = [...new Set(addresses.map(familyOf))];
  giveAddresses(addresses);
  const nft = await openNft();
  const place = { addresses, families, nft };
  await writeTables(place);
  let isServing = (): boolean => false;
  let timer: NodeJS.Timeout | undefined;
  let isWithdrawn = false;
  let isBroken = false;
  const tell = async (): Promise<void> => {
    if (isWithdrawn) return;
    try {
      await announceOnce(place, isServing());
      isBroken = false;
    } catch (error) {
      // Somebody has taken the table away: it is made anew, with the addresses.
      if (!isBroken) log.warn({ error: message(error) }, 'the rules of the DNS server are gone and are made anew');
      isBroken = true;
      await repair(place, isServing()).catch(() => {});
    }
  };
  return {
    announce(asked) {
      isServing = asked;
      timer ??= setInterval(() => void tell(), renewMs);
      void tell();
    },
    changed: () => void tell(),
    async withdraw() {
      isWithdrawn = true;
      clearInterval(timer);
      await announceOnce(place, false).catch(() => {});
    },
    async detach() {
      isWithdrawn = true;
      clearInterval(timer);
      for (const family of families) await nft.remove(tableOf(family)).catch(() => {});
      using nl = Netlink.open();
      deleteLink(nl, linkName);
    },
  };
}

function giveAddresses(addresses: readonly Ip[]): void {
  using nl = Netlink.open();
  const link = findLink(nl, linkName)?.index ?? makeLink(nl);
  changeLink(nl, link, { up: true });
  const prefixOf = (address: Ip): number => (familyOf(address) === 'IPv4' ? 32 : 128);
  for (const address of addresses) replaceAddress(nl, { link, address, prefix: prefixOf(address) });
  for (const { address, prefix } of listAddresses(nl, link))
    if (prefix === prefixOf(address) && !addresses.includes(address)) deleteAddress(nl, { link, address, prefix });
}

/** A dummy, or a bridge without ports where the kernel has no dummies. */
function makeLink(nl: Netlink): number {
  try {
    createDummy(nl, { name: linkName, up: true });
  } catch (error) {
    if (!failedWith(error, 'EOPNOTSUPP', 'ENOTSUP')) throw error;
    createBridge(nl, { name: linkName, up: true });
  }
  const made = findLink(nl, linkName);
  if (made === undefined) throw new Error(`the link ${linkName} is gone as soon as it was made`);
  return made.index;
}

/** The link by which the proxy mode ipvs has the addresses of Services. */
const virtualServersLink = 'kube-ipvs0';

function hasVirtualServers(): boolean {
  using nl = Netlink.open();
  return findLink(nl, virtualServersLink) !== undefined;
}

interface Place {
  readonly addresses: readonly Ip[];
  readonly families: readonly Family[];
  readonly nft: Nft;
}

async function announceOnce({ addresses, families, nft }: Place, isServing: boolean): Promise<void> {
  // A virtual server takes what comes for its address, tracked or not: without tracking only half of its work is done.
  const led = hasVirtualServers() ? addresses.filter((ip) => ip === localAddress) : addresses;
  for (const family of families) await nft.commit(tableOf(family), serve(family, led, isServing));
}

async function writeTables({ addresses, families, nft }: Place): Promise<void> {
  for (const family of families) await nft.commit(tableOf(family), nodeTable(family, addresses));
}

async function repair(place: Place, isServing: boolean): Promise<void> {
  giveAddresses(place.addresses);
  await writeTables(place);
  await announceOnce(place, isServing);
}

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error));
