// What the Node objects say to a fabric: who has which range behind which address. Pure; read once for each object.
import { fabricAnnotation } from '../k8s/network-config.ts';
import type { Node } from '../k8s/types.generated.ts';
import { type Cidr, familyOf, type Ip, parseCidr, parseIp, type Range, rangeOf } from '../net/address.ts';
import { parseWireguardKey, type WireguardKey } from '../net/wireguard-key.ts';
import type { FabricProblem } from './plan.ts';

/** A node, as far as a fabric is concerned. */
export interface Peer {
  readonly name: string;
  /** `Node worker2`: the owner of what is made for it. */
  readonly owner: string;
  /** Its InternalIPs, in the order of the object. */
  readonly addresses: readonly Ip[];
  readonly podCidrs: readonly Cidr[];
  readonly ready: boolean;
  /** The kind of fabric that it says it sends by. */
  readonly inPlace?: string;
  /** The address at which it says it takes in VXLAN. */
  readonly vtep?: Ip;
  /** The public key by which it says that it takes in encrypted packets. */
  readonly wireguardKey?: WireguardKey;
}

/** A range of another node that may be routed to it. */
export interface Reach {
  readonly peer: Peer;
  readonly to: Cidr;
}

/** The own node, and what lies behind the others. */
export interface Peers {
  /** Undefined until the Node is registered, and for a router, which is none. */
  readonly own: Peer | undefined;
  readonly others: readonly Peer[];
  /** Sorted by node and then as the node has them; no two overlap. */
  readonly reaches: readonly Reach[];
  readonly problems: readonly FabricProblem[];
}

/** What the fabric is told about its own node and the cluster. */
export interface FabricContext {
  /** Undefined for a router between the nodes. */
  readonly nodeName?: string;
  /** Ranges of nodes outside of these are refused; none means that all are taken. */
  readonly clusterCidrs: readonly Cidr[];
}

/** Objects of a cache do not change: what was read of one stays true. */
const read = new WeakMap<Node, Peer>();

export function peerOf(node: Node): Peer {
  const known = read.get(node);
  if (known !== undefined) return known;
  const { name = '', annotations } = node.metadata;
  const texts = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  const inPlace = annotations?.[fabricAnnotation.inPlace];
  const vtep = parseIp(annotations?.[fabricAnnotation.vtep] ?? '');
  const wireguardKey = parseWireguardKey(annotations?.[fabricAnnotation.wireguard] ?? '');
  const peer: Peer = {
    name,
    owner: `Node ${name}`,
    addresses: (node.status?.addresses ?? []).flatMap(({ type, address }) =>
      type === 'InternalIP' ? (parseIp(address) ?? []) : [],
    ),
    podCidrs: texts.flatMap((text) => parseCidr(text) ?? []),
    ready: node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false,
    ...(inPlace === undefined ? {} : { inPlace }),
    ...(vtep === undefined ? {} : { vtep }),
    ...(wireguardKey === undefined ? {} : { wireguardKey }),
  };
  read.set(node, peer);
  return peer;
}

/** The address of a node that fits a range: its first InternalIP of that family; undefined until it is reported. */
export function addressOf(peer: Peer, to: Cidr): Ip | undefined {
  return peer.addresses.find((address) => familyOf(address) === familyOf(to));
}

interface Claim extends Reach {
  readonly range: Range;
}

/**
 * Reads the Nodes. Two with overlapping ranges are a mistake of their objects: the first by name keeps its range, the
 * other is reported, and so is a range outside of the cluster's or one that overlaps with the own node's.
 */
export function readPeers(nodes: readonly Node[], context: FabricContext): Peers {
  const peers = nodes.map(peerOf).sort((a, b) => compare(a.name, b.name));
  const own = peers.find(({ name }) => name === context.nodeName);
  const others = peers.filter((peer) => peer !== own);
  const problems: FabricProblem[] = [];
  const cluster = context.clusterCidrs.map(rangeOf);
  const claims = others.flatMap((peer) => peer.podCidrs.map((to): Claim => ({ peer, to, range: rangeOf(to) })));
  const inside = claims.filter(({ peer, to, range }) => {
    if (cluster.length === 0 || cluster.some((wide) => contains(wide, range))) return true;
    const where = context.clusterCidrs.join(', ');
    problems.push({ owner: peer.owner, reason: `its range ${to} is outside of the cluster's ${where}` });
    return false;
  });
  const ownClaims = (own?.podCidrs ?? []).map((to) => ({ peer: own, to, range: rangeOf(to) }));
  const losers = overlaps([...ownClaims, ...inside]);
  const reaches = inside.filter((claim) => {
    const winner = losers.get(claim);
    if (winner === undefined) return true;
    const reason =
      winner.peer === own
        ? `its range ${claim.to} overlaps with this node's`
        : `its range ${claim.to} overlaps with ${winner.to} of ${winner.peer?.owner}`;
    problems.push({ owner: claim.peer.owner, reason });
    return false;
  });
  return { own, others, reaches, problems: problems.sort((a, b) => compare(a.owner, b.owner)) };
}

interface Ranged {
  readonly range: Range;
}

/**
 * Those that overlap with one that comes earlier in the list and is no loser itself, each with that one. Ranges are
 * aligned: two overlap only where one contains the other, so a sorted pass with a stack of open ranges finds all pairs.
 */
function overlaps<T extends Ranged>(claims: readonly T[]): Map<unknown, T> {
  const place = new Map(claims.map((claim, index) => [claim, index]));
  const sorted = [...claims].sort(
    (a, b) =>
      (a.range.family === b.range.family ? 0 : a.range.family < b.range.family ? -1 : 1) ||
      (a.range.first < b.range.first ? -1 : a.range.first > b.range.first ? 1 : a.range.prefix - b.range.prefix),
  );
  const pairs: [T, T][] = [];
  let open: T[] = [];
  for (const claim of sorted) {
    open = open.filter((other) => contains(other.range, claim.range));
    for (const other of open) pairs.push([other, claim]);
    open.push(claim);
  }
  if (pairs.length === 0) return new Map();
  const order = (claim: T): number => place.get(claim) ?? 0;
  const inOrder = pairs.map(([a, b]): [T, T] => (order(a) < order(b) ? [a, b] : [b, a]));
  inOrder.sort((a, b) => order(a[1]) - order(b[1]) || order(a[0]) - order(b[0]));
  const losers = new Map<unknown, T>();
  for (const [first, second] of inOrder) if (!losers.has(first) && !losers.has(second)) losers.set(second, first);
  return losers;
}

function contains(wide: Range, narrow: Range): boolean {
  return (
    wide.family === narrow.family &&
    wide.prefix <= narrow.prefix &&
    narrow.first >= wide.first &&
    narrow.first < wide.first + wide.size
  );
}

export const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
