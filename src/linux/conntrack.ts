// Deletes entries of the connection tracking table of this process's network namespace, through ctnetlink.
// linux/netfilter/nfnetlink_conntrack.h has the numbers.
import { setImmediate as nextTurn } from 'node:timers/promises';
import { type Family, familyOf, type Ip } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { attribute, isGone, type Message, Netlink, nested, parseAttributes, u8, u32 } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import type { L4Protocol } from './nft.ts';

/** Which flows: those that were sent to this port (of this address, and answered from `replySource`, where given). */
export interface FlowFilter {
  readonly protocol: L4Protocol;
  readonly destination?: Ip;
  readonly port: number;
  readonly replySource?: Ip;
  /** Where neither address says it; IPv4 by default. */
  readonly family?: Family;
}

const subsystem = 1 << 8;
const getFlows = subsystem | 1;
const deleteFlow = subsystem | 2;
const CTA = { original: 1, reply: 2, id: 12, filter: 25 };
const TUPLE = { ip: 1, protocol: 2 };
const IP = { IPv4: { source: 1, destination: 2 }, IPv6: { source: 3, destination: 4 } };
const PROTOCOL = { number: 1, destinationPort: 3 };
/** Which parts of the tuple the kernel shall compare when it lists (since 5.8; older ones list all). */
const COMPARE = { destination: 2, protocol: 8, destinationPort: 32 };
const originalFlags = 1;
const protocolNumbers: Readonly<Record<L4Protocol, number>> = { tcp: 6, udp: 17, sctp: 132 };
/** After so many deletions others get a turn. */
const deletionsInARow = 256;

/** An entry of the table, as far as filters look at it. */
export interface Flow {
  readonly protocol: number;
  readonly destination: Ip;
  readonly port: number;
  readonly replySource: Ip;
  /** What names it to the kernel: its original tuple and its number. */
  readonly identity: readonly Buffer[];
}

/**
 * Deletes the flows that any of the filters names; that there are none is no error. The table is read once for each
 * family and protocol, whatever the number of filters, and others get their turns meanwhile. Returns how many went.
 */
export async function deleteFlows(filters: readonly FlowFilter[]): Promise<number> {
  const groups = Map.groupBy(filters, (filter) => `${familyOfFilter(filter)} ${filter.protocol}`);
  let count = 0;
  for (const group of groups.values()) count += await deleteGroup(group);
  return count;
}

/** One family, one protocol. */
async function deleteGroup(filters: readonly FlowFilter[]): Promise<number> {
  const [first] = filters;
  if (first === undefined) return 0;
  const family = familyOfFilter(first);
  const isWanted = matcher(filters);
  using nl = Netlink.open(undefined, netfilterProtocol);
  const body = header(family);
  const list = { type: getFlows, body, attributes: kernelFilter(filters), what: 'listing the tracked connections' };
  const found: Flow[] = [];
  for await (const part of nl.dumpInParts(list)) {
    found.push(...part.flatMap((message) => parseFlow(message, family) ?? []).filter(isWanted));
    await nextTurn();
  }
  let count = 0;
  for (const { identity } of found) {
    if (deleteOne(nl, body, identity)) count++;
    if (count % deletionsInARow === 0) await nextTurn();
  }
  return count;
}

function deleteOne(nl: Netlink, body: Buffer, identity: readonly Buffer[]): boolean {
  try {
    nl.request({ type: deleteFlow, body, attributes: identity, what: 'deleting a tracked connection' });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

const familyOfFilter = ({ destination, replySource, family = 'IPv4' }: FlowFilter): Family => {
  const address = destination ?? replySource;
  return address === undefined ? family : familyOf(address);
};

/** struct nfgenmsg. */
const header = (family: Family): Buffer => Buffer.from([addressFamily(family), 0, 0, 0]);

/**
 * What the kernel itself can leave out: other protocols, and other ports and destinations where all filters have one.
 * (Asked for one destination of IPv6, Linux 6.18 lists all others in its place.)
 */
export function kernelFilter(filters: readonly FlowFilter[]): Buffer[] {
  const [first] = filters;
  if (first === undefined) return [];
  const { protocol, destination, port } = first;
  const onePort = filters.every((filter) => filter.port === port);
  const oneDestination =
    destination !== undefined &&
    familyOf(destination) === 'IPv4' &&
    filters.every((filter) => filter.destination === destination);
  const bigEndianPort = Buffer.alloc(2);
  bigEndianPort.writeUInt16BE(port);
  const compared =
    COMPARE.protocol + (onePort ? COMPARE.destinationPort : 0) + (oneDestination ? COMPARE.destination : 0);
  const ip = oneDestination ? [attribute(IP.IPv4.destination, ipBytes(destination))] : [];
  return [
    nested(CTA.original, [
      ...(ip.length > 0 ? [nested(TUPLE.ip, ip)] : []),
      nested(TUPLE.protocol, [
        u8(PROTOCOL.number, protocolNumbers[protocol]),
        ...(onePort ? [attribute(PROTOCOL.destinationPort, bigEndianPort)] : []),
      ]),
    ]),
    nested(CTA.filter, [u32(originalFlags, compared)]),
  ];
}

/** Whether any of the filters names a flow. */
export function matcher(filters: readonly FlowFilter[]): (flow: Flow) => boolean {
  const sources = new Map<string, Set<Ip | undefined>>();
  const key = (protocol: number, port: number, destination?: Ip): string => `${protocol} ${port} ${destination ?? ''}`;
  for (const { protocol, port, destination, replySource } of filters) {
    const name = key(protocolNumbers[protocol], port, destination);
    sources.set(name, (sources.get(name) ?? new Set()).add(replySource));
  }
  return ({ protocol, port, destination, replySource }) =>
    [destination, undefined].some((at) => {
      const named = sources.get(key(protocol, port, at));
      return named?.has(undefined) || named?.has(replySource);
    });
}

/** An entry of a listing; undefined where it has no ports or no answering address. */
function parseFlow({ body }: Message, family: Family): Flow | undefined {
  const found = parseAttributes(body.subarray(4));
  const [originalBytes, reply, id] = [found.get(CTA.original), found.get(CTA.reply), found.get(CTA.id)];
  if (originalBytes === undefined || reply === undefined || id === undefined) return undefined;
  const original = parseAttributes(originalBytes);
  const ip = parseAttributes(original.get(TUPLE.ip) ?? Buffer.alloc(0));
  const transport = parseAttributes(original.get(TUPLE.protocol) ?? Buffer.alloc(0));
  const replyIp = parseAttributes(parseAttributes(reply).get(TUPLE.ip) ?? Buffer.alloc(0));
  const [destination, source] = [ip.get(IP[family].destination), replyIp.get(IP[family].source)];
  const [protocol, port] = [transport.get(PROTOCOL.number), transport.get(PROTOCOL.destinationPort)];
  if (destination === undefined || source === undefined || protocol === undefined || port === undefined)
    return undefined;
  return {
    protocol: protocol.readUInt8(),
    destination: ipFromBytes(destination),
    port: port.readUInt16BE(),
    replySource: ipFromBytes(source),
    // Copied: many entries share the memory of one answer.
    identity: [nested(CTA.original, [Buffer.from(originalBytes)]), attribute(CTA.id, Buffer.from(id))],
  };
}
