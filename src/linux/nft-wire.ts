// Keys and values of nftables elements as the kernel holds them: bytes from the text of an element, by the definition of
// its set. Pure. (linux/netfilter/nf_tables.h; the parts of a concatenation are padded to four bytes each.)
import { type Cidr, rangeOf } from '../net/address.ts';
import { ipFromBytes } from './addresses.ts';
import { type ElementText, type Expr, elementKey, type KeyPart, type L4Protocol, type SetDefinition } from './nft.ts';

/** What a part of a key or value is; numbers that no header carries are in the byte order of the machine. */
type Part = 'ipv4' | 'ipv6' | 'port' | 'protocol' | 'number' | 'class' | 'interface';

const bytesOf: Readonly<Record<Part, number>> = {
  ipv4: 4,
  ipv6: 16,
  port: 2,
  protocol: 1,
  number: 4,
  class: 4,
  interface: 16,
};
const protocolNumbers: Readonly<Record<string, number>> = { tcp: 6, udp: 17, sctp: 132 } satisfies Record<
  L4Protocol,
  number
>;
const protocolNames: ReadonlyMap<number, L4Protocol> = new Map([
  [6, 'tcp'],
  [17, 'udp'],
  [132, 'sctp'],
]);
const between = ' . ';

function partOf(expr: Expr): Part | undefined {
  switch (expr.kind) {
    case 'payload':
      if (expr.header === 'ip' || expr.header === 'arp') return 'ipv4';
      return expr.header === 'ip6' ? 'ipv6' : 'port';
    case 'meta':
      return (
        { l4proto: 'protocol', mark: 'number', priority: 'class', iifname: 'interface', oifname: 'interface' } as const
      )[expr.key];
    case 'random':
    case 'hash':
      return 'number';
    default:
      return undefined;
  }
}

/** How the elements of a set are laid out. */
export interface WireSet {
  readonly name: string;
  readonly key: readonly Part[];
  readonly value: readonly Part[] | 'verdict' | undefined;
  /** Elements have a second key, at which they end. */
  readonly hasEnd: boolean;
}

/**
 * The layout of a set's elements; undefined where nft(8) alone knows it: parts of other types, and ranges of a single
 * part, which it turns into pairs of elements.
 */
export function wireSet({ name, key, value, interval = false }: SetDefinition): WireSet | undefined {
  const keyParts = partsOf(key);
  const valueParts = value === undefined || value === 'verdict' ? value : partsOf(value);
  if (keyParts === undefined || (value !== undefined && valueParts === undefined)) return undefined;
  if (interval && keyParts.length === 1) return undefined;
  return { name, key: keyParts, value: valueParts, hasEnd: interval };
}

function partsOf(exprs: readonly Expr[]): readonly Part[] | undefined {
  const parts = exprs.map(partOf).filter((part) => part !== undefined);
  return parts.length === exprs.length && parts.length > 0 ? parts : undefined;
}

const padded = (length: number): number => (length + 3) & ~3;

/** The length of these parts in bytes: padded where there are several. */
export function lengthOf(parts: readonly Part[]): number {
  const [first] = parts;
  if (parts.length === 1 && first !== undefined) return bytesOf[first];
  return parts.reduce((sum, part) => sum + padded(bytesOf[part]), 0);
}

/** The text of an element that does not fit the definition of its set. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

const misfit = (text: string, part: Part): WireError => new WireError(`'${text}' is no ${part} of an nftables element`);

/**
 * Writes the parts of a text (as many as it has) into the bytes, which must be zero, from `at` on. Of a range its first
 * address, or its last one where `last` says so. Returns where the next part would be.
 */
export function writeParts(bytes: Buffer, at: number, parts: readonly Part[], text: string, last = false): number {
  let position = at;
  let from = 0;
  for (const part of parts) {
    const end = text.indexOf(between, from);
    const to = end < 0 ? text.length : end;
    writePart(bytes, position, part, text, from, to, last);
    position += padded(bytesOf[part]);
    from = to + between.length;
    if (end < 0) break;
  }
  if (from <= text.length) throw new WireError(`'${text}' has more parts than the set`);
  return position;
}

