// What the fabric has in a kernel, as data, and what has to be written so that it becomes what a plan wants. Pure.
import type { VxlanData } from '../linux/links.ts';
import { type Cidr, familyOf, type Ip, type Mac } from '../net/address.ts';
import type {
  FabricAddress,
  FabricForwarding,
  FabricLink,
  FabricNeighbour,
  FabricPlan,
  FabricRoute,
  FabricSysctl,
} from './plan.ts';

export interface PresentLink {
  readonly name: string;
  readonly mac?: Mac;
  readonly mtu: number;
  readonly up: boolean;
  readonly vxlan: VxlanData;
}

export interface PresentRoute {
  readonly to: Cidr;
  readonly via?: Ip;
  /** The fabric's device, where the route leads through it. */
  readonly link?: string;
  readonly metric?: number;
  readonly mtu?: number;
}

export type PresentAddress = Omit<FabricAddress, 'owner'>;
export type PresentNeighbour = Omit<FabricNeighbour, 'owner'>;
export type PresentForwarding = Omit<FabricForwarding, 'owner'>;

/** The fabric's own things in a kernel, each by what tells it from others of its sort. */
export interface KernelState {
  readonly links: Map<string, PresentLink>;
  readonly addresses: Map<string, PresentAddress>;
  readonly neighbours: Map<string, PresentNeighbour>;
  readonly forwarding: Map<string, PresentForwarding>;
  readonly routes: Map<string, PresentRoute>;
  /** Only those that were written: nobody else changes them. */
  readonly sysctls: Map<string, string>;
}

export function emptyState(): KernelState {
  return {
    links: new Map(),
    addresses: new Map(),
    neighbours: new Map(),
    forwarding: new Map(),
    routes: new Map(),
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
  route: ({ to, metric }: Pick<PresentRoute, 'to' | 'metric'>): string =>
    `${to} ${metric ?? defaultMetric[familyOf(to)]}`,
};

/** What is missing or different, in the order in which it is written, and what is there and not wanted. */
export interface Difference {
  /** Devices that are made, or made anew where they cannot be changed to what is wanted: what hung on them goes too. */
  readonly made: readonly FabricLink[];
  /** Devices that get another hardware address or MTU. */
  readonly changed: readonly FabricLink[];
  readonly sysctls: readonly FabricSysctl[];
  readonly addresses: readonly FabricAddress[];
  readonly neighbours: readonly FabricNeighbour[];
  readonly forwarding: readonly FabricForwarding[];
  readonly routes: readonly FabricRoute[];
  readonly stale: Stale;
}

/** In the order in which it is taken away. */
export interface Stale {
  readonly routes: readonly PresentRoute[];
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
  const links = compare(plan.links, state.links, keyOf.link, (a, b) => a.mac === b.mac && a.mtu === b.mtu && b.up);
  const addresses = compare(plan.addresses, kept(state.addresses), keyOf.address, () => true);
  const neighbours = compare(plan.neighbours, kept(state.neighbours), keyOf.neighbour, (a, b) => a.mac === b.mac);
  const forwarding = compare(
    plan.forwarding,
    kept(state.forwarding),
    keyOf.forwarding,
    (a, b) => a.remote === b.remote,
  );
  const routes = compare(
    plan.routes,
    kept(state.routes),
    keyOf.route,
    (a, b) => a.via === b.via && a.link === b.link && a.mtu === b.mtu,
  );
  return {
    made,
    changed: links.missing.filter(({ name }) => !lost.has(name)),
    sysctls: plan.sysctls.filter(({ key, value }) => lost.size > 0 || state.sysctls.get(key) !== value),
    addresses: addresses.missing,
    neighbours: neighbours.missing,
    forwarding: forwarding.missing,
    routes: routes.missing,
    stale: {
      routes: routes.stale,
      forwarding: forwarding.stale,
      neighbours: neighbours.stale,
      addresses: addresses.stale,
      links: links.stale,
    },
  };
}

/** The kernel changes neither the VNI nor the port of a VXLAN device, and one that has learned must forget. */
function isChangeable(present: PresentLink | undefined, wanted: FabricLink): boolean {
  if (present === undefined) return false;
  const { vni, port, local, learning } = present.vxlan;
  return vni === wanted.vni && port === wanted.port && local === wanted.local && !learning;
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
