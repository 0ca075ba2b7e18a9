// Nodes and settings to the sessions of one node: whom it talks to, what it tells, what it takes. Pure.
import { createHash } from 'node:crypto';
import type { NodeBfd, NodeBGPAnnouncement } from '../../k8s/load-balancer.ts';
import { matchesLabelSelector } from '../../k8s/selectors.ts';
import type { Node } from '../../k8s/types.generated.ts';
import { type Cidr, type Family, familyOf, type Ip, parseIp, rangeOf } from '../../net/address.ts';
import type { Peer, Peers } from '../peers.ts';
import type { FabricProblem } from '../plan.ts';
import { type BalancerRoutes, decideBalancers } from './balancers.ts';
import { isPassword, passwordRule, symbol } from './names.ts';
import type { BgpPeer, BgpSettings } from './settings.ts';

/** A session with one neighbour; each carries the routes of the family of its addresses. */
export interface BgpSession {
  /** Unique; letters, digits and `-.:_` alone, at most 60. */
  readonly name: string;
  /** The object that asks for it: `Node worker2`, `ConfigMap kube-system/weft-bgp, peer tor`. */
  readonly owner: string;
  readonly local: Ip;
  readonly neighbor: Ip;
  readonly neighborAs: number;
  /** Where this node hands the routes of others on to that neighbour: its cluster id as a route reflector. */
  readonly reflectAs?: Ip;
  /** The own AS number where it is another one than with the others. */
  readonly localAs?: number;
  /** The neighbour's port where it is not 179. */
  readonly port?: number;
  /** In s, where they are others than those of the settings. */
  readonly holdTime?: number;
  readonly keepaliveTime?: number;
  /** What the neighbour is told of pods: this node's ranges, or also those of other nodes; or nothing. */
  readonly advertise: 'own' | 'cluster' | 'balancers';
  /** The addresses of load balancers that it is told. */
  readonly balancers: readonly BalancerRoutes[];
  /** Destinations that are taken as they are here. */
  readonly acceptExactly: readonly Cidr[];
  /** Ranges that are taken with all within them; but not what overlaps with this node's own. */
  readonly acceptWithin: readonly Cidr[];
  /** The same, without the cluster's pod ranges. */
  readonly acceptOutside: readonly Cidr[];
  readonly multihop?: number;
  readonly password?: string;
  /** How a lost way is noticed sooner than by the hold time. */
  readonly bfd?: NodeBfd;
}

/** What a node's BGP speaker does. */
export interface BgpPlan {
  readonly routerId: Ip;
  readonly asNumber: number;
  readonly holdTime: number;
  readonly restartTime: number;
  /** The ranges that this node announces. */
  readonly ownRanges: readonly Cidr[];
  /** The addresses of load balancers that it announces. */
  readonly balancerRanges: readonly Cidr[];
  /** Where all pods are. */
  readonly podRanges: readonly Cidr[];
  /** Sorted by name. */
  readonly sessions: readonly BgpSession[];
}

export interface BgpInput {
  readonly peers: Peers;
  readonly nodes: readonly Node[];
  readonly clusterCidrs: readonly Cidr[];
  readonly settings: BgpSettings;
  /** By key of the Secret; undefined until they are known: sessions with a password wait. */
  readonly passwords: ReadonlyMap<string, string> | undefined;
  /** What is to be told of load balancers; nothing where absent. */
  readonly announcement?: NodeBGPAnnouncement['spec'];
  /** Of its peers, by `namespace/name` of the Secret. */
  readonly balancerPasswords?: ReadonlyMap<string, string | undefined>;
}

export interface BgpDecision {
  /** Undefined while the own Node has neither address nor range. */
  readonly plan: BgpPlan | undefined;
  readonly problems: readonly FabricProblem[];
}

/** The sessions of the own node: with every other node, or with the route reflectors alone, and with outside routers. */
export function decideBgp(input: BgpInput): BgpDecision {
  const { own, others, reaches } = input.peers;
  const { settings } = input;
  if (own === undefined || own.addresses.length === 0 || own.podCidrs.length === 0)
    return { plan: undefined, problems: [] };
  const problems: FabricProblem[] = [];
  const labels = new Map(input.nodes.map(({ metadata }) => [metadata.name, metadata.labels ?? {}]));
  const clusterIds = new Map(
    [own, ...others].flatMap((peer) => {
      const reflectors = settings.routeReflectors.find(({ nodeSelector }) =>
        matchesLabelSelector(nodeSelector, labels.get(peer.name)),
      );
      return reflectors === undefined ? [] : [[peer.name, reflectors.clusterId] as const];
    }),
  );
  const ranges = new Map<string, Cidr[]>();
  for (const { peer, to } of reaches) ranges.set(peer.name, [...(ranges.get(peer.name) ?? []), to]);
  const podRanges = input.clusterCidrs.length > 0 ? input.clusterCidrs : reaches.map(({ to }) => to);
  const context: Context = { own, settings, clusterIds, ranges, podRanges, passwords: input.passwords };
  const withNodes = others.flatMap((other) => nodeSessions(other, context, problems));
  const withOutside = settings.peers
    .filter(
      ({ nodeSelector }) => nodeSelector === undefined || matchesLabelSelector(nodeSelector, labels.get(own.name)),
    )
    .flatMap((peer) => outsideSession(peer, [own, ...others], context, problems) ?? []);
  const balancers = decideBalancers({
    announcement: input.announcement ?? {},
    ownAddresses: own.addresses,
    nodeAddresses: [own, ...others].flatMap(({ addresses }) => addresses),
    sessions: withOutside,
    passwords: input.balancerPasswords ?? new Map(),
  });
  problems.push(...balancers.problems);
  const plan: BgpPlan = {
    routerId: routerIdOf(own),
    asNumber: settings.asNumber,
    holdTime: settings.holdTime,
    restartTime: settings.restartTime,
    ownRanges: own.podCidrs,
    balancerRanges: balancers.ranges,
    podRanges,
    sessions: [...withNodes, ...balancers.sessions].sort((a, b) => (a.name < b.name ? -1 : 1)),
  };
  return { plan, problems };
}

