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

/** The bridge as it is to be. */
interface Bridge {
  readonly index: number;
  readonly plan: NodePlan['bridge'];
}

/** Ports of pods that were last seen down or off the bridge, by index: on their way in or out, or taken off by someone. */
export type LoosePorts = Set<number>;

/**
 * Whether the bridge, its address or the forwarding of packets is no longer as planned, or the largest packet on the
 * way to other nodes may have changed (a tunnel's device came or went). What it says of pods' ports is noted in `loose`:
 * a port is announced several times while it is made, and again while it goes.
 */
export function concernsBridge(event: MonitorEvent, bridge: Bridge, loose: LoosePorts): boolean {
  if (event.type === 'overrun') return true;
  // Each of them is looked at: what was said first may have been taken back.
  return event.messages.filter((message) => contradicts(message, bridge, loose)).length > 0;
}

function contradicts(message: Message, { index, plan }: Bridge, loose: LoosePorts): boolean {
  const { type, body } = message;
  if (type === RTM_DELADDR && body.readUInt32LE(4) === index) return true;
  if (type === RTM_NEWADDR || type === RTM_DELADDR) return isOfTheWay(message, index);
  if (type === RTM_NEWNETCONF) return isForwardingOff(body);
  // Announcements of a bridge's own family repeat what those of its ports say.
  if ((type !== RTM_NEWLINK && type !== RTM_DELLINK) || body.readUInt8(0) !== 0) return false;
  if (type === RTM_DELLINK) {
    loose.delete(body.readInt32LE(4));
    return body.readInt32LE(4) === index;
  }
  const link = parseLink(message);
  if (link.index === index) return !link.up || link.mtu !== plan.mtu || link.mac !== plan.mac;
  if (isHostLinkName(link.name)) {
    if (link.up && link.master === index) loose.delete(link.index);
    else loose.add(link.index);
    return false;
  }
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
