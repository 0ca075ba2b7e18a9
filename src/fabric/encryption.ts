// Encryption between nodes: pods' packets to other nodes go through WireGuard and in no other way. Pure.
//
// WireGuard is a tunnel already: with encryption the fabrics host-gw and vxlan send pods' packets into it directly, as
// flannel's wireguard backend and Calico do. VXLAN inside of it would take 50 bytes more of each packet for nothing.
import { saysEncrypted } from '../k8s/network-config.ts';
import { addressAt, asCidr, type Cidr, familyOf, type Ip } from '../net/address.ts';
import { wireguardName } from './devices.ts';
import { sortRoutes } from './host-gateway.ts';
import type { FabricInput } from './kinds.ts';
import type { Peer, Reach } from './peers.ts';
import {
  emptyPlan,
  type FabricAddress,
  type FabricPlan,
  type FabricProblem,
  type FabricRoute,
  type FabricRule,
  type FabricWireguardPeer,
} from './plan.ts';

/** The table with the way from this node's pods to the other nodes themselves. */
export const encryptedTable = 118;
/** Of the rules that lead to it: before the main table. */
export const encryptedPriority = 1180;

/** The metric after which no other one comes. */
const lastResort = 0xffffffff;

/** What the outer headers take of each packet: IP, UDP 8, WireGuard 32. */
const overhead = { IPv4: 60, IPv6: 80 };

/** This node's end, with the others as its peers. */
type Endpoint = Pick<FabricPlan, 'links' | 'addresses' | 'sysctls' | 'wireguardPeers'>;

/**
 * One device. For each other node a peer, and a route for each of its ranges; in a table of their own, for what pods
 * send, routes to the nodes' addresses. What nodes say to each other for themselves (the API, WireGuard's own packets)
 * goes past it: keys are learned that way. A node without a key is no peer: what is sent to its pods is refused by the
 * device, and never goes out in clear.
 */
export function decideEncrypted(input: FabricInput): FabricPlan {
  const { peers, config } = input;
  if (config.fabric !== 'host-gw' && config.fabric !== 'vxlan') {
    const reason = `is an option of the fabrics host-gw and vxlan; the fabric is ${config.fabric}`;
    return waiting(input, 'another choice', [{ owner: 'encryption', reason }]);
  }
  const endpoint = endpointOf(input);
  if (typeof endpoint === 'string') return waiting(input, endpoint, []);
  const problems: FabricProblem[] = [...peers.problems, ...sharedKeys(peers.others)];
  const keyed = new Set(endpoint.wireguardPeers.map(({ owner }) => owner));
  for (const { owner, ready, podCidrs } of peers.others)
    if (ready && podCidrs.length > 0 && !keyed.has(owner))
      problems.push({ owner, reason: 'it has published no WireGuard key: nothing is sent to its pods' });
  const own = peers.own?.podCidrs ?? [];
  const rules = own.map((from): FabricRule => ({ from, table: encryptedTable, owner: peers.own?.owner ?? '' }));
  return {
    ...emptyPlan,
    ...endpoint,
    routes: sortRoutes([...routesOf(peers.reaches), ...noOtherWay(input)]),
    rules,
    problems,
  };
}

/** What has no route of its own, such as the range of a node that has left, takes no default route in clear. */
function noOtherWay({ context, peers }: FabricInput): FabricRoute[] {
  const owner = peers.own?.owner ?? '';
  return context.clusterCidrs.map((to) => ({ to, unreachable: true, metric: lastResort, owner }));
}

function waiting({ peers }: FabricInput, waitsFor: string, problems: readonly FabricProblem[]): FabricPlan {
  return { ...emptyPlan, problems: [...peers.problems, ...problems], waitsFor };
}

function routesOf(reaches: readonly Reach[]): FabricRoute[] {
  const nodes = new Map<Cidr, FabricRoute>();
  const routes = reaches.map(({ peer, to }): FabricRoute => {
    for (const address of peer.addresses) {
      const only = alone(address);
      nodes.set(only, { to: only, link: wireguardName, table: encryptedTable, owner: peer.owner });
    }
    return { to, link: wireguardName, owner: peer.owner };
  });
  return [...routes, ...nodes.values()];
}

