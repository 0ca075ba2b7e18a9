// What one node announces: the addresses that it answers for on its links, the routes that it tells by BGP. Pure.
import type { NodeBGPAnnouncement, NodeBgpRoute } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import type { EndpointSlice, Node, Service } from '../k8s/types.generated.ts';
import { asCidr, familyOf, type Ip } from '../net/address.ts';
import type { Bgp, L2 } from './advertisements.ts';
import { type Configuration, covering } from './configuration.ts';
import { canAnnounce, ownerOf } from './election.ts';
import { isLocal, nodesWithEndpoints } from './endpoints.ts';
import { addressesOf, wantsAddress } from './request.ts';
import type { Answered } from './responder.ts';

export interface PlanInput {
  readonly nodeName: string;
  readonly nodes: readonly Node[];
  readonly slicesOf: (service: Service) => readonly EndpointSlice[];
  readonly configuration: Configuration;
  readonly isAlive: (node: string) => boolean;
}

/** Which Service: what an Event needs to know of it. */
export interface ServiceReference {
  readonly apiVersion: 'v1';
  readonly kind: 'Service';
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
}

/** An address of a Service that this node answers for. */
export interface OwnedAddress extends Answered {
  readonly service: ServiceReference;
  /** The namespace of the advertisement: there its status is told. */
  readonly namespace: string;
  /** The nodes that answer for any address of the Service. */
  readonly owners: ReadonlySet<string>;
}

/** What a node announces of one Service. Equal decisions are equal values. */
export interface ServicePlan {
  readonly service: ServiceReference;
  readonly l2: readonly OwnedAddress[];
  /** Whether any node answers for any address, so that the nodes must listen to each other. */
  readonly isElecting: boolean;
  readonly routes: readonly Omit<NodeBgpRoute, 'services'>[];
}

/** What this node announces of a Service that has addresses of Weft's. */
export function planService(object: Service, input: PlanInput): ServicePlan {
  const { configuration, nodeName } = input;
  const own = input.nodes.find(({ metadata }) => metadata.name === nodeName);
  const { namespace = '', name = '', uid = '' } = object.metadata;
  const service: ServiceReference = { apiVersion: 'v1', kind: 'Service', namespace, name, uid };
  const l2: OwnedAddress[] = [];
  const routes: Omit<NodeBgpRoute, 'services'>[] = [];
  const owners = new Set<string>();
  let isElecting = false;
  for (const address of wantsAddress(object) ? addressesOf(object) : []) {
    const withEndpoints = nodesWithEndpoints(input.slicesOf(object), familyOf(address));
    const onLink = covering(configuration.l2, configuration, object, address);
    if (onLink.length > 0) {
      isElecting = true;
      const eligible = isLocal(object) ? withEndpoints : undefined;
      const owner = ownerOf(address, { ...input, advertisements: onLink, eligible });
      if (owner !== undefined) owners.add(owner);
      if (owner === nodeName) l2.push({ service, address, owners, ...placesOf(onLink, own) });
    }
    if (own === undefined || !canAnnounce(own) || !answersHere(object, withEndpoints, nodeName)) continue;
    for (const advertisement of covering(configuration.bgp, configuration, object, address))
      if (advertisement.coversNode(own.metadata.labels)) routes.push(routeOf(address, advertisement));
  }
  return { service, l2, isElecting, routes };
}

/** Where the node answers: on the links of all advertisements that are for it. */
function placesOf(
  advertisements: readonly L2[],
  own: Node | undefined,
): Pick<OwnedAddress, 'interfaces' | 'namespace'> {
  const mine = advertisements.filter(({ coversNode }) => coversNode(own?.metadata.labels));
  const isOnDefault = mine.some(({ interfaces }) => interfaces === undefined);
  const named = [...new Set(mine.flatMap(({ interfaces }) => interfaces ?? []))].sort();
  return { interfaces: isOnDefault ? undefined : named, namespace: mine[0]?.namespace ?? '' };
}

/** By BGP a Service is announced while something answers: under the policy Local on this node. */
function answersHere(service: Service, withEndpoints: ReadonlySet<string>, nodeName: string): boolean {
  return isLocal(service) ? withEndpoints.has(nodeName) : withEndpoints.size > 0;
}

function routeOf(address: Ip, advertisement: Bgp): Omit<NodeBgpRoute, 'services'> {
  const { aggregationLength, aggregationLengthV6, localPref, communities, namespace } = advertisement;
  const to = advertisement.peers?.map((name) => keyOf({ namespace, name })).sort();
  return {
    prefix: asCidr(`${address}/${familyOf(address) === 'IPv4' ? aggregationLength : aggregationLengthV6}`),
    ...(to !== undefined && { peers: to }),
    ...(localPref !== undefined && { localPref }),
    ...(communities.length > 0 && { communities: [...communities].sort() }),
  };
}

/** All that this node tells by BGP: one route for each range, set of peers and set of attributes. */
export function planBgp(
  plans: Iterable<ServicePlan>,
  { nodes, nodeName, configuration }: PlanInput,
): NodeBGPAnnouncement['spec'] {
  const routes = new Map<string, NodeBgpRoute & { readonly named: Set<string> }>();
  for (const plan of plans)
    for (const route of plan.routes) {
      const key = JSON.stringify(route);
      const known = routes.get(key) ?? { ...route, services: [], named: new Set<string>() };
      routes.set(key, known);
      known.named.add(keyOf(plan.service));
    }
  const sorted = [...routes]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { named, ...route }]) => ({ ...route, services: [...named].sort() }));
  const own = nodes.find(({ metadata }) => metadata.name === nodeName);
  const peers = configuration.peers
    .filter(({ coversNode }) => own !== undefined && coversNode(own.metadata.labels))
    .map(({ session }) => session)
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...(peers.length > 0 && { peers }), ...(sorted.length > 0 && { routes: sorted }) };
}