interface Context {
  readonly own: Peer;
  readonly settings: BgpSettings;
  /** The reflectors by node. */
  readonly clusterIds: ReadonlyMap<string, Ip>;
  readonly ranges: ReadonlyMap<string, readonly Cidr[]>;
  readonly podRanges: readonly Cidr[];
  readonly passwords: ReadonlyMap<string, string> | undefined;
}

const families = ['IPv4', 'IPv6'] as const;

function firstOf(addresses: readonly Ip[], family: Family): Ip | undefined {
  return addresses.find((address) => familyOf(address) === family);
}

/** One session a family; none between two nodes that both leave the routes to reflectors. */
function nodeSessions(other: Peer, context: Context, problems: FabricProblem[]): BgpSession[] {
  const { own, clusterIds, ranges, podRanges, settings } = context;
  const ownId = clusterIds.get(own.name);
  const otherReflects = clusterIds.has(other.name);
  if (clusterIds.size > 0 && ownId === undefined && !otherReflects) return [];
  // A reflector hands on to the nodes that have no session among themselves.
  const reflectAs = ownId !== undefined && !otherReflects ? ownId : undefined;
  if (!/^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$/.test(other.name)) {
    problems.push({ owner: other.owner, reason: 'its name is no DNS name' });
    return [];
  }
  return families.flatMap((family) => {
    const local = firstOf(own.addresses, family);
    const neighbor = firstOf(other.addresses, family);
    const isNeeded = [...podRanges, ...own.podCidrs].some((range) => familyOf(range) === family);
    if (local === undefined || neighbor === undefined || !isNeeded) return [];
    const ofFamily = (list: readonly Cidr[]): Cidr[] => list.filter((range) => familyOf(range) === family);
    return {
      name: symbol(`node:${other.name}`, family === 'IPv6' ? ':6' : ''),
      owner: other.owner,
      local,
      neighbor,
      neighborAs: settings.asNumber,
      ...(reflectAs !== undefined && { reflectAs }),
      advertise: ownId === undefined ? 'own' : 'cluster',
      acceptExactly: ofFamily(ranges.get(other.name) ?? []),
      acceptWithin: otherReflects ? ofFamily(podRanges) : [],
      acceptOutside: [],
      balancers: [],
    } satisfies BgpSession;
  });
}

function outsideSession(
  peer: BgpPeer,
  nodes: readonly Peer[],
  context: Context,
  problems: FabricProblem[],
): BgpSession | undefined {
  const { own, podRanges, passwords, settings } = context;
  const owner = `ConfigMap kube-system/weft-bgp, peer ${peer.name}`;
  const family = familyOf(peer.address);
  const local = firstOf(own.addresses, family);
  const node = nodes.find(({ addresses }) => addresses.includes(peer.address));
  if (peer.passwordKey !== undefined && passwords === undefined) return undefined;
  const password = peer.passwordKey === undefined ? undefined : passwords?.get(peer.passwordKey);
  const reason = ((): string | undefined => {
    if (node !== undefined) return `its address ${peer.address} is that of ${node.owner}`;
    if (local === undefined) return `${own.owner} has no ${family} address to reach ${peer.address} from`;
    if (peer.passwordKey === undefined) return undefined;
    const where = `the Secret kube-system/weft-bgp`;
    if (password === undefined) return `${where} has no key '${peer.passwordKey}'`;
    return isPassword(password) ? undefined : `the password in ${where}, key '${peer.passwordKey}', ${passwordRule}`;
  })();
  if (reason !== undefined || local === undefined) {
    problems.push({ owner, reason: reason ?? '' });
    return undefined;
  }
  const accept = peer.accept.filter((range) => familyOf(range) === family);
  const isPods = (range: Cidr): boolean => podRanges.some((pods) => isWithin(range, pods));
  return {
    name: symbol(`peer:${peer.name}`),
    owner,
    local,
    neighbor: peer.address,
    neighborAs: peer.asNumber,
    // Routes of other nodes are handed on within one AS by reflectors only.
    ...(peer.advertise === 'cluster' && peer.asNumber === settings.asNumber && { reflectAs: routerIdOf(own) }),
    advertise: peer.advertise,
    acceptExactly: [],
    acceptWithin: accept.filter(isPods),
    acceptOutside: accept.filter((range) => !isPods(range)),
    balancers: [],
    ...(peer.multihop !== undefined && { multihop: peer.multihop }),
    ...(password !== undefined && { password }),
  };
}

function isWithin(narrow: Cidr, wide: Cidr): boolean {
  const [a, b] = [rangeOf(narrow), rangeOf(wide)];
  return a.family === b.family && a.prefix >= b.prefix && a.first >= b.first && a.first < b.first + b.size;
}

/** The node's IPv4 address; where it has none, a number made of its name (RFC 6286: any that is unique in the AS). */
function routerIdOf(own: Peer): Ip {
  const address = firstOf(own.addresses, 'IPv4');
  if (address !== undefined) return address;
  const [a = 0, b = 0, c = 0] = createHash('sha256').update(own.name).digest();
  const made = parseIp(`10.${a}.${b}.${c | 1}`);
  if (made === undefined) throw new RangeError(`no router id can be made of the name ${own.name}`);
  return made;
}
