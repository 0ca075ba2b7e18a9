// Which of the kernel's announcements mean that the fabric must look at the kernel anew: someone else changed it. Pure.
import { parseAddress, RTM_DELADDR, RTM_NEWADDR } from '../linux/addresses.ts';
import { parseForwarding } from '../linux/forwarding.ts';
import { parseLink, RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { parseNeighbour, parseNeighbourKey, RTM_DELNEIGH, RTM_NEWNEIGH } from '../linux/neighbours.ts';
import { flag, type Message } from '../linux/netlink.ts';
import type { MonitorEvent } from '../linux/netlink-monitor.ts';
import { mainTable, parseRoute, RTM_DELROUTE, RTM_NEWROUTE } from '../linux/routes.ts';
import { parseRule, RTM_DELRULE } from '../linux/rules.ts';
import type { WireguardDevice } from '../linux/wireguard.ts';
import type { Cidr } from '../net/address.ts';
import { fabricProtocol } from './protocol.ts';
import { type KernelState, keyOf } from './state.ts';

/** What the fabric remembers: its own things, and the interfaces that its plan depends on. */
export interface Memory {
  readonly state: KernelState;
  /** The indices of the fabric's devices by their names. */
  readonly devices: ReadonlyMap<string, number>;
  /** The indices of the links to the underlay. */
  readonly underlay: ReadonlySet<number>;
}

/**
 * Whether an event contradicts what is remembered. Own changes do not: they are remembered before their event comes.
 * Pods that come and go do not either (their links have no address on the node's side).
 */
export function isSurprise(event: MonitorEvent, memory: Memory): boolean {
  return event.type === 'overrun' || event.messages.some((message) => contradicts(message, memory));
}

function contradicts(message: Message, memory: Memory): boolean {
  switch (message.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK: {
      // The kernel drops the routes of a link that goes down without a word. Announcements of bridges are about ports.
      const index = message.body.readInt32LE(4);
      if (message.body.readUInt8(0) !== 0) return false;
      const name = nameOf(memory, index);
      return name === undefined ? memory.underlay.has(index) : contradictsDevice(message, name, memory);
    }
    case RTM_NEWADDR:
    case RTM_DELADDR: {
      const entry = parseAddress(message);
      if (entry === undefined || entry.address.startsWith('fe80:')) return false;
      const link = nameOf(memory, entry.link);
      if (link === undefined) return true;
      const isKnown = memory.state.addresses.has(keyOf.address({ ...entry, link }));
      return isKnown !== (message.type === RTM_NEWADDR);
    }
    case RTM_DELROUTE:
    case RTM_NEWROUTE:
      return contradictsRoute(message, memory);
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
      return memory.devices.size > 0 && contradictsNeighbour(message, memory);
    case RTM_DELRULE:
      return contradictsRule(message, memory);
    default:
      return false;
  }
}

/** The name of the fabric's device of that index. */
function nameOf({ devices }: Memory, index: number): string | undefined {
  for (const [name, own] of devices) if (own === index) return name;
  return undefined;
}

/** The device is gone, or is no longer as it was made. */
function contradictsDevice(message: Message, name: string, { state }: Memory): boolean {
  const known = state.links.get(name);
  const link = parseLink(message);
  if (message.type === RTM_DELLINK || known === undefined) return true;
  if (link.name !== known.name || link.up !== known.up || link.mtu !== known.mtu) return true;
  return known.kind === 'vxlan' && link.mac !== known.mac;
}

/** One of ours was deleted, or someone replaced it by one of theirs. */
function contradictsRoute(message: Message, { state }: Memory): boolean {
  const route = parseRoute(message);
  if (route === undefined) return false;
  const known = state.routes.get(
    keyOf.route({ to: route.to, metric: route.metric ?? 0, table: route.table ?? mainTable }),
  );
  if (known === undefined) return false;
  if (message.type === RTM_NEWROUTE) return route.protocol !== fabricProtocol && (message.flags & flag.replace) !== 0;
  return route.protocol === fabricProtocol && route.via === known.via;
}

/** One of ours was deleted. */
function contradictsRule(message: Message, { state }: Memory): boolean {
  const rule = parseRule(message);
  return rule !== undefined && rule.protocol === fabricProtocol && state.rules.has(keyOf.rule(rule));
}

function contradictsNeighbour(message: Message, memory: Memory): boolean {
  const { state } = memory;
  const isNew = message.type === RTM_NEWNEIGH;
  const forwarding = parseForwarding(message);
  if (forwarding !== undefined) {
    const link = nameOf(memory, forwarding.link);
    if (link === undefined) return false;
    const known = state.forwarding.get(keyOf.forwarding({ link, mac: forwarding.mac }));
    return isNew ? known?.remote !== forwarding.remote : known?.remote === forwarding.remote;
  }
  const key = parseNeighbourKey(message);
  const link = key === undefined ? undefined : nameOf(memory, key.link);
  if (key === undefined || link === undefined) return false;
  const known = state.neighbours.get(keyOf.neighbour({ link, address: key.address }));
  if (known === undefined) return false;
  const neighbour = isNew ? parseNeighbour(message) : undefined;
  return neighbour?.permanent !== true || neighbour.mac !== known.mac;
}

/**
 * Whether someone else changed the key, the port or the peers of a WireGuard device, of which the kernel announces
 * nothing. Endpoints do not count: the kernel follows a peer that speaks from elsewhere.
 */
export function isWireguardSurprise(
  name: string,
  { publicKey, port, peers }: WireguardDevice,
  { links, wireguardPeers }: Pick<KernelState, 'links' | 'wireguardPeers'>,
): boolean {
  const link = links.get(name);
  if (link?.kind !== 'wireguard') return false;
  if (link.publicKey !== publicKey || link.port !== port) return true;
  const known = [...wireguardPeers.values()].filter((peer) => peer.link === name);
  return (
    known.length !== peers.length ||
    peers.some((peer) => {
      const remembered = wireguardPeers.get(keyOf.wireguardPeer({ link: name, publicKey: peer.publicKey }));
      return remembered === undefined || !hasSameRanges(remembered.allowed, peer.allowed);
    })
  );
}

function hasSameRanges(one: readonly Cidr[], other: readonly Cidr[]): boolean {
  const ranges = new Set(one);
  return ranges.size === other.length && other.every((range) => ranges.has(range));
}
