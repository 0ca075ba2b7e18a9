// The host-gw fabric: a route to each other node's range through that node's address. Pure.
import type { Ip } from '../net/address.ts';
import type { FabricInput } from './kinds.ts';
import { addressOf, compare, type Reach } from './peers.ts';
import { emptyPlan, type FabricPlan, type FabricProblem, type FabricRoute } from './plan.ts';
import { isOnLink } from './underlay.ts';

/**
 * The routes of a node, or of a router between the nodes: for each other node and each of its ranges, through its
 * InternalIP of the same family, which must be on a subnet of this one (the kernel accepts no other next hop).
 */
export function decideHostGateway({ peers, underlay }: FabricInput): FabricPlan {
  const routes: FabricRoute[] = [];
  const problems: FabricProblem[] = [...peers.problems];
  for (const reach of peers.reaches) {
    const via = addressOf(reach.peer, reach.to);
    if (via === undefined) continue;
    if (isOnLink(underlay, via)) routes.push(directRoute(reach, via));
    else problems.push({ owner: reach.peer.owner, reason: notOnLink(via) });
  }
  return { ...emptyPlan, routes: sortRoutes(routes), problems };
}

export function directRoute({ peer, to }: Reach, via: Ip): FabricRoute {
  return { to, via, owner: peer.owner };
}

function notOnLink(via: Ip): string {
  return `its address ${via} is on no subnet of this node: choose the fabric vxlan, or router with a router between them`;
}

export function sortRoutes(routes: FabricRoute[]): FabricRoute[] {
  return routes.sort((a, b) => compare(a.to, b.to));
}
