// A run of addresses of one family, as pools are written: a CIDR or `first-last`. Pure.
import {
  type Cidr,
  type Family,
  familyOf,
  formatIp,
  type Ip,
  ipToBigInt,
  parseCidr,
  parseIp,
  rangeOf,
} from './address.ts';

export interface Span {
  readonly family: Family;
  readonly first: bigint;
  /** The last one is in it. */
  readonly last: bigint;
}

/** Reads `192.0.2.0/28` or `192.0.2.4-192.0.2.9`; a text that says why not where it cannot be read. */
export function parseSpan(text: string): Span | string {
  if (text.includes('/')) {
    const range = parseCidr(text.trim());
    return range === undefined ? 'is no range such as 192.0.2.0/28' : spanOf(range);
  }
  const [from, to, more] = text.split('-').map((part) => parseIp(part.trim()));
  if (from === undefined || to === undefined || more !== undefined || text.split('-').length !== 2)
    return 'is no range such as 192.0.2.0/28 or 192.0.2.4-192.0.2.9';
  if (familyOf(from) !== familyOf(to)) return 'begins in one family and ends in the other';
  const span: Span = { family: familyOf(from), first: ipToBigInt(from), last: ipToBigInt(to) };
  return span.first > span.last ? 'ends before it begins' : span;
}

export function spanOf(range: Cidr): Span {
  const { family, first, size } = rangeOf(range);
  return { family, first, last: first + size - 1n };
}

export function spanContains({ family, first, last }: Span, address: Ip): boolean {
  if (familyOf(address) !== family) return false;
  const value = ipToBigInt(address);
  return first <= value && value <= last;
}

export function spansOverlap(a: Span, b: Span): boolean {
  return a.family === b.family && a.first <= b.last && b.first <= a.last;
}

export function formatSpan({ family, first, last }: Span): string {
  return `${formatIp(first, family)}-${formatIp(last, family)}`;
}

/** Addresses that old equipment takes for a network's own or for everybody (RFC 1812 of /24 networks). */
export function isBuggy(value: bigint, family: Family): boolean {
  return family === 'IPv4' && ((value & 255n) === 0n || (value & 255n) === 255n);
}

/** How many addresses the span has, without the buggy ones where those are left out. */
export function spanSize({ family, first, last }: Span, avoidBuggy: boolean): bigint {
  const all = last - first + 1n;
  if (!avoidBuggy || family === 'IPv6') return all;
  const ending = (with_: bigint): bigint => (last - with_ + 256n) / 256n - (first - 1n - with_ + 256n) / 256n;
  return all - ending(0n) - ending(255n);
}
