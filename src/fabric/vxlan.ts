// The vxlan fabric: packets to other nodes' pods travel in UDP between the nodes. Pure.
import { createHash } from 'node:crypto';
import { asIp, familyOf, type Ip, ipToBigInt, type Mac } from '../net/address.ts';
import { vxlanName } from './devices.ts';
import { directRoute, sortRoutes } from './host-gateway.ts';
import type { FabricInput } from './kinds.ts';
import { addressOf, compare, type Peer } from './peers.ts';
import {
  emptyPlan,
  type FabricAddress,
  type FabricForwarding,
  type FabricLink,
  type FabricNeighbour,
  type FabricPlan,
  type FabricProblem,
  type FabricRoute,
  type FabricSysctl,
} from './plan.ts';
import { isOnLink } from './underlay.ts';

/** What the outer headers take of each packet: Ethernet 14, IP, UDP 8, VXLAN 8. */
const overhead = { IPv4: 50, IPv6: 70 };

/** This node's end of the tunnels. */
type Endpoint = Pick<FabricPlan, 'links' | 'addresses' | 'sysctls'>;

/**
 * One device, and for each other node a route, a permanent neighbour (each a family) and a forwarding entry: nothing is
 * learned, so nothing is flooded, and the agent may be down. A node that does not take in VXLAN yet is reached directly
 * while it is on a subnet of this one; with `crossSubnet` every such node is.
 */
export function decideVxlan(input: FabricInput): FabricPlan {
  const { config, peers, underlay } = input;
  const endpoint = endpointOf(input);
  if (typeof endpoint === 'string') return { ...emptyPlan, problems: peers.problems, waitsFor: endpoint };
  const mtu = endpoint.links[0]?.mtu;
  const routes: FabricRoute[] = [];
  const neighbours: FabricNeighbour[] = [];
  const forwarding = new Map<Peer, FabricForwarding>();
  const problems: FabricProblem[] = [...peers.problems];
  for (const reach of peers.reaches) {
    const { peer, to } = reach;
    const direct = addressOf(peer, to);
    const isNear = direct !== undefined && isOnLink(underlay, direct);
    const remote = vtepOf(peer);
    // Pods there have the smaller links: what this node itself sends is cut to fit them, not lost before them.
    if (isNear && (config.vxlan.crossSubnet || remote === undefined))
      routes.push({ ...directRoute(reach, direct), ...(mtu !== undefined && { mtu }) });
    else if (remote === undefined) {
      if (direct !== undefined && peer.ready)
        problems.push({
          owner: peer.owner,
          reason: `it does not take in VXLAN yet, and ${direct} is on no subnet of this node`,
        });
    } else {
      const via = firstAddress(to);
      const [mac, owner] = [vtepMac(remote), peer.owner];
      routes.push({ to, via, link: vxlanName, owner });
      neighbours.push({ link: vxlanName, address: via, mac, owner });
      forwarding.set(peer, { link: vxlanName, mac, remote, owner });
    }
  }
  return {
    ...emptyPlan,
    ...endpoint,
    routes: sortRoutes(routes),
    neighbours: neighbours.sort((a, b) => compare(a.address, b.address)),
    forwarding: [...forwarding.values()],
    problems,
  };
}

/**
 * For a node whose fabric is another one now: its end of the tunnels for as long as a Ready node still sends through
 * it, so that nothing is lost in the change.
 */
export function lingeringEndpoint(input: FabricInput): Endpoint | undefined {
  const { own, others } = input.peers;
  if (own?.vtep === undefined || !others.some(({ ready, inPlace }) => ready && inPlace === 'vxlan')) return undefined;
  const endpoint = endpointOf(input);
  return typeof endpoint === 'string' ? undefined : endpoint;
}

/** The address at which a node takes in VXLAN; undefined also where it is one that the node no longer has. */
function vtepOf(peer: Peer): Ip | undefined {
  return peer.vtep !== undefined && peer.addresses.includes(peer.vtep) ? peer.vtep : undefined;
}

/** What is missing, where something is. */
function endpointOf({ config, peers: { own }, underlay }: FabricInput): Endpoint | string {
  const local = own?.addresses[0];
  if (own === undefined || local === undefined) return 'an InternalIP of this node';
  if (own.podCidrs.length === 0) return 'a range for the pods of this node';
  const outer = underlay.addresses.find(({ address }) => address === local);
  if (outer === undefined) return `a link with the address ${local} of this node`;
  const owner = own.owner;
  const { vni, port } = config.vxlan;
  const mtu = outer.mtu - overhead[familyOf(local)];
  const link: FabricLink = { kind: 'vxlan', name: vxlanName, mac: vtepMac(local), mtu, vni, port, local, owner };
  const sysctl = (key: string, value: string): FabricSysctl => ({ key, value, owner });
  const isDual = own.podCidrs.some((range) => familyOf(range) === 'IPv6');
  return {
    links: [link],
    // The source of what the node itself sends: pods answer to it through the tunnel as well.
    addresses: own.podCidrs.map(
      (range): FabricAddress => ({
        link: vxlanName,
        address: firstAddress(range),
        prefix: familyOf(range) === 'IPv4' ? 32 : 128,
        owner,
      }),
    ),
    sysctls: [
      // Answers of nodes come through the tunnel, what they answer to went past it: a strict check would drop them.
      sysctl(`net/ipv4/conf/${vxlanName}/rp_filter`, '2'),
      ...(isDual ? [sysctl(`net/ipv6/conf/${vxlanName}/accept_ra`, '0')] : []),
    ],
  };
}

/** No pod has it: the network's own address. */
const firstAddress = (range: string): Ip => asIp(range.split('/')[0] ?? '');

/**
 * The hardware address of a node's end, from the node's address, so that nobody has to publish it: 0e:77 and an IPv4
 * address, or 0e and 40 bits of a hash of an IPv6 one (0e is locally administered).
 */
export function vtepMac(address: Ip): Mac {
  const hex =
    familyOf(address) === 'IPv4'
      ? `77${ipToBigInt(address).toString(16).padStart(8, '0')}`
      : createHash('sha256').update(address).digest('hex').slice(0, 10);
  return `0e:${hex.match(/../g)?.join(':') ?? ''}` as Mac;
}
