// The kernel's side of the IPVS mode: the link kube-ipvs0, virtual servers and sets, read whole or changed one by one.
import { setImmediate as breathe } from 'node:timers/promises';
import { deleteAddress, listAddresses, replaceAddress } from '../../linux/addresses.ts';
import { Ipsets } from '../../linux/ipset.ts';
import {
  Ipvs,
  type RealServer,
  type RealServerState,
  type VirtualServer,
  type VirtualServerName,
} from '../../linux/ipvs.ts';
import { failedWith } from '../../linux/libc.ts';
import { changeLink, createDummy, deleteLink, findLink } from '../../linux/links.ts';
import { Netlink } from '../../linux/netlink.ts';
import { type Family, familyOf, type Ip } from '../../net/address.ts';
import { type Change, changed, itemKey } from './changes.ts';
import type { Item } from './items.ts';
import { dummyLink, kernelSet, kernelSetName, setNames } from './sets.ts';

/** After so many exchanges, which take some 10 µs each, others get their turn. */
const exchangesAtOnce = 256;

export class IpvsKernel {
  readonly #families: readonly Family[];
  readonly #ipvs: Ipvs;
  readonly #sets: Ipsets;
  readonly #links: Netlink;
  #link = 0;
  /** Addresses of other links, which are not given to ours a second time. */
  #foreign: ReadonlySet<Ip> = new Set();

  /** Opens IPVS in this process's network namespace; throws where the kernel has none. */
  static open(families: readonly Family[]): IpvsKernel {
    const ipvs = Ipvs.open();
    if (ipvs === undefined) throw new Error('this kernel has no IPVS (module ip_vs): use another proxy mode');
    const sets = Ipsets.open();
    if (sets !== undefined) return new IpvsKernel(families, ipvs, sets);
    ipvs.close();
    throw new Error('this kernel has no IP sets (module ip_set): use another proxy mode');
  }

  /** Whether this network namespace has the link that this mode makes first and deletes last. */
  static isInUse(): boolean {
    using links = Netlink.open();
    return findLink(links, dummyLink) !== undefined;
  }

  private constructor(families: readonly Family[], ipvs: Ipvs, sets: Ipsets) {
    this.#families = families;
    this.#ipvs = ipvs;
    this.#sets = sets;
    this.#links = Netlink.open();
  }

