// Routes through rtnetlink (linux/rtnetlink.h): unicast routes with one next hop, and unreachable ones.
import { asCidr, type Cidr, type Family, familyOf, type Ip, rangeOf } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { attribute, flag, isGone, type Message, type Netlink, nested, parseAttributes, u32 } from './netlink.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
const RTM_GETROUTE = 26;
const RTA = { dst: 1, oif: 4, gateway: 5, priority: 6, prefsrc: 7, metrics: 8, table: 15 };
const RTAX_MTU = 2;
const RTN_UNICAST = 1;
const RTN_UNREACHABLE = 7;
const RTNH_F_ONLINK = 4;
const SCOPE = { universe: 0, link: 253 };

/** The main routing table. */
export const mainTable = 254;

/** The numbers of who made a route (`ip route` prints those of /etc/iproute2/rt_protos by name). */
export const protocol = { kernel: 2, boot: 3, static: 4 } as const;

export interface Route {
  /** The destination; 0.0.0.0/0 or ::/0 is the default route. */
  readonly to: Cidr;
  /** The next hop; absent where the destination is on the link itself. */
  readonly via?: Ip;
  /** The index of the interface; the kernel finds it from `via` where absent. */
  readonly link?: number;
  /** The source address that the node itself uses by default. */
  readonly source?: Ip;
  readonly table?: number;
  readonly protocol: number;
  readonly metric?: number;
  /** The largest packet that the node itself sends that way, in bytes; that of the interface where absent. */
  readonly mtu?: number;
  /** The next hop is reached over the link though no address of the link covers it. */
  readonly onLink?: boolean;
  /** There is no way: packets are refused (ICMP: host unreachable), and no shorter prefix is looked at. */
  readonly unreachable?: boolean;
}

function request(route: Route): { body: Buffer; attributes: Buffer[] } {
  const family = familyOf(route.to);
  const { prefix } = rangeOf(route.to);
  const table = route.table ?? mainTable;
  const body = Buffer.alloc(12);
  body.writeUInt8(addressFamily(family), 0);
  body.writeUInt8(prefix, 1);
  body.writeUInt8(table < 256 ? table : 0, 4);
  body.writeUInt8(route.protocol, 5);
  const isDirect = route.via === undefined && route.unreachable !== true;
  body.writeUInt8(isDirect && family === 'IPv4' ? SCOPE.link : SCOPE.universe, 6);
  body.writeUInt8(route.unreachable === true ? RTN_UNREACHABLE : RTN_UNICAST, 7);
  body.writeUInt32LE(route.onLink === true ? RTNH_F_ONLINK : 0, 8);
  const attributes = [
    ...(prefix === 0 ? [] : [attribute(RTA.dst, ipBytes(route.to.split('/')[0] as Ip))]),
    ...(route.via === undefined ? [] : [attribute(RTA.gateway, ipBytes(route.via))]),
    ...(route.link === undefined ? [] : [u32(RTA.oif, route.link)]),
    ...(route.source === undefined ? [] : [attribute(RTA.prefsrc, ipBytes(route.source))]),
    ...(route.metric === undefined ? [] : [u32(RTA.priority, route.metric)]),
    ...(route.mtu === undefined ? [] : [nested(RTA.metrics, [u32(RTAX_MTU, route.mtu)])]),
    u32(RTA.table, table),
  ];
  return { body, attributes };
}

function describeRoute(route: Route): string {
  return `${route.to}${route.via === undefined ? '' : ` via ${route.via}`}`;
}

/** Adds a route, in place of another one to the same destination with the same metric. */
export function replaceRoute(nl: Netlink, route: Route): void {
  const what = `setting the route ${describeRoute(route)}`;
  nl.request({ type: RTM_NEWROUTE, flags: flag.create | flag.replace, ...request(route), what });
}

