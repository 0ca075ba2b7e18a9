// What the fabric has in a kernel, as data, and what has to be written so that it becomes what a plan wants. Pure.
import type { VxlanData } from '../linux/links.ts';
import { mainTable } from '../linux/routes.ts';
import { type Cidr, familyOf, type Ip, type Mac } from '../net/address.ts';
import type { WireguardKey } from '../net/wireguard-key.ts';
import type {
  FabricAddress,
  FabricForwarding,
  FabricLink,
  FabricNeighbour,
  FabricPlan,
  FabricRoute,
  FabricRule,
  FabricSysctl,
  FabricWireguardPeer,
} from './plan.ts';

interface PresentDevice {
  readonly name: string;
  readonly mtu: number;
  readonly up: boolean;
}

export interface PresentVxlan extends PresentDevice {
  readonly kind: 'vxlan';
  readonly mac?: Mac;
  readonly vxlan: VxlanData;
}

export interface PresentWireguard extends PresentDevice {
  readonly kind: 'wireguard';
  readonly publicKey?: WireguardKey;
  readonly port: number;
}

export type PresentLink = PresentVxlan | PresentWireguard;

export interface PresentRoute {
  readonly to: Cidr;
  readonly via?: Ip;
  /** The fabric's device, where the route leads through it. */
  readonly link?: string;
  readonly metric?: number;
  /** Absent: the main one. */
  readonly table?: number;
  readonly unreachable?: boolean;
  readonly mtu?: number;
}

export type PresentAddress = Omit<FabricAddress, 'owner'>;
export type PresentNeighbour = Omit<FabricNeighbour, 'owner'>;
export type PresentForwarding = Omit<FabricForwarding, 'owner'>;
export type PresentWireguardPeer = Omit<FabricWireguardPeer, 'owner' | 'endpoint' | 'port'> &
  Partial<Pick<FabricWireguardPeer, 'endpoint' | 'port'>>;
export type PresentRule = Omit<FabricRule, 'owner'>;

/** The fabric's own things in a kernel, each by what tells it from others of its sort. */
export interface KernelState {
  readonly links: Map<string, PresentLink>;
  readonly addresses: Map<string, PresentAddress>;
  readonly neighbours: Map<string, PresentNeighbour>;
  readonly forwarding: Map<string, PresentForwarding>;
  readonly wireguardPeers: Map<string, PresentWireguardPeer>;
  readonly routes: Map<string, PresentRoute>;
  readonly rules: Map<string, PresentRule>;
  /** Only those that were written: nobody else changes them. */
  readonly sysctls: Map<string, string>;
}

export function emptyState(): KernelState {
  return {
    links: new Map(),
    addresses: new Map(),
    neighbours: new Map(),
    forwarding: new Map(),
    wireguardPeers: new Map(),
    routes: new Map(),
    rules: new Map(),
    sysctls: new Map(),
  };
}

/** The kernel gives this metric to IPv6 routes that come without one. */
const defaultMetric = { IPv4: 0, IPv6: 1024 };

export const keyOf = {
  link: ({ name }: { readonly name: string }): string => name,
  address: ({ link, address, prefix }: PresentAddress): string => `${link} ${address}/${prefix}`,
  neighbour: ({ link, address }: Pick<PresentNeighbour, 'link' | 'address'>): string => `${link} ${address}`,
  forwarding: ({ link, mac }: Pick<PresentForwarding, 'link' | 'mac'>): string => `${link} ${mac}`,
  wireguardPeer: ({ link, publicKey }: Pick<PresentWireguardPeer, 'link' | 'publicKey'>): string =>
    `${link} ${publicKey}`,
  route: ({ to, metric, table }: Pick<PresentRoute, 'to' | 'metric' | 'table'>): string =>
    `${table ?? mainTable} ${to} ${metric ?? defaultMetric[familyOf(to)]}`,
  rule: ({ from, table }: PresentRule): string => `${from} ${table}`,
};

/** What is missing or different, in the order in which it is written, and what is there and not wanted. */
export interface Difference {
  /** Devices that are made, or made anew where they cannot be changed to what is wanted: what hung on them goes too. */
  readonly made: readonly FabricLink[];
  /** Devices that get another hardware address, MTU, key or port. */
  readonly changed: readonly FabricLink[];
  readonly sysctls: readonly FabricSysctl[];
  readonly addresses: readonly FabricAddress[];
  readonly neighbours: readonly FabricNeighbour[];
  readonly forwarding: readonly FabricForwarding[];
  readonly wireguardPeers: readonly FabricWireguardPeer[];
  readonly routes: readonly FabricRoute[];
  readonly rules: readonly FabricRule[];
  readonly stale: Stale;
}

/** In the order in which it is taken away. */
export interface Stale {
  readonly rules: readonly PresentRule[];
  readonly routes: readonly PresentRoute[];
  readonly wireguardPeers: readonly PresentWireguardPeer[];
  readonly forwarding: readonly PresentForwarding[];
  readonly neighbours: readonly PresentNeighbour[];
  readonly addresses: readonly PresentAddress[];
  readonly links: readonly PresentLink[];
}

