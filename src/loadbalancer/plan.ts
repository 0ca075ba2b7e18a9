// What one node announces: the addresses that it answers for on its links, the routes that it tells by BGP. Pure.
import type { NodeBGPAnnouncement, NodeBgpRoute } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import type { EndpointSlice, Node, Service } from '../k8s/types.generated.ts';
import { type Cidr, familyOf, type Ip, parseCidr } from '../net/address.ts';
import type { Bgp, L2 } from './advertisements.ts';
import { type Configuration, covering } from './configuration.ts';
import { canAnnounce, ownerOf } from './election.ts';
import { isLocal, nodesWithEndpoints } from './endpoints.ts';
import type { Peer } from './peers.ts';
import { addressesOf, wantsAddress } from './request.ts';
import type { Answered } from './responder.ts';

export interface PlanInput {
  readonly nodeName: string;
  readonly nodes: readonly Node[];
  /** Services that may have an address of Weft's, and their slices. */
  readonly services: readonly Service[];
  readonly slicesOf: (service: Service) => readonly EndpointSlice[];
  readonly configuration: Configuration;
  readonly isAlive: (node: string) => boolean;
}

/** An address of a Service that this node answers for. */
export interface OwnedAddress extends Answered {
  readonly service: Service;
  /** The namespace of the advertisement: there its status is told. */
  readonly namespace: string;
  /** The nodes that answer for any address of the Service. */
  readonly owners: ReadonlySet<string>;
}

export interface Plan {
  readonly l2: readonly OwnedAddress[];
  /** Whether any node answers for any address, so that the nodes must listen to each other. */
  readonly isElecting: boolean;
  readonly bgp: NodeBGPAnnouncement['spec'];
}

export function decidePlan(input: PlanInput): Plan {
  const { configuration, nodeName } = input;
  const own = input.nodes.find(({ metadata }) => metadata.name === nodeName);
  const l2: OwnedAddress[] = [];
  const routes: Announced[] = [];
  const sessions = configuration.peers.filter(({ coversNode }) => own !== undefined && coversNode(own.metadata.labels));
  let isElecting = false;
  for (const service of input.services) {
    if (!wantsAddress(service)) continue;
    const owners = new Set<string>();
    for (const address of addressesOf(service)) {
      const withEndpoints = nodesWithEndpoints(input.slicesOf(service), familyOf(address));
      const onLink = covering(configuration.l2, configuration, service, address);
      if (onLink.length > 0) {
        isElecting = true;
        const eligible = isLocal(service) ? withEndpoints : undefined;
        const owner = ownerOf(address, { ...input, advertisements: onLink, eligible });
        if (owner !== undefined) owners.add(owner);
        if (owner === nodeName) l2.push({ service, address, owners, ...placesOf(onLink, own) });
      }
      if (own === undefined || !canAnnounce(own) || !answersHere(service, withEndpoints, nodeName)) continue;
      for (const advertisement of covering(configuration.bgp, configuration, service, address))
        if (advertisement.coversNode(own.metadata.labels)) routes.push({ service, address, advertisement });
    }
  }
  return { l2, isElecting, bgp: bgpSpec(routes, sessions) };
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

interface Announced {
  readonly service: Service;
  readonly address: Ip;
  readonly advertisement: Bgp;
}

/** One route for each range, set of peers and set of attributes. */
function bgpSpec(announced: readonly Announced[], sessions: readonly Peer[]): NodeBGPAnnouncement['spec'] {
  const routes = new Map<string, NodeBgpRoute & { services: string[] }>();
  for (const { service, address, advertisement } of announced) {
    const { aggregationLength, aggregationLengthV6, localPref, communities, namespace } = advertisement;
    const prefix: Cidr | undefined = parseCidr(
      `${address}/${familyOf(address) === 'IPv4' ? aggregationLength : aggregationLengthV6}`,
    );
    if (prefix === undefined) continue;
    const to = advertisement.peers?.map((name) => keyOf({ namespace, name })).sort();
    const route = {
      prefix,
      ...(to !== undefined && { peers: to }),
      ...(localPref !== undefined && { localPref }),
      ...(communities.length > 0 && { communities: [...communities].sort() }),
    };
    const key = JSON.stringify(route);
    const known = routes.get(key) ?? { ...route, services: [] };
    routes.set(key, known);
    const name = keyOf(service);
    if (!known.services.includes(name)) known.services.push(name);
  }
  const sorted = [...routes].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, route]) => route);
  for (const { services } of sorted) services.sort();
  const peers = sessions.map(({ session }) => session).sort((a, b) => (a.name < b.name ? -1 : 1));
  return { ...(peers.length > 0 && { peers }), ...(sorted.length > 0 && { routes: sorted }) };
}