/** Deletes a route; the next hop must match where one is given. False where there was no such route. */
export function deleteRoute(nl: Netlink, route: Route): boolean {
  try {
    nl.request({ type: RTM_DELROUTE, ...request(route), what: `deleting the route ${describeRoute(route)}` });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

export interface RouteSelection {
  readonly family?: Family;
  /** Only this table (default: the main one). */
  readonly table?: number;
  /** Only routes that this protocol number made. */
  readonly protocol?: number;
  /** Also those that say that there is no way. */
  readonly unreachable?: boolean;
}

/** The unicast routes of a table. */
export function listRoutes(nl: Netlink, selection: RouteSelection = {}): Route[] {
  const body = Buffer.alloc(12);
  body.writeUInt8(selection.family === undefined ? 0 : addressFamily(selection.family), 0);
  const answers = nl.dump({ type: RTM_GETROUTE, body, what: 'listing the routes' });
  return answers
    .flatMap((message) => parseRoute(message) ?? [])
    .filter(
      (route) =>
        route.table === (selection.table ?? mainTable) &&
        (route.unreachable !== true || selection.unreachable === true) &&
        (selection.protocol === undefined || route.protocol === selection.protocol),
    );
}

/** Deletes what a protocol number made in the main table, of every type (unreachable ones too). Returns how many. */
export function deleteRoutesOf(nl: Netlink, made: number): number {
  const body = Buffer.alloc(12);
  const identifying: readonly number[] = [RTA.dst, RTA.oif, RTA.gateway, RTA.priority, RTA.table];
  let count = 0;
  for (const message of nl.dump({ type: RTM_GETROUTE, body, what: 'listing the routes' })) {
    const header = Buffer.from(message.body.subarray(0, 12));
    const found = parseAttributes(message.body.subarray(12));
    const table = found.get(RTA.table)?.readUInt32LE() ?? header.readUInt8(4);
    if (table !== mainTable || header.readUInt8(5) !== made) continue;
    header.writeUInt32LE(0, 8);
    const attributes = identifying.flatMap((type) => {
      const value = found.get(type);
      return value === undefined ? [] : [attribute(type, value)];
    });
    try {
      nl.request({ type: RTM_DELROUTE, body: header, attributes, what: `deleting a route of protocol ${made}` });
      count++;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return count;
}

/** The route of an RTM_NEWROUTE or RTM_DELROUTE message; undefined where it is no unicast or unreachable one of an IP family. */
export function parseRoute(message: Message): Route | undefined {
  const { body } = message;
  const family = body.readUInt8(0) === 2 ? 'IPv4' : body.readUInt8(0) === 10 ? 'IPv6' : undefined;
  const type = body.readUInt8(7);
  if (family === undefined || (type !== RTN_UNICAST && type !== RTN_UNREACHABLE)) return undefined;
  const found = parseAttributes(body.subarray(12));
  const destination = found.get(RTA.dst);
  const zero = family === 'IPv4' ? '0.0.0.0' : '::';
  const [via, link, source] = [found.get(RTA.gateway), found.get(RTA.oif), found.get(RTA.prefsrc)];
  const metric = found.get(RTA.priority)?.readUInt32LE();
  const mtu = parseAttributes(found.get(RTA.metrics) ?? Buffer.alloc(0))
    .get(RTAX_MTU)
    ?.readUInt32LE();
  return {
    to: asCidr(`${destination === undefined ? zero : ipFromBytes(destination)}/${body.readUInt8(1)}`),
    table: found.get(RTA.table)?.readUInt32LE() ?? body.readUInt8(4),
    protocol: body.readUInt8(5),
    ...(via === undefined ? {} : { via: ipFromBytes(via) }),
    ...(link === undefined ? {} : { link: link.readUInt32LE() }),
    ...(source === undefined ? {} : { source: ipFromBytes(source) }),
    ...(metric === undefined ? {} : { metric }),
    ...(mtu === undefined ? {} : { mtu }),
    ...((body.readUInt32LE(8) & RTNH_F_ONLINK) === 0 ? {} : { onLink: true }),
    ...(type === RTN_UNREACHABLE && { unreachable: true }),
  };
}