function writePart(bytes: Buffer, at: number, part: Part, text: string, from: number, to: number, last: boolean): void {
  switch (part) {
    case 'ipv4':
      if (text.charCodeAt(to - 3) !== slash && text.charCodeAt(to - 2) !== slash) writeIpv4(bytes, at, text, from, to);
      else writeRange(bytes, at, part, text.slice(from, to), last);
      return;
    case 'ipv6': {
      const address = text.slice(from, to);
      if (address.includes('/')) writeRange(bytes, at, part, address, last);
      else writeIpv6(bytes, at, address);
      return;
    }
    case 'port': {
      const port = wholeNumber(text, from, to, part, 0xffff);
      bytes[at] = port >>> 8;
      bytes[at + 1] = port & 0xff;
      return;
    }
    case 'protocol': {
      const number = protocolNumbers[text.slice(from, to)];
      if (number === undefined) throw misfit(text, part);
      bytes[at] = number;
      return;
    }
    case 'number':
      bytes.writeUInt32LE(wholeNumber(text, from, to, part, 0xffff_ffff), at);
      return;
    case 'class': {
      const [, major = '', minor = ''] = /^([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(text.slice(from, to)) ?? [];
      if (major === '') throw misfit(text, part);
      bytes.writeUInt32LE(Number.parseInt(major, 16) * 0x1_0000 + Number.parseInt(minor, 16), at);
      return;
    }
    case 'interface': {
      // Between quotes; shorter than the sixteen bytes, so that a zero ends it.
      const name = text.slice(from + 1, to - 1);
      if (name.length === 0 || name.length > 15) throw misfit(text, part);
      bytes.write(name, at, 'latin1');
    }
  }
}

const slash = 0x2f;
const dot = 0x2e;
const zero = 0x30;

function wholeNumber(text: string, from: number, to: number, part: Part, largest: number): number {
  let value = 0;
  for (let index = from; index < to; index++) {
    const digit = text.charCodeAt(index) - zero;
    if (digit < 0 || digit > 9) throw misfit(text, part);
    value = value * 10 + digit;
  }
  if (from >= to || value > largest) throw misfit(text, part);
  return value;
}

function writeIpv4(bytes: Buffer, at: number, text: string, from: number, to: number): void {
  let value = 0;
  let octets = 0;
  for (let index = from; index <= to; index++) {
    const code = index === to ? dot : text.charCodeAt(index);
    if (code === dot) {
      if (value > 255 || octets > 3) throw misfit(text, 'ipv4');
      bytes[at + octets++] = value;
      value = 0;
    } else {
      const digit = code - zero;
      if (digit < 0 || digit > 9) throw misfit(text, 'ipv4');
      value = value * 10 + digit;
    }
  }
  if (octets !== 4) throw misfit(text, 'ipv4');
}

/** In the canonical form: groups in hexadecimal, with one `::` at most. */
function writeIpv6(bytes: Buffer, at: number, text: string): void {
  const gap = text.indexOf('::');
  const head = gap < 0 ? text : text.slice(0, gap);
  const tail = gap < 0 ? '' : text.slice(gap + 2);
  const left = head === '' ? [] : head.split(':');
  const right = tail === '' ? [] : tail.split(':');
  if (gap < 0 ? left.length !== 8 : left.length + right.length > 7) throw misfit(text, 'ipv6');
  for (const [index, group] of left.entries()) writeGroup(bytes, at + 2 * index, group);
  for (const [index, group] of right.entries()) writeGroup(bytes, at + 16 - 2 * (right.length - index), group);
}

function writeGroup(bytes: Buffer, at: number, group: string): void {
  if (!/^[0-9a-f]{1,4}$/.test(group)) throw misfit(group, 'ipv6');
  bytes.writeUInt16BE(Number.parseInt(group, 16), at);
}

function writeRange(bytes: Buffer, at: number, part: 'ipv4' | 'ipv6', text: string, last: boolean): void {
  const { first, size } = rangeOf(text as Cidr);
  const value = last ? first + size - 1n : first;
  const hex = value.toString(16).padStart(2 * bytesOf[part], '0');
  if (bytes.write(hex, at, 'hex') !== bytesOf[part]) throw misfit(text, part);
}

/** The text of parts that the kernel gave; undefined where they are no such ones. */
export function readParts(bytes: Buffer, parts: readonly Part[]): ElementText | undefined {
  if (bytes.length < lengthOf(parts)) return undefined;
  let at = 0;
  const found = parts.map((part) => {
    const value = readPart(bytes.subarray(at, at + bytesOf[part]), part);
    at += padded(bytesOf[part]);
    return value;
  });
  const known = found.filter((part) => part !== undefined);
  return known.length === found.length ? elementKey(...known) : undefined;
}

function readPart(bytes: Buffer, part: Part): KeyPart | undefined {
  switch (part) {
    case 'ipv4':
    case 'ipv6':
      return ipFromBytes(bytes);
    case 'port':
      return bytes.readUInt16BE();
    case 'protocol':
      return protocolNames.get(bytes.readUInt8());
    case 'number':
      return bytes.readUInt32LE();
    case 'class':
      return { class: bytes.readUInt32LE() };
    case 'interface':
      return { interface: bytes.toString('latin1').replace(/\0.*$/s, '') };
  }
}
