// The host-gw fabric: a route to each other node's range through that node's address. Pure.
import type { Node } from '../k8s/types.generated.ts';
import { type Cidr, cidrContains, cidrsOverlap, familyOf, type Ip, parseCidr, parseIp } from '../net/address.ts';

/** A route that this node needs, and the object that asks for it. */
export interface FabricRoute {
  readonly to: Cidr;
  readonly via: Ip;
  /** The node whose pods are there: `Node worker2`. */
  readonly owner: string;
}

/** Something in the Node objects that cannot be followed. */
export interface FabricProblem {
  readonly owner: string;
  readonly reason: string;
}

export interface FabricDecision {
  /** One a destination, sorted by it. */
  readonly routes: readonly FabricRoute[];
  readonly problems: readonly FabricProblem[];
}

/** What the fabric is told about its own node and the cluster. */
export interface FabricContext {
  readonly nodeName: string;
  /** Ranges of nodes outside of these are refused; none means that all are taken. */
  readonly clusterCidrs: readonly Cidr[];
}

/**
 * The routes of a node: for each other node and each of its ranges, through its InternalIP of the same family. Two nodes
 * with overlapping ranges are a mistake of their objects: the first by name gets the route, the other is reported.
 */
export function decideRoutes(nodes: readonly Node[], context: FabricContext): FabricDecision {
  const routes: FabricRoute[] = [];
  const problems: FabricProblem[] = [];
  const sorted = [...nodes].sort((a, b) => compare(a.metadata.name ?? '', b.metadata.name ?? ''));
  const own = sorted.filter((node) => node.metadata.name === context.nodeName).flatMap(rangesOf);
  for (const node of sorted) {
    if (node.metadata.name === context.nodeName) continue;
    const owner = `Node ${node.metadata.name}`;
    for (const to of rangesOf(node)) {
      const reason = contradiction(to, context, own, routes);
      const via = internalAddress(node, to);
      if (reason !== undefined) problems.push({ owner, reason });
      else if (via !== undefined) routes.push({ to, via, owner });
    }
  }
  return { routes: routes.sort((a, b) => compare(a.to, b.to)), problems };
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Why a range cannot be routed; undefined where nothing speaks against it. */
function contradiction(
  to: Cidr,
  context: FabricContext,
  own: readonly Cidr[],
  routes: readonly FabricRoute[],
): string | undefined {
  if (context.clusterCidrs.length > 0 && !context.clusterCidrs.some((range) => contains(range, to)))
    return `its range ${to} is outside of the cluster's ${context.clusterCidrs.join(', ')}`;
  if (own.some((range) => cidrsOverlap(range, to))) return `its range ${to} overlaps with this node's`;
  const other = routes.find((route) => cidrsOverlap(route.to, to));
  return other === undefined ? undefined : `its range ${to} overlaps with ${other.to} of ${other.owner}`;
}

function contains(outer: Cidr, inner: Cidr): boolean {
  const address = parseIp(inner.split('/')[0] ?? '');
  const wider = Number(outer.split('/')[1]) <= Number(inner.split('/')[1]);
  return address !== undefined && wider && cidrContains(outer, address);
}

function rangesOf(node: Node): Cidr[] {
  const texts = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  return texts.flatMap((text) => parseCidr(text) ?? []);
}

/** Undefined while the node has not reported its address yet. */
function internalAddress(node: Node, range: Cidr): Ip | undefined {
  return (node.status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP')
    .flatMap(({ address }) => parseIp(address) ?? [])
    .find((address) => familyOf(address) === familyOf(range));
}
