// The kernel of one namespace as the fabric's: read at the start and after surprises, remembered in between, written by
// the smallest change. Things of others are not touched.
import { deleteAddress, listAddresses, replaceAddress } from '../linux/addresses.ts';
import { deleteForwarding, listForwarding, replaceForwarding } from '../linux/forwarding.ts';
import { changeLink, createVxlan, deleteLink, findLink, type Link } from '../linux/links.ts';
import { deleteNeighbour, listNeighbours, replaceNeighbour } from '../linux/neighbours.ts';
import type { Netlink } from '../linux/netlink.ts';
import { inNetns, type NetnsRef, writeSysctl } from '../linux/netns.ts';
import { deleteRoute, listRoutes, replaceRoute } from '../linux/routes.ts';
import type { FabricLink, FabricPlan } from './plan.ts';
import { diffPlan, emptyState, type KernelState, keyOf, type Stale } from './state.ts';
import { vxlanName } from './vxlan.ts';

/** Who made the route, as `ip route` shows it: no protocol of /etc/iproute2/rt_protos has this number. */
export const fabricProtocol = 118;

/** What was done, each in one line; and what the kernel refused. */
export interface Written {
  readonly done: readonly string[];
  readonly failed: readonly { readonly owner: string; readonly reason: string }[];
}

export class FabricKernel {
  readonly #nl: Netlink;
  readonly #netns: NetnsRef | undefined;
  #state: KernelState | undefined;
  /** The index of the fabric's device, 0 where there is none. */
  #device = 0;

  constructor(nl: Netlink, netns?: NetnsRef) {
    this.#nl = nl;
    this.#netns = netns;
  }

  /** What is remembered of the kernel; undefined before the first reading. */
  get state(): KernelState | undefined {
    return this.#state;
  }

  get device(): number {
    return this.#device;
  }