/**
 * For a node that does not encrypt any more: its end for as long as a Ready node still sends to it encrypted, so that
 * nothing is lost in the change.
 */
export function lingeringEncryption(input: FabricInput): Endpoint | undefined {
  const { own, others } = input.peers;
  const sends = ({ ready, inPlace }: Peer): boolean => ready && inPlace !== undefined && saysEncrypted(inPlace);
  if (own?.wireguardKey === undefined || !others.some(sends)) return undefined;
  const endpoint = endpointOf(input);
  return typeof endpoint === 'string' ? undefined : endpoint;
}

/** What is missing, where something is. */
function endpointOf({ config, peers, underlay, wireguardKey }: FabricInput): Endpoint | string {
  const { own, others, reaches } = peers;
  const local = own?.addresses[0];
  if (own === undefined || local === undefined) return 'an InternalIP of this node';
  if (own.podCidrs.length === 0) return 'a range for the pods of this node';
  const outer = underlay.addresses.find(({ address }) => address === local);
  if (outer === undefined) return `a link with the address ${local} of this node`;
  if (wireguardKey === undefined) return "WireGuard in this node's kernel (module wireguard)";
  const { owner } = own;
  const { port } = config.wireguard;
  const mtu = outer.mtu - overhead[familyOf(local)];
  return {
    links: [{ kind: 'wireguard', name: wireguardName, mtu, port, publicKey: wireguardKey, owner }],
    // The source of what the node itself sends to pods: they answer to it encrypted as well.
    addresses: own.podCidrs.map((range): FabricAddress => {
      const prefix = familyOf(range) === 'IPv4' ? 32 : 128;
      return { link: wireguardName, address: addressAt(range, 0), prefix, owner };
    }),
    // Nodes are reached past the device, and answer pods through it: a strict check would drop that.
    sysctls: [{ key: `net/ipv4/conf/${wireguardName}/rp_filter`, value: '2', owner }],
    wireguardPeers: wireguardPeers(others, reaches, { local, port }),
  };
}

interface Transport {
  /** The address of this node under which others know it: the family in which nodes are spoken to. */
  readonly local: Ip;
  readonly port: number;
}

/** The other nodes that have a key and an address. What two of them claim is the first one's by name. */
function wireguardPeers(
  others: readonly Peer[],
  reaches: readonly Reach[],
  { local, port }: Transport,
): FabricWireguardPeer[] {
  const ranges = new Map<Peer, Cidr[]>();
  for (const { peer, to } of reaches) ranges.set(peer, [...(ranges.get(peer) ?? []), to]);
  const claimed = new Set<string>();
  const claim = (thing: string): boolean => !claimed.has(thing) && claimed.add(thing) !== undefined;
  return others.flatMap((peer) => {
    const { wireguardKey: publicKey, addresses, owner } = peer;
    const endpoint = addresses.find((address) => familyOf(address) === familyOf(local)) ?? addresses[0];
    if (publicKey === undefined || endpoint === undefined || !claim(publicKey)) return [];
    // Its own addresses: as such it answers pods.
    const allowed = [...(ranges.get(peer) ?? []), ...addresses.map(alone)].filter(claim);
    return { link: wireguardName, publicKey, endpoint, port, allowed, owner };
  });
}

function sharedKeys(others: readonly Peer[]): FabricProblem[] {
  const owners = new Map<string, string>();
  return others.flatMap(({ wireguardKey, owner }) => {
    const first = wireguardKey === undefined ? undefined : owners.get(wireguardKey);
    if (wireguardKey !== undefined && first === undefined) owners.set(wireguardKey, owner);
    return first === undefined ? [] : { owner, reason: `its WireGuard key is that of ${first}` };
  });
}

const alone = (address: Ip): Cidr => asCidr(`${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`);
