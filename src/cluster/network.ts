// The network between the nodes: an underlay namespace with the bridges, the router, and each node's own namespace with
// a cable to its bridge.
import { closeSync, openSync } from 'node:fs';
import { replaceAddress } from '../linux/addresses.ts';
import { changeLink, createBridge, createVeth, deleteLink, findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, isNetns, netnsPath, sysctl } from '../linux/netns.ts';
import { protocol, replaceRoute } from '../linux/routes.ts';
import { type Cidr, familyOf, type Ip, rangeOf } from '../net/address.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';
import { segmentRoutes } from './segment-routes.ts';
import { byFamily, type Segment, underlayMac } from './segments.ts';
import type { ClusterSettings } from './settings.ts';

const loopback = 1;
/** Each node's interface to its LAN. */
const nodeInterface = 'eth0';

/**
 * Makes what is missing of the underlay, the router and the nodes' namespaces, and leaves the rest as it is. Returns the
 * nodes whose namespace was made now: processes in an older one of that name are not in it.
 */
export function ensureNetwork(settings: ClusterSettings, layout: ClusterLayout): Set<string> {
  ensureNetns(layout.underlayNetns);
  const made = new Set<string>();
  using underlay = Netlink.open(netnsPath(layout.underlayNetns));
  changeLink(underlay, loopback, { up: true });
  const ipv6 = settings.underlay.some((range) => familyOf(range) === 'IPv6');
  const bridges = layout.segments.map(({ bridge }) => {
    if (findLink(underlay, bridge) === undefined) createBridge(underlay, { name: bridge, up: true });
    const index = indexOf(underlay, bridge);
    changeLink(underlay, index, { up: true });
    return index;
  });
  ensureRouter(layout, underlay, bridges, ipv6);
  for (const node of layout.nodes) {
    if (ensureNetns(node.name)) made.add(node.name);
    if (ipv6) allowIpv6(node.name);
    const [segment, bridge] = [layout.segments[node.segment], bridges[node.segment]];
    if (segment !== undefined && bridge !== undefined) connectNode(settings, node, segment, underlay, bridge);
  }
  return made;
}

/** True where the namespace was made now. */
function ensureNetns(name: string): boolean {
  if (isNetns(netnsPath(name))) return false;
  // A file that leads nowhere is left of a crash or of a reboot.
  deleteNamedNetns(name);
  createNamedNetns(name);
  return true;
}

/**
 * What holds for every link of a namespace. Addresses of nodes and pods are given by Weft alone, so that none is looked
 * for twice (a second in which it cannot be used) and none is taken from a router's advertisement; and a link that is
 * set down and up again keeps them, as in IPv4.
 */
const ipv6Sysctls = { disable_ipv6: '0', accept_dad: '0', accept_ra: '0', keep_addr_on_down: '1' };

/** To be called before the first link is made: existing ones do not follow. */
function allowIpv6(netns: string): void {
  for (const scope of ['all', 'default'])
    for (const [key, value] of Object.entries(ipv6Sysctls))
      sysctl(netnsPath(netns), `net/ipv6/conf/${scope}/${key}`, value);
}

/** The router is on every segment, and goes no further. What is in its table beyond them is the fabric's business. */
function ensureRouter(layout: ClusterLayout, underlay: Netlink, bridges: readonly number[], ipv6: boolean): void {
  ensureNetns(layout.routerNetns);
  const netns = netnsPath(layout.routerNetns);
  if (ipv6) allowIpv6(layout.routerNetns);
  // A packet that leaves by the link that it came in by is in order: the senders are to know the router alone.
  for (const key of ['all/send_redirects', 'default/send_redirects']) sysctl(netns, `net/ipv4/conf/${key}`, '0');
  sysctl(netns, 'net/ipv4/ip_forward', '1');
  if (ipv6) sysctl(netns, 'net/ipv6/conf/all/forwarding', '1');
  using inside = Netlink.open(netns);
  changeLink(inside, loopback, { up: true });
  for (const [index, { routerInterface, routerPort, subnets, routers }] of layout.segments.entries())
    plugIn(underlay, bridges[index] ?? 0, inside, {
      netns: layout.routerNetns,
      name: routerInterface,
      port: routerPort,
      addresses: byFamily(subnets, routers),
    });
}

interface Cable {
  readonly netns: string;
  /** The interface inside, and the port of the bridge. */
  readonly name: string;
  readonly port: string;
  readonly addresses: readonly [Cidr, Ip][];
}

/** Connects a namespace to a bridge. Returns the index of its interface. */
function plugIn(underlay: Netlink, bridge: number, inside: Netlink, cable: Cable): number {
  const { name, port, addresses } = cable;
  const mac = addresses[0] === undefined ? undefined : underlayMac(addresses[0][1]);
  if (findLink(inside, name) === undefined) {
    // The kernel takes a namespace apart some time after its end: the cable of one of this name may still be there.
    deleteLink(underlay, port);
    const netns = openSync(netnsPath(cable.netns), 'r');
    try {
      createVeth(
        underlay,
        { name: port, master: bridge, up: true },
        { name, netns, ...(mac !== undefined && { mac }) },
      );
    } finally {
      closeSync(netns);
    }
  }
  const link = indexOf(inside, name);
  changeLink(inside, link, { up: true });
  for (const [range, address] of addresses) replaceAddress(inside, { link, address, prefix: rangeOf(range).prefix });
  return link;
}

function connectNode(
  settings: ClusterSettings,
  node: NodeLayout,
  segment: Segment,
  underlay: Netlink,
  bridge: number,
): void {
  using inside = Netlink.open(netnsPath(node.name));
  changeLink(inside, loopback, { up: true });
  const addresses = byFamily(segment.subnets, node.addresses);
  const cable = { netns: node.name, name: nodeInterface, port: node.role, addresses };
  const link = plugIn(underlay, bridge, inside, cable);
  for (const route of segmentRoutes(settings, node.segment)) replaceRoute(inside, { ...route, link });
  // A node has no way out. Its own connections to Services need a route all the same: the kernel looks for one before
  // the proxy's rules give the packet its real destination.
  for (const [to, source] of byFamily(settings.serviceCidrs, node.addresses))
    replaceRoute(inside, { to, link, source, protocol: protocol.static });
}

function indexOf(netlink: Netlink, name: string): number {
  const link = findLink(netlink, name);
  if (link === undefined) throw new Error(`the interface ${name} is gone`);
  return link.index;
}