  /** Reads all that the fabric has in the kernel. `links` are all interfaces of the namespace. */
  read(links: readonly Link[]): void {
    const state = emptyState();
    const nl = this.#nl;
    const device = links.find(({ name, kind }) => name === vxlanName && kind === 'vxlan');
    // The settings of a device are written once and changed by nobody; a new device has those of all.
    if (device !== undefined && device.index === this.#device)
      for (const [key, value] of this.#state?.sysctls ?? []) state.sysctls.set(key, value);
    this.#device = device?.index ?? 0;
    for (const { to, via, link, metric, mtu } of listRoutes(nl, { protocol: fabricProtocol })) {
      const throughDevice = device !== undefined && link === device.index;
      state.routes.set(keyOf.route({ to, metric: metric ?? 0 }), {
        to,
        ...(via !== undefined && { via }),
        ...(throughDevice && { link: device.name }),
        ...(metric !== undefined && { metric }),
        ...(mtu !== undefined && { mtu }),
      });
    }
    this.#state = state;
    if (device?.vxlan === undefined) return;
    const { name, index, mtu, mac, up, vxlan } = device;
    state.links.set(name, { name, mtu, up, vxlan, ...(mac !== undefined && { mac }) });
    for (const { address, prefix } of listAddresses(nl, index))
      if (!address.startsWith('fe80:'))
        state.addresses.set(keyOf.address({ link: name, address, prefix }), { link: name, address, prefix });
    for (const neighbour of listNeighbours(nl)) {
      if (neighbour.link !== index || !neighbour.permanent) continue;
      const entry = { link: name, address: neighbour.address, mac: neighbour.mac };
      state.neighbours.set(keyOf.neighbour(entry), entry);
    }
    for (const { mac: at, remote } of listForwarding(nl, index)) {
      const entry = { link: name, mac: at, remote };
      state.forwarding.set(keyOf.forwarding(entry), entry);
    }
  }

  /**
   * Writes what differs; what is not in the plan goes last, and only with `prune`. A refusal of one entry holds no
   * other one back.
   */
  write(plan: FabricPlan, options: { readonly prune: boolean }): Written {
    const state = this.#state;
    if (state === undefined) throw new Error('the kernel has not been read yet');
    const nl = this.#nl;
    const difference = diffPlan(plan, state);
    const done: string[] = [];
    const failed: { owner: string; reason: string }[] = [];
    const each = <T extends { readonly owner: string }>(entries: readonly T[], set: (entry: T) => string): void => {
      for (const entry of entries)
        try {
          done.push(`${set(entry)} (${entry.owner})`);
        } catch (error) {
          failed.push({ owner: entry.owner, reason: error instanceof Error ? error.message : String(error) });
        }
    };
    each(difference.made, (link) => this.#make(state, link));
    each(difference.changed, (link) => {
      changeLink(nl, this.#device, { mac: link.mac, mtu: link.mtu, up: true });
      state.links.set(link.name, presentLink(link));
      return `set up ${link.name}`;
    });
    each(difference.sysctls, ({ key, value }) => {
      if (this.#netns === undefined) writeSysctl(key, value);
      else inNetns(this.#netns, () => writeSysctl(key, value));
      state.sysctls.set(key, value);
      return `${key}=${value}`;
    });
    each(difference.addresses, ({ owner: _, ...entry }) => {
      replaceAddress(nl, { ...entry, link: this.#device }, { prefixRoute: false });
      state.addresses.set(keyOf.address(entry), entry);
      return `address ${entry.address}/${entry.prefix} on ${entry.link}`;
    });
    each(difference.neighbours, ({ owner: _, ...entry }) => {
      replaceNeighbour(nl, { ...entry, link: this.#device });
      state.neighbours.set(keyOf.neighbour(entry), entry);
      return `neighbour ${entry.address} is ${entry.mac}`;
    });
    each(difference.forwarding, ({ owner: _, ...entry }) => {
      replaceForwarding(nl, { ...entry, link: this.#device });
      state.forwarding.set(keyOf.forwarding(entry), entry);
      return `${entry.mac} is behind ${entry.remote}`;
    });
    each(difference.routes, ({ owner: _, ...entry }) => {
      const { link, ...route } = entry;
      const onLink = link === undefined ? {} : { link: this.#device, onLink: true };
      replaceRoute(nl, { ...route, ...onLink, protocol: fabricProtocol });
      state.routes.set(keyOf.route(entry), entry);
      return `route ${entry.to} via ${entry.via}${link === undefined ? '' : ` dev ${link}`}`;
    });
    if (options.prune) done.push(...this.#prune(state, difference.stale));
    return { done, failed };
  }

  /** A device with all that hangs on it is new: what the kernel had for the old one went with it. */
  #make(state: KernelState, link: FabricLink): string {
    deleteLink(this.#nl, link.name);
    for (const map of [state.addresses, state.neighbours, state.forwarding, state.routes])
      for (const [key, entry] of map) if (entry.link === link.name) map.delete(key);
    const { vni, port, local, name, mac, mtu } = link;
    createVxlan(this.#nl, { name, mac, mtu, up: true }, { vni, port, local, learning: false });
    this.#device = findLink(this.#nl, name)?.index ?? 0;
    state.links.set(name, presentLink(link));
    return `made ${name}`;
  }

  #prune(state: KernelState, stale: Stale): string[] {
    const nl = this.#nl;
    const done: string[] = [];
    for (const route of stale.routes) {
      const { link: _, ...plain } = route;
      deleteRoute(nl, { ...plain, protocol: fabricProtocol });
      state.routes.delete(keyOf.route(route));
      done.push(`no route ${route.to}${route.via === undefined ? '' : ` via ${route.via}`}`);
    }
    for (const entry of stale.forwarding) {
      deleteForwarding(nl, { ...entry, link: this.#device });
      state.forwarding.delete(keyOf.forwarding(entry));
    }
    for (const entry of stale.neighbours) {
      deleteNeighbour(nl, { ...entry, link: this.#device });
      state.neighbours.delete(keyOf.neighbour(entry));
    }
    for (const entry of stale.addresses) {
      deleteAddress(nl, { ...entry, link: this.#device });
      state.addresses.delete(keyOf.address(entry));
    }
    for (const { name } of stale.links) {
      deleteLink(nl, name);
      state.links.delete(name);
      this.#device = 0;
      done.push(`no ${name}`);
    }
    const entries = stale.forwarding.length + stale.neighbours.length + stale.addresses.length;
    return entries === 0 ? done : [...done, `${entries} entries of ${vxlanName} taken away`];
  }
}

const presentLink = ({ name, mac, mtu, vni, port, local }: FabricLink) => ({
  name,
  mac,
  mtu,
  up: true,
  vxlan: { vni, port, local, learning: false },
});
