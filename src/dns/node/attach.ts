// Gives the DNS server its addresses on the node, and tells the kernel again and again that it serves there.
import { release } from 'node:os';
import { deleteAddress, listAddresses, replaceAddress } from '../../linux/addresses.ts';
import { failedWith } from '../../linux/libc.ts';
import { changeLink, createBridge, createDummy, deleteLink, findLink } from '../../linux/links.ts';
import { Netlink } from '../../linux/netlink.ts';
import { type Nft, openNft } from '../../linux/nft-run.ts';
import type { Log } from '../../log/log.ts';
import { type Family, familyOf, type Ip } from '../../net/address.ts';
import { localAddress, nodeTable, renew, serve, servingSeconds, tableOf, tableWithSets } from './tables.ts';

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
  const place: Place = { addresses, families, nft, links: Netlink.open(), announced: '' };
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
      deleteLink(place.links, linkName);
      place.links.close();
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

/** Whether this kernel renews an element of nftables that is added again: "allow updates of existing timeouts", 6.12. */
const kernelRenews = ((): boolean => {
  const [major = 0, minor = 0] = release()
    .split('.')
    .map((part) => Number.parseInt(part, 10));
  return major > 6 || (major === 6 && minor >= 12);
})();

interface Place {
  readonly addresses: readonly Ip[];
  readonly families: readonly Family[];
  readonly nft: Nft;
  /** Looks for links: this is done so often that it is kept open. */
  readonly links: Netlink;
  /** Where the kernel was told last that the server serves. */
  announced: string;
}

async function announceOnce(place: Place, isServing: boolean): Promise<void> {
  const { addresses, families, nft, links } = place;
  // A virtual server takes what comes for its address, tracked or not: without tracking only half of its work is done.
  const hasVirtualServers = findLink(links, virtualServersLink) !== undefined;
  const led = hasVirtualServers ? addresses.filter((ip) => ip === localAddress) : addresses;
  const now = isServing ? led.join() : '';
  const isSame = kernelRenews && isServing && place.announced === now;
  place.announced = '';
  for (const family of families)
    if (isSame) await nft.commit(tableWithSets(family), renew(family, led));
    else await nft.commit(tableOf(family), serve(family, led, isServing));
  place.announced = now;
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
