// Which of the kernel's announcements mean that the node's bridge may no longer be as planned. Pure.
import { parseAddress, RTM_DELADDR, RTM_NEWADDR } from '../linux/addresses.ts';
import { parseLink, RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { type Message, parseAttributes } from '../linux/netlink.ts';
import { type MonitorEvent, routeGroup } from '../linux/netlink-monitor.ts';
import { isHostLinkName, type NodePlan } from './plan.ts';

// linux/rtnetlink.h, linux/netconf.h: a setting such as ip_forward was changed; the index -1 stands for all interfaces.
const RTM_NEWNETCONF = 80;
const NETCONFA = { ifindex: 1, forwarding: 2 };
const allInterfaces = -1;

/** The groups in which the kernel announces what this file judges. */
export const bridgeGroups = [
  routeGroup.link,
  routeGroup.ipv4Address,
  routeGroup.ipv6Address,
  routeGroup.ipv4Settings,
  routeGroup.ipv6Settings,
];

/**
 * Whether the bridge, its address, a pod's port or the forwarding of packets is no longer as planned, or the largest
 * packet on the way to other nodes may have changed (a tunnel's device came or went).
 */
export function concernsBridge(
  event: MonitorEvent,
  bridge: { readonly index: number; readonly plan: NodePlan['bridge'] },
): boolean {
  return event.type === 'overrun' || event.messages.some((message) => contradicts(message, bridge));
}

function contradicts(message: Message, { index, plan }: Parameters<typeof concernsBridge>[1]): boolean {
  const { type, body } = message;
  if (type === RTM_DELADDR && body.readUInt32LE(4) === index) return true;
  if (type === RTM_NEWADDR || type === RTM_DELADDR) return isOfTheWay(message, index);
  if (type === RTM_NEWNETCONF) return isForwardingOff(body);
  // Announcements of a bridge's own family repeat what those of its ports say.
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body.readUInt8(0) !== 0) return false;
  if (type === RTM_DELLINK) return body.readInt32LE(4) === index;
  const link = parseLink(message);
  if (link.index === index) return !link.up || link.mtu !== plan.mtu || link.mac !== plan.mac;
  if (isHostLinkName(link.name)) return !link.up || link.master !== index;
  return link.up && link.master === undefined && link.name !== 'lo' && link.mtu < plan.mtu;
}

/** An address of a link other than the bridge: links with addresses lead to other nodes. */
function isOfTheWay(message: Message, bridge: number): boolean {
  const entry = parseAddress(message);
  return entry !== undefined && entry.link !== bridge && !entry.address.startsWith('fe80:');
}

function isForwardingOff(body: Buffer): boolean {
  const settings = parseAttributes(body.subarray(4));
  return (
    settings.get(NETCONFA.ifindex)?.readInt32LE() === allInterfaces &&
    settings.get(NETCONFA.forwarding)?.readInt32LE() === 0
  );
}