export function diffPlan(plan: FabricPlan, state: KernelState): Difference {
  const made = plan.links.filter((link) => !isChangeable(state.links.get(link.name), link));
  const lost = new Set(made.map(({ name }) => name));
  const kept = <T extends { readonly link?: string }>(entries: ReadonlyMap<string, T>): ReadonlyMap<string, T> =>
    lost.size === 0 ? entries : new Map([...entries].filter(([, { link }]) => link === undefined || !lost.has(link)));
  const links = compare(plan.links, state.links, keyOf.link, isSameLink);
  const addresses = compare(plan.addresses, kept(state.addresses), keyOf.address, () => true);
  const neighbours = compare(plan.neighbours, kept(state.neighbours), keyOf.neighbour, isSameNeighbour);
  const forwarding = compare(plan.forwarding, kept(state.forwarding), keyOf.forwarding, isSameForwarding);
  const peers = compare(plan.wireguardPeers, kept(state.wireguardPeers), keyOf.wireguardPeer, isSamePeer);
  const routes = compare(plan.routes, kept(state.routes), keyOf.route, isSameRoute);
  const rules = compare(plan.rules, state.rules, keyOf.rule, () => true);
  return {
    made,
    changed: links.missing.filter(({ name }) => !lost.has(name)),
    sysctls: plan.sysctls.filter(({ key, value }) => lost.size > 0 || state.sysctls.get(key) !== value),
    addresses: addresses.missing,
    neighbours: neighbours.missing,
    forwarding: forwarding.missing,
    wireguardPeers: peers.missing,
    routes: routes.missing,
    rules: rules.missing,
    stale: {
      rules: rules.stale,
      routes: routes.stale,
      wireguardPeers: peers.stale,
      forwarding: forwarding.stale,
      neighbours: neighbours.stale,
      addresses: addresses.stale,
      links: links.stale,
    },
  };
}

/**
 * The kernel changes neither the VNI nor the port of a VXLAN device, and one that has learned must forget. Of a
 * WireGuard device everything can be changed.
 */
function isChangeable(present: PresentLink | undefined, wanted: FabricLink): boolean {
  if (present === undefined || present.kind !== wanted.kind) return false;
  if (present.kind === 'wireguard' || wanted.kind === 'wireguard') return true;
  const { vni, port, local, learning } = present.vxlan;
  return vni === wanted.vni && port === wanted.port && local === wanted.local && !learning;
}

/**
 * Whether a kernel was found to hold something else than was remembered of it: someone else has changed it. Sysctls are
 * not looked at, for they are never read.
 */
export function wasChanged(remembered: KernelState, found: KernelState): boolean {
  const differs = <T>(a: ReadonlyMap<string, T>, b: ReadonlyMap<string, T>, same: (a: T, b: T) => boolean): boolean =>
    a.size !== b.size ||
    [...a].some(([key, one]) => {
      const other = b.get(key);
      return other === undefined || !same(one, other);
    });
  return (
    differs(remembered.links, found.links, isSameLink) ||
    differs(remembered.addresses, found.addresses, () => true) ||
    differs(remembered.neighbours, found.neighbours, isSameNeighbour) ||
    differs(remembered.forwarding, found.forwarding, isSameForwarding) ||
    differs(remembered.wireguardPeers, found.wireguardPeers, isSamePeer) ||
    differs(remembered.routes, found.routes, isSameRoute) ||
    differs(remembered.rules, found.rules, () => true)
  );
}

const isSameNeighbour = (a: PresentNeighbour, b: PresentNeighbour): boolean => a.mac === b.mac;
const isSameForwarding = (a: PresentForwarding, b: PresentForwarding): boolean => a.remote === b.remote;
const isSameRoute = (a: PresentRoute, b: PresentRoute): boolean =>
  a.via === b.via && a.link === b.link && a.mtu === b.mtu && a.unreachable === b.unreachable;

function isSameLink(wanted: FabricLink | PresentLink, present: PresentLink): boolean {
  if (wanted.mtu !== present.mtu || !present.up) return false;
  if (wanted.kind === 'vxlan') return present.kind === 'vxlan' && wanted.mac === present.mac;
  return present.kind === 'wireguard' && wanted.publicKey === present.publicKey && wanted.port === present.port;
}

function isSamePeer(wanted: PresentWireguardPeer, present: PresentWireguardPeer): boolean {
  if (wanted.endpoint !== present.endpoint || wanted.port !== present.port) return false;
  const there = new Set(present.allowed);
  return there.size === wanted.allowed.length && wanted.allowed.every((range) => there.has(range));
}

function compare<W, P>(
  wanted: readonly W[],
  present: ReadonlyMap<string, P>,
  key: (entry: W) => string,
  same: (a: W, b: P) => boolean,
): { readonly missing: W[]; readonly stale: P[] } {
  const keys = new Set<string>();
  const missing: W[] = [];
  for (const entry of wanted) {
    const id = key(entry);
    keys.add(id);
    const there = present.get(id);
    if (there === undefined || !same(entry, there)) missing.push(entry);
  }
  const stale: P[] = [];
  for (const [id, entry] of present) if (!keys.has(id)) stale.push(entry);
  return { missing, stale };
}
