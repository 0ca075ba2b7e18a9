// The kernel of one namespace as the fabric's: read at the start and after surprises, remembered in between, written by
// the smallest change. Things of others are not touched.
import { deleteAddress, replaceAddress } from '../linux/addresses.ts';
import { deleteForwarding, replaceForwarding } from '../linux/forwarding.ts';
import { changeLink, createVxlan, createWireguard, deleteLink, findLink, type Link } from '../linux/links.ts';
import { deleteNeighbour, replaceNeighbour } from '../linux/neighbours.ts';
import type { Netlink } from '../linux/netlink.ts';
import { inNetns, type NetnsRef, writeSysctl } from '../linux/netns.ts';
import { deleteRoute, replaceRoute } from '../linux/routes.ts';
import { addRule, deleteRule } from '../linux/rules.ts';
import { Wireguard } from '../linux/wireguard.ts';
import { familyOf } from '../net/address.ts';
import type { WireguardKey } from '../net/wireguard-key.ts';
import { encryptedPriority } from './encryption.ts';
import type { FabricLink, FabricPlan, FabricWireguard } from './plan.ts';
import { fabricProtocol } from './protocol.ts';
import { readKernel } from './read-kernel.ts';
import {
  type Difference,
  diffPlan,
  type KernelState,
  keyOf,
  type PresentLink,
  type PresentRoute,
  type Stale,
} from './state.ts';
import { isWireguardSurprise } from './surprises.ts';

/** What was done, each in one line; and what the kernel refused. */
export interface Written {
  readonly done: readonly string[];
  readonly failed: readonly { readonly owner: string; readonly reason: string }[];
}

export interface WriteOptions {
  /** What is not in the plan goes last, and only with this. */
  readonly prune: boolean;
  /** Of the key pair whose public key the plan names; needed where it has a WireGuard device. */
  readonly privateKey?: WireguardKey;
}

export class FabricKernel {
  readonly #nl: Netlink;
  readonly #netns: NetnsRef | undefined;
  #wireguard: Wireguard | undefined;
  #state: KernelState | undefined;
  /** The indices of the fabric's devices by their names. */
  #devices = new Map<string, number>();

  constructor(nl: Netlink, netns?: NetnsRef) {
    this.#nl = nl;
    this.#netns = netns;
  }

  /** What is remembered of the kernel; undefined before the first reading. */
  get state(): KernelState | undefined {
    return this.#state;
  }

  get devices(): ReadonlyMap<string, number> {
    return this.#devices;
  }

  /** Reads all that the fabric has in the kernel. `links` are all interfaces of the namespace. */
  read(links: readonly Link[]): void {
    const { state, devices } = readKernel(this.#nl, links, () => this.#openWireguard());
    // The settings of a device are written once and changed by nobody; a new device has those of all.
    for (const [key, value] of this.#state?.sysctls ?? []) {
      const kept = [...devices].some(([name, index]) => key.includes(name) && this.#devices.get(name) === index);
      if (kept) state.sysctls.set(key, value);
    }
    this.#state = state;
    this.#devices = devices;
  }

  /** Whether someone else changed a WireGuard device or its peers, of which the kernel announces nothing. */
  hasStrangeWireguard(): boolean {
    const state = this.#state;
    if (state === undefined) return false;
    return [...this.#devices].some(([name, index]) => {
      if (state.links.get(name)?.kind !== 'wireguard') return false;
      const device = this.#openWireguard()?.device(index);
      return device !== undefined && isWireguardSurprise(name, device, state);
    });
  }

  #openWireguard(): Wireguard | undefined {
    this.#wireguard ??= Wireguard.open(this.#netns);
    return this.#wireguard;
  }

  close(): void {
    this.#wireguard?.[Symbol.dispose]();
    this.#wireguard = undefined;
  }

