// ARP (RFC 826) and neighbour discovery (RFC 4861) as Ethernet frames: the questions, the answers, the announcements. Pure.
import { type Family, familyOf, formatIp, type Ip, ipToBigInt, type Mac } from '../net/address.ts';

/** Somebody asks for the hardware address of an address. */
export interface Question {
  readonly target: Ip;
  readonly asker: { readonly mac: Mac; readonly address: Ip };
}

const ethernet = 14;
const broadcast = 'ff:ff:ff:ff:ff:ff' as Mac;
const allNodes = formatIp((0xff02n << 112n) | 1n, 'IPv6');
const allNodesMac = '33:33:00:00:00:01' as Mac;
const ICMPV6 = 58;
const SOLICITATION = 135;
const ADVERTISEMENT = 136;
const flags = { solicited: 0x40, override: 0x20 };

const macBytes = (mac: Mac): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');
const macOf = (bytes: Buffer): Mac => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':') as Mac;

function ipBytes(address: Ip): Buffer {
  const length = familyOf(address) === 'IPv4' ? 8 : 32;
  return Buffer.from(ipToBigInt(address).toString(16).padStart(length, '0'), 'hex');
}

function ipOf(bytes: Buffer, family: Family): Ip {
  return formatIp(BigInt(`0x${bytes.toString('hex')}`), family);
}

function header(to: Mac, from: Mac, type: number): Buffer {
  return Buffer.concat([macBytes(to), macBytes(from), Buffer.from([type >> 8, type & 255])]);
}

/** The ARP request in a frame; undefined where it holds something else. */
export function readArpRequest(frame: Buffer): Question | undefined {
  const packet = frame.subarray(ethernet);
  if (packet.length < 28) return undefined;
  // Ethernet, IPv4, their lengths, request.
  if (packet.readUInt32BE(0) !== 0x0001_0800 || packet.readUInt32BE(4) !== 0x0604_0001) return undefined;
  return {
    target: ipOf(packet.subarray(24, 28), 'IPv4'),
    asker: { mac: macOf(packet.subarray(8, 14)), address: ipOf(packet.subarray(14, 18), 'IPv4') },
  };
}

function arp(operation: 1 | 2, mac: Mac, address: Ip, to: { readonly mac: Mac; readonly address: Ip }): Buffer {
  const isForAll = operation === 1 || to.mac === broadcast;
  return Buffer.concat([
    header(isForAll ? broadcast : to.mac, mac, 0x0806),
    Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]),
    macBytes(mac),
    ipBytes(address),
    macBytes(to.mac),
    ipBytes(to.address),
  ]);
}

/**
 * The neighbour solicitation in a frame; undefined where it holds something else, or what RFC 4861 section 7.1.1 has a
 * node leave aside: a hop limit other than 255 (it came through a router), duplicate address detection.
 */
export function readSolicitation(frame: Buffer): Question | undefined {
  const packet = frame.subarray(ethernet);
  if (packet.length < 64 || packet.readUInt8(6) !== ICMPV6 || packet.readUInt8(7) !== 255) return undefined;
  const message = packet.subarray(40);
  if (message.readUInt8(0) !== SOLICITATION || message.readUInt8(1) !== 0) return undefined;
  const address = ipOf(packet.subarray(8, 24), 'IPv6');
  if (address === '::') return undefined;
  return { target: ipOf(message.subarray(8, 24), 'IPv6'), asker: { mac: macOf(frame.subarray(6, 12)), address } };
}

function advertisement(mac: Mac, address: Ip, to: { readonly mac: Mac; readonly address: Ip }, bits: number): Buffer {
  const message = Buffer.concat([
    Buffer.from([ADVERTISEMENT, 0, 0, 0, bits, 0, 0, 0]),
    ipBytes(address),
    // Target link-layer address.
    Buffer.from([2, 1]),
    macBytes(mac),
  ]);
  const [source, target] = [ipBytes(address), ipBytes(to.address)];
  message.writeUInt16BE(checksum(source, target, message), 2);
  const packet = Buffer.alloc(8);
  packet.writeUInt8(0x60, 0);
  packet.writeUInt16BE(message.length, 4);
  packet.writeUInt8(ICMPV6, 6);
  packet.writeUInt8(255, 7);
  return Buffer.concat([header(to.mac, mac, 0x86dd), packet, source, target, message]);
}

/** RFC 4443 section 2.3. */
function checksum(source: Buffer, target: Buffer, message: Buffer): number {
  const pseudo = Buffer.alloc(8);
  pseudo.writeUInt32BE(message.length, 0);
  pseudo.writeUInt8(ICMPV6, 7);
  const bytes = Buffer.concat([source, target, pseudo, message]);
  let sum = 0;
  for (let at = 0; at + 1 < bytes.length; at += 2) sum += bytes.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** The answer: the address is at this hardware address. */
export function answerTo({ target, asker }: Question, mac: Mac): Buffer {
  return familyOf(target) === 'IPv4'
    ? arp(2, mac, target, asker)
    : advertisement(mac, target, asker, flags.solicited | flags.override);
}

/**
 * What tells everybody on the link, unasked, that the address is at this hardware address: a gratuitous ARP request and
 * reply (equipment listens to the one or the other), or an unsolicited neighbour advertisement.
 */
export function announcementsOf(address: Ip, mac: Mac): Buffer[] {
  if (familyOf(address) === 'IPv6')
    return [advertisement(mac, address, { mac: allNodesMac, address: allNodes }, flags.override)];
  return [arp(1, mac, address, { mac: broadcast, address }), arp(2, mac, address, { mac: broadcast, address })];
}

/** The group to which solicitations for an address are sent (RFC 4291 section 2.7.1). */
export function solicitedNodeGroup(address: Ip): Ip {
  const prefix = (0xff02n << 112n) | (1n << 32n) | (0xffn << 24n);
  return formatIp(prefix | (ipToBigInt(address) & 0xffffffn), 'IPv6');
}
