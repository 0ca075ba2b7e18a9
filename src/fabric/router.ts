// The router fabric: nodes know a default route only, to a router in the underlay that has the table. Pure.
import { networkConfigKey } from '../k8s/network-config.ts';
import { asCidr, type Family, familyOf } from '../net/address.ts';
import { decideHostGateway } from './host-gateway.ts';
import type { FabricInput } from './kinds.ts';
import { emptyPlan, type FabricPlan, type FabricProblem, type FabricRoute } from './plan.ts';
import { isOnLink, type Underlay } from './underlay.ts';

const owner = `ConfigMap ${networkConfigKey.namespace}/${networkConfigKey.name}`;
/** A machine's own default route (metric 0, or what DHCP gave) comes before the fabric's. */
const metric = 1024;

/** The default route of a node, for each family that its pods have, once the router says that it has its table. */
export function decideRouter({ config, peers, underlay }: FabricInput): FabricPlan {
  const families = new Set((peers.own?.podCidrs ?? []).map(familyOf));
  const routes: FabricRoute[] = [];
  const problems: FabricProblem[] = [...peers.problems];
  for (const family of families) {
    const via = config.routers.find((address) => familyOf(address) === family && isOnLink(underlay, address));
    if (via !== undefined) routes.push({ to: everything(family), via, metric, owner });
    else problems.push({ owner, reason: `router.addresses has no ${family} address on a subnet of this node` });
  }
  const plan: FabricPlan = { ...emptyPlan, routes, problems };
  if (families.size === 0) return { ...plan, waitsFor: 'a range for the pods of this node' };
  if (routes.length < families.size) return { ...plan, waitsFor: 'the address of the router (router.addresses)' };
  return config.routerHasTable ? plan : { ...plan, waitsFor: 'the table of the router' };
}

const everything = (family: Family) => asCidr(family === 'IPv4' ? '0.0.0.0/0' : '::/0');

/**
 * The table of the router: the routes to all nodes while the fabric is `router`, and for as long after it as a Ready
 * node still sends that way. With `bgp` the nodes find the way to one another through it where they are on different
 * subnets, and it has the table then too (it does not speak BGP itself).
 */
export function decideRouterTable(input: FabricInput): FabricPlan {
  const { config, peers, underlay } = input;
  const isBetween = familiesOf(underlay).size < underlay.addresses.length;
  const relies = (kind: string | undefined): boolean => kind === 'router' || (kind === 'bgp' && isBetween);
  const needed = relies(config.fabric) || peers.others.some(({ ready, inPlace }) => ready && relies(inPlace));
  return needed ? decideHostGateway(input) : { ...emptyPlan, problems: peers.problems };
}

const familiesOf = ({ addresses }: Underlay): Set<Family> => new Set(addresses.map(({ address }) => familyOf(address)));
