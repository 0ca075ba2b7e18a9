// The LAN between the nodes: an underlay namespace with a bridge, and each node's own namespace with a cable to it.
import { closeSync, openSync } from 'node:fs';
import { replaceAddress } from '../linux/addresses.ts';
import { changeLink, createBridge, createVeth, findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, isNetns, netnsPath } from '../linux/netns.ts';
import { protocol, replaceRoute } from '../linux/routes.ts';
import { rangeOf } from '../net/address.ts';
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
  replaceAddress(inside, { link, address: node.address, prefix: rangeOf(settings.underlay).prefix });
  changeLink(inside, link, { up: true });
  // A node has no way out. Its own connections to Services need a route all the same: the kernel looks for one before
  // the proxy's rules give the packet its real destination.
  for (const to of settings.serviceCidrs)
    replaceRoute(inside, { to, link, source: node.address, protocol: protocol.static });
}

function indexOf(netlink: Netlink, name: string): number {
  const link = findLink(netlink, name);
  if (link === undefined) throw new Error(`the interface ${name} is gone`);
  return link.index;
}