  /** The index of a device of the fabric; 0, which no link has, where it is not there. */
  #index(name: string): number {
    return this.#devices.get(name) ?? 0;
  }

  /** Writes what differs. A refusal of one entry holds no other one back. */
  write(plan: FabricPlan, { prune, privateKey }: WriteOptions): Written {
    const state = this.#state;
    if (state === undefined) throw new Error('the kernel has not been read yet');
    const difference = diffPlan(plan, state);
    const done: string[] = [];
    const failed: { owner: string; reason: string }[] = [];
    const each: Each = (entries, set) => {
      for (const entry of entries)
        try {
          done.push(`${set(entry)} (${entry.owner})`);
        } catch (error) {
          failed.push({ owner: entry.owner, reason: error instanceof Error ? error.message : String(error) });
        }
    };
    each(difference.made, (link) => this.#make(state, link, privateKey));
    each(difference.changed, (link) => this.#change(state, link, privateKey));
    this.#writeAddresses(state, difference, each);
    this.#writePeers(state, difference, each);
    this.#writeRoutes(state, difference, each);
    if (prune) done.push(...this.#prune(state, difference.stale));
    return { done, failed };
  }

  #writeAddresses(state: KernelState, difference: Difference, each: Each): void {
    each(difference.sysctls, ({ key, value }) => {
      if (this.#netns === undefined) writeSysctl(key, value);
      else inNetns(this.#netns, () => writeSysctl(key, value));
      state.sysctls.set(key, value);
      return `${key}=${value}`;
    });
    each(difference.addresses, ({ owner: _, ...entry }) => {
      replaceAddress(this.#nl, { ...entry, link: this.#index(entry.link) }, { prefixRoute: false });
      state.addresses.set(keyOf.address(entry), entry);
      return `address ${entry.address}/${entry.prefix} on ${entry.link}`;
    });
  }

  #writePeers(state: KernelState, difference: Difference, each: Each): void {
    each(difference.neighbours, ({ owner: _, ...entry }) => {
      replaceNeighbour(this.#nl, { ...entry, link: this.#index(entry.link) });
      state.neighbours.set(keyOf.neighbour(entry), entry);
      return `neighbour ${entry.address} is ${entry.mac}`;
    });
    each(difference.forwarding, ({ owner: _, ...entry }) => {
      replaceForwarding(this.#nl, { ...entry, link: this.#index(entry.link) });
      state.forwarding.set(keyOf.forwarding(entry), entry);
      return `${entry.mac} is behind ${entry.remote}`;
    });
    each(difference.wireguardPeers, ({ owner: _, ...entry }) => {
      const { publicKey, endpoint, port, allowed, link } = entry;
      this.#openWireguard()?.setPeer(this.#index(link), { publicKey, endpoint: { address: endpoint, port }, allowed });
      state.wireguardPeers.set(keyOf.wireguardPeer(entry), entry);
      return `WireGuard peer ${publicKey} at ${endpoint} for ${allowed.join(', ')}`;
    });
  }

  #writeRoutes(state: KernelState, difference: Difference, each: Each): void {
    each(difference.routes, ({ owner: _, ...entry }) => {
      const { link, ...route } = entry;
      const through = link !== undefined && { link: this.#index(link), onLink: entry.via !== undefined };
      const before = state.routes.get(keyOf.route(entry));
      if (before !== undefined && before.link !== link && entry.via !== undefined) this.#makeRoom(before);
      replaceRoute(this.#nl, { ...route, ...through, protocol: fabricProtocol });
      state.routes.set(keyOf.route(entry), entry);
      const via = entry.via === undefined ? '' : ` via ${entry.via}`;
      if (entry.unreachable === true) return `no way to the rest of ${entry.to}`;
      return `route ${entry.to}${via}${link === undefined ? '' : ` dev ${link}`}`;
    });
    each(difference.rules, ({ owner: _, ...entry }) => {
      addRule(this.#nl, { ...entry, priority: encryptedPriority, protocol: fabricProtocol });
      state.rules.set(keyOf.rule(entry), entry);
      return `from ${entry.from} lookup ${entry.table}`;
    });
  }

  /**
   * Linux refuses an IPv6 next hop on one link while a route of another link leads to it, also where that route is the
   * one that is to be replaced (`Nexthop has invalid gateway or device mismatch`; seen with 6.1).
   */
  #makeRoom({ link: _, ...route }: PresentRoute): void {
    if (familyOf(route.to) === 'IPv6') deleteRoute(this.#nl, { ...route, protocol: fabricProtocol });
  }

  /** A device with all that hangs on it is new: what the kernel had for the old one went with it. */
  #make(state: KernelState, link: FabricLink, privateKey: WireguardKey | undefined): string {
    const nl = this.#nl;
    deleteLink(nl, link.name);
    for (const map of [state.addresses, state.neighbours, state.forwarding, state.wireguardPeers, state.routes])
      for (const [key, entry] of map) if (entry.link === link.name) map.delete(key);
    const { name, mtu } = link;
    if (link.kind === 'vxlan') {
      const { vni, port, local, mac } = link;
      createVxlan(nl, { name, mac, mtu, up: true }, { vni, port, local, learning: false });
    } else createWireguard(nl, { name, mtu, up: true });
    this.#devices.set(name, findLink(nl, name)?.index ?? 0);
    if (link.kind === 'wireguard') this.#configure(link, privateKey);
    state.links.set(name, presentLink(link));
    return `made ${name}`;
  }

  #change(state: KernelState, link: FabricLink, privateKey: WireguardKey | undefined): string {
    if (link.kind === 'wireguard') this.#configure(link, privateKey);
    const { mtu } = link;
    const mac = link.kind === 'vxlan' ? { mac: link.mac } : {};
    changeLink(this.#nl, this.#index(link.name), { ...mac, mtu, up: true });
    state.links.set(link.name, presentLink(link));
    return `set up ${link.name}`;
  }

  /** A device without a key sends nothing. */
  #configure({ name, port }: FabricWireguard, privateKey: WireguardKey | undefined): void {
    const wireguard = this.#openWireguard();
    if (wireguard === undefined || privateKey === undefined) throw new Error(`no key or no WireGuard for ${name}`);
    wireguard.configure(this.#index(name), { privateKey, port });
  }

  #prune(state: KernelState, stale: Stale): string[] {
    const nl = this.#nl;
    const done: string[] = [];
    for (const rule of stale.rules) {
      deleteRule(nl, { ...rule, priority: encryptedPriority, protocol: fabricProtocol });
      state.rules.delete(keyOf.rule(rule));
      done.push(`no rule from ${rule.from}`);
    }
    for (const route of stale.routes) {
      const { link: _, ...plain } = route;
      deleteRoute(nl, { ...plain, protocol: fabricProtocol });
      state.routes.delete(keyOf.route(route));
      done.push(`no route ${route.to}${route.via === undefined ? '' : ` via ${route.via}`}`);
    }
    for (const { link, publicKey } of stale.wireguardPeers) {
      this.#openWireguard()?.removePeer(this.#index(link), publicKey);
      state.wireguardPeers.delete(keyOf.wireguardPeer({ link, publicKey }));
      done.push(`no WireGuard peer ${publicKey}`);
    }
    for (const entry of stale.forwarding) {
      deleteForwarding(nl, { ...entry, link: this.#index(entry.link) });
      state.forwarding.delete(keyOf.forwarding(entry));
    }
    for (const entry of stale.neighbours) {
      deleteNeighbour(nl, { ...entry, link: this.#index(entry.link) });
      state.neighbours.delete(keyOf.neighbour(entry));
    }
    for (const entry of stale.addresses) {
      deleteAddress(nl, { ...entry, link: this.#index(entry.link) });
      state.addresses.delete(keyOf.address(entry));
    }
    for (const { name } of stale.links) {
      deleteLink(nl, name);
      state.links.delete(name);
      this.#devices.delete(name);
      done.push(`no ${name}`);
    }
    const entries = stale.forwarding.length + stale.neighbours.length + stale.addresses.length;
    return entries === 0 ? done : [...done, `${entries} entries of the fabric's devices taken away`];
  }
}

/** Writes entries one after the other and tells of each. */
type Each = <T extends { readonly owner: string }>(entries: readonly T[], set: (entry: T) => string) => void;

function presentLink(link: FabricLink): PresentLink {
  const { name, mtu } = link;
  if (link.kind === 'wireguard')
    return { kind: 'wireguard', name, mtu, up: true, publicKey: link.publicKey, port: link.port };
  const { mac, vni, port, local } = link;
  return { kind: 'vxlan', name, mac, mtu, up: true, vxlan: { vni, port, local, learning: false } };
}
