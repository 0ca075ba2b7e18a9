// The LAN between the nodes: an underlay namespace with a bridge, and each node's own namespace with a cable to it.
import { closeSync, openSync } from 'node:fs';
import { replaceAddress } from '../linux/addresses.ts';
import { changeLink, createBridge, createVeth, findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, isNetns, netnsPath, sysctl } from '../linux/netns.ts';
import { protocol, replaceRoute } from '../linux/routes.ts';
import { type Cidr, familyOf, type Ip, rangeOf } from '../net/address.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';
import type { ClusterSettings } from './settings.ts';

const loopback = 1;
/** The bridge inside of the underlay namespace. */
const lan = 'lan';
/** Each node's interface to the LAN. */
const nodeInterface = 'eth0';

/**
 * Makes what is missing of the underlay and of the nodes' namespaces, and leaves the rest as it is. Returns the nodes
 * whose namespace was made now: processes in an older one of that name are not in it.
 */
export function ensureNetwork(settings: ClusterSettings, layout: ClusterLayout): Set<string> {
  ensureNetns(layout.underlayNetns);
  const made = new Set<string>();
  using underlay = Netlink.open(netnsPath(layout.underlayNetns));
  changeLink(underlay, loopback, { up: true });
  if (findLink(underlay, lan) === undefined) createBridge(underlay, { name: lan, up: true });
  const bridge = indexOf(underlay, lan);
  changeLink(underlay, bridge, { up: true });
  for (const node of layout.nodes) {
    if (ensureNetns(node.name)) made.add(node.name);
    if (settings.underlay.some((range) => familyOf(range) === 'IPv6')) allowIpv6(node.name);
    connectNode(settings, node, underlay, bridge);
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
 * Before the first link: addresses of nodes and pods are given by Weft alone, so that none is looked for twice (a second
 * in which it cannot be used) and none is taken from a router's advertisement.
 */
function allowIpv6(netns: string): void {
  for (const scope of ['all', 'default'])
    for (const key of ['disable_ipv6', 'accept_dad', 'accept_ra'])
      sysctl(netnsPath(netns), `net/ipv6/conf/${scope}/${key}`, '0');
}

function connectNode(settings: ClusterSettings, node: NodeLayout, underlay: Netlink, bridge: number): void {
  using inside = Netlink.open(netnsPath(node.name));
  changeLink(inside, loopback, { up: true });
  if (findLink(inside, nodeInterface) === undefined) {
    const netns = openSync(netnsPath(node.name), 'r');
    try {
      createVeth(underlay, { name: node.role, master: bridge, up: true }, { name: nodeInterface, netns });
    } finally {
      closeSync(netns);
    }
  }
  const link = indexOf(inside, nodeInterface);
  changeLink(inside, link, { up: true });
  for (const [range, address] of byFamily(settings.underlay, node.addresses))
    replaceAddress(inside, { link, address, prefix: rangeOf(range).prefix });
  // A node has no way out. Its own connections to Services need a route all the same: the kernel looks for one before
  // the proxy's rules give the packet its real destination.
  for (const [to, source] of byFamily(settings.serviceCidrs, node.addresses))
    replaceRoute(inside, { to, link, source, protocol: protocol.static });
}

/** Each range with the address of its family. */
function byFamily(ranges: readonly Cidr[], addresses: readonly Ip[]): [Cidr, Ip][] {
  return ranges.flatMap((range) =>
    addresses.flatMap((address): [Cidr, Ip][] => (familyOf(address) === familyOf(range) ? [[range, address]] : [])),
  );
}

function indexOf(netlink: Netlink, name: string): number {
  const link = findLink(netlink, name);
  if (link === undefined) throw new Error(`the interface ${name} is gone`);
  return link.index;
}
