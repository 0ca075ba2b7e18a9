// IP addresses and ranges as typed values: parsing, printing, arithmetic. Pure; no I/O.
import { isIPv4, isIPv6 } from 'node:net';

export type Family = 'IPv4' | 'IPv6';

declare const ip: unique symbol;
declare const cidr: unique symbol;
declare const mac: unique symbol;
declare const port: unique symbol;

/** An IP address in its canonical text form (RFC 5952 for IPv6). */
export type Ip = string & { readonly [ip]: true };
/** A range in canonical form: the network's first address, a slash and the prefix length. */
export type Cidr = string & { readonly [cidr]: true };
/** A hardware address, lower case, colon-separated. */
export type Mac = string & { readonly [mac]: true };
/** A transport port, 1 to 65535. */
export type Port = number & { readonly [port]: true };

const bitsOf = (family: Family): number => (family === 'IPv4' ? 32 : 128);

/** The canonical address, or undefined where the text is not one. Leading zeros in IPv4 are refused, as in Kubernetes. */
export function parseIp(text: string): Ip | undefined {
  if (isIPv4(text)) return text as Ip;
  if (!isIPv6(text) || text.includes('%')) return undefined;
  return formatIp(readIpv6(text), 'IPv6');
}

/** As {@link parseIp}; throws a RangeError that names the text. */
export function asIp(text: string): Ip {
  const parsed = parseIp(text);
  if (parsed === undefined) throw new RangeError(`'${text}' is not an IP address`);
  return parsed;
}

export function familyOf(address: Ip | Cidr): Family {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/** The address as the host of a URL: in brackets where it is IPv6 (RFC 3986 section 3.2.2). */
export function urlHost(address: Ip): string {
  return familyOf(address) === 'IPv6' ? `[${address}]` : address;
}

/** The address as a number: 32 bits for IPv4, 128 for IPv6. */
export function ipToBigInt(address: Ip): bigint {
  if (address.includes(':')) return readIpv6(address);
  return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
}

function readIpv6(text: string): bigint {
  const mapped = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = mapped
    ? `${mapped[1]}${((Number(mapped[2]) << 8) | Number(mapped[3])).toString(16)}:${((Number(mapped[4]) << 8) | Number(mapped[5])).toString(16)}`
    : text;
  const [head = '', tail] = plain.split('::');
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const all = [...left, ...Array<string>(8 - left.length - right.length).fill('0'), ...right];
  return all.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

/** The canonical text of a number (RFC 5952 section 4 for IPv6). */
export function formatIp(value: bigint, family: Family): Ip {
  if (value < 0n || value >= 1n << BigInt(bitsOf(family))) throw new RangeError(`${value} is outside of ${family}`);
  if (family === 'IPv4') return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.') as Ip;
  const groups = Array.from({ length: 8 }, (_, index) => Number((value >> BigInt(112 - 16 * index)) & 0xffffn));
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > best.length) best = { start, length };
  }
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':') as Ip;
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}` as Ip;
}

/** A range taken apart: its first address as a number, its prefix length, its family. */
export interface Range {
  readonly family: Family;
  readonly first: bigint;
  readonly prefix: number;
  /** How many addresses it holds. */
  readonly size: bigint;
}

/** The range of a CIDR in canonical form. */
export function rangeOf(range: Cidr): Range {
  const [address = '', length = ''] = range.split('/');
  const family = familyOf(range);
  return {
    family,
    first: ipToBigInt(address as Ip),
    prefix: Number(length),
    size: 1n << BigInt(bitsOf(family) - Number(length)),
  };
}

/** The canonical range (host bits cleared), or undefined where the text is not a CIDR. */
export function parseCidr(text: string): Cidr | undefined {
  const match = /^([^/]+)\/(\d{1,3})$/.exec(text);
  const address = match?.[1] === undefined ? undefined : parseIp(match[1]);
  if (address === undefined || ((match?.[2]?.length ?? 0) > 1 && match?.[2]?.startsWith('0'))) return undefined;
  const family = familyOf(address);
  const prefix = Number(match?.[2]);
  if (prefix > bitsOf(family)) return undefined;
  const host = BigInt(bitsOf(family) - prefix);
  return `${formatIp((ipToBigInt(address) >> host) << host, family)}/${prefix}` as Cidr;
}

/** As {@link parseCidr}; throws a RangeError that names the text. */
export function asCidr(text: string): Cidr {
  const parsed = parseCidr(text);
  if (parsed === undefined) throw new RangeError(`'${text}' is not a range such as 10.244.0.0/16`);
  return parsed;
}

export function cidrContains(range: Cidr, address: Ip): boolean {
  if (familyOf(range) !== familyOf(address)) return false;
  const { first, size } = rangeOf(range);
  const value = ipToBigInt(address);
  return value >= first && value < first + size;
}

/** Whether the first range holds all of the second one. */
export function cidrContainsRange(outer: Cidr, inner: Cidr): boolean {
  const [a, b] = [rangeOf(outer), rangeOf(inner)];
  return a.family === b.family && a.first <= b.first && b.first + b.size <= a.first + a.size;
}

export function cidrsOverlap(a: Cidr, b: Cidr): boolean {
  const [left, right] = [rangeOf(a), rangeOf(b)];
  return left.family === right.family && left.first < right.first + right.size && right.first < left.first + left.size;
}

/** The address at an offset from the range's first one; throws a RangeError past its end. */
export function addressAt(range: Cidr, offset: bigint | number): Ip {
  const { first, size, family } = rangeOf(range);
  const index = BigInt(offset);
  if (index < 0n || index >= size) throw new RangeError(`${range} has no address number ${offset}`);
  return formatIp(first + index, family);
}

/** The index-th subnet of the given prefix length within the range; throws a RangeError past its end. */
export function subnetAt(range: Cidr, prefix: number, index: number): Cidr {
  const { first, size, family, prefix: own } = rangeOf(range);
  const each = 1n << BigInt(bitsOf(family) - prefix);
  if (prefix < own || prefix > bitsOf(family) || BigInt(index) * each >= size)
    throw new RangeError(`${range} has no /${prefix} subnet number ${index}`);
  return `${formatIp(first + BigInt(index) * each, family)}/${prefix}` as Cidr;
}

/** The port, or undefined where the value is not a whole number from 1 to 65535. */
export function parsePort(value: number | string): Port | undefined {
  const number = typeof value === 'number' ? value : /^\d{1,5}$/.test(value) ? Number(value) : Number.NaN;
  return Number.isInteger(number) && number >= 1 && number <= 65535 ? (number as Port) : undefined;
}