  /** Makes what must be there before rules and items: the link and the sets. */
  prepare(): void {
    const found = findLink(this.#links, dummyLink);
    if (found === undefined) createDummy(this.#links, { name: dummyLink, up: true });
    else if (!found.up) changeLink(this.#links, found.index, { up: true });
    this.#link = (found ?? findLink(this.#links, dummyLink))?.index ?? 0;
    for (const family of this.#families) for (const name of setNames) this.#makeSet(kernelSet(name, family));
  }

  #makeSet(set: ReturnType<typeof kernelSet>): void {
    try {
      this.#sets.create(set);
    } catch (error) {
      if (!failedWith(error, 'EEXIST')) throw error;
      // kube-proxy's has room for less: rules go on with ours under its name.
      const ours = { ...set, name: 'WEFT-NEW' };
      this.#sets.destroy(ours.name);
      this.#sets.create(ours);
      this.#sets.swap(ours.name, set.name);
      this.#sets.destroy(ours.name);
    }
  }

  /** All that is there, ours or not: in this mode everything in IPVS belongs to the proxy, as with kube-proxy. */
  async read(): Promise<Map<string, Item>> {
    const items: Item[] = [];
    const addresses = listAddresses(this.#links);
    this.#foreign = new Set(addresses.filter(({ link }) => link !== this.#link).map(({ address }) => address));
    for (const { link, address } of addresses)
      if (link === this.#link && !isLinkLocal(address)) items.push({ kind: 'address', address });
    for (const family of this.#families)
      for (const set of setNames)
        for (const element of this.#sets.elements(kernelSet(set, family)) ?? [])
          items.push({ kind: 'element', set, element, family });
    for (const [index, server] of this.#ipvs.servers().entries()) {
      if (index % exchangesAtOnce === 0) await breathe();
      const reals = this.#ipvs.reals(server).map(({ ip, port, weight }): RealServer => ({ ip, port, weight }));
      items.push({ kind: 'server', server, reals });
    }
    return new Map(items.map((item) => [itemKey(item), item]));
  }

  /** Makes the changes, and notes in `there` each one that is made. Throws at the first one that the kernel refuses. */
  async apply(changes: readonly Change[], there: Map<string, Item>): Promise<void> {
    for (const [index, change] of changes.entries()) {
      if (index % exchangesAtOnce === exchangesAtOnce - 1) await breathe();
      if (this.#isForeign(change)) continue;
      this.#make(change);
      changed(there, change);
    }
  }

  #make(change: Change): void {
    switch (change.do) {
      case 'add server':
        this.#ipvs.addServer(change.server);
        break;
      case 'change server':
        this.#ipvs.changeServer(change.server);
        break;
      case 'delete server':
        this.#ipvs.deleteServer(change.server);
        break;
      case 'set real':
        this.#ipvs.setReal(change.server, change.real);
        break;
      case 'delete real':
        this.#ipvs.deleteReal(change.server, change.real);
        break;
      default:
        this.#makeItem(change.do, change.item);
    }
  }

  /** Another link has the address: it stays there, and what else is reached at it is not for the rules to refuse. */
  #isForeign(change: Change): boolean {
    if (change.do !== 'add') return false;
    const { item } = change;
    const address = item.kind === 'address' ? item.address : item.set === 'KUBE-IPVS-IPS' ? item.element.ip : undefined;
    return address !== undefined && this.#foreign.has(address);
  }

  #makeItem(how: 'add' | 'delete', item: Exclude<Item, { kind: 'server' }>): void {
    if (item.kind === 'address') {
      const entry = { link: this.#link, address: item.address, prefix: familyOf(item.address) === 'IPv4' ? 32 : 128 };
      if (how === 'add') replaceAddress(this.#links, entry);
      else deleteAddress(this.#links, entry);
      return;
    }
    const set = kernelSetName(item.set, item.family);
    if (how === 'add') this.#sets.add(set, item.element);
    else this.#sets.delete(set, item.element);
  }

  /**
   * Whether, at a glance, nobody has emptied anything: the link is up, each set has as many elements as it should, and
   * one virtual server (any one, another one each time) is there.
   */
  isWhole(counts: ReadonlyMap<string, number>, server: VirtualServerName | undefined): boolean {
    if (!this.hasLink()) return false;
    for (const [set, count] of counts) if (this.#sets.count(set) !== count) return false;
    return server === undefined || this.#ipvs.server(server) !== undefined;
  }

  /** The number of our link in what the kernel announces. */
  get link(): number {
    return this.#link;
  }

  hasLink(): boolean {
    return findLink(this.#links, dummyLink)?.up === true;
  }

  /** The deletion of the real servers of weight 0 that have no connection any more. */
  drained(server: VirtualServer): Change[] {
    const done = this.#ipvs.reals(server).filter((real) => real.weight === 0 && isIdle(real));
    return done.map(({ ip, port, weight }) => ({ do: 'delete real', server, real: { ip, port, weight } }));
  }

  /**
   * Deletes the virtual servers that have no connections, the addresses that no server has then, and with the last of
   * them the link. True where nothing is left.
   */
  async deleteIdle(): Promise<boolean> {
    const busy = new Set<Ip>();
    for (const [index, server] of this.#ipvs.servers().entries()) {
      if (index % exchangesAtOnce === 0) await breathe();
      if (this.#ipvs.reals(server).every(isIdle)) this.#ipvs.deleteServer(server);
      else busy.add(server.address);
    }
    const link = findLink(this.#links, dummyLink)?.index;
    if (busy.size === 0) {
      deleteLink(this.#links, dummyLink);
      return true;
    }
    for (const entry of link === undefined ? [] : listAddresses(this.#links, link))
      if (!busy.has(entry.address)) deleteAddress(this.#links, entry);
    return false;
  }

  /** Deletes the sets; to be called when no rule uses them. */
  deleteSets(): void {
    for (const family of ['IPv4', 'IPv6'] as const)
      for (const name of setNames) this.#sets.destroy(kernelSetName(name, family));
  }

  close(): void {
    this.#ipvs.close();
    this.#sets.close();
    this.#links.close();
  }
}

const isIdle = ({ activeConnections, inactiveConnections }: RealServerState): boolean =>
  activeConnections + inactiveConnections === 0;

const isLinkLocal = (address: Ip): boolean => address.startsWith('fe80:');
