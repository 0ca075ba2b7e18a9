// From whom a datagram is believed to come from whom it says: a cluster's own addresses. Others could be made up to have
// long answers sent to somebody else, so that theirs are never longer than their questions. Pure.
import { asCidr, type Cidr, familyOf, type Ip, ipToBigInt, rangeOf } from '../net/address.ts';

/** What no router of the Internet passes on (RFC 1122, 1918, 3927, 4193, 4291, 6598). */
const notRouted = [
  ...['127.0.0.0/8', '10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16', '169.254.0.0/16', '100.64.0.0/10'],
  ...['::1/128', 'fc00::/7', 'fe80::/10'],
].map(asCidr);

export class Sources {
  readonly #v4: { readonly first: number; readonly last: number }[] = [];
  readonly #v6: { readonly first: bigint; readonly last: bigint }[] = [];

  /** `more` are the cluster's own ranges, where they are none of the private ones. */
  constructor(more: readonly Cidr[] = []) {
    for (const range of [...notRouted, ...more]) {
      const { first, size } = rangeOf(range);
      const last = first + size - 1n;
      if (familyOf(range) === 'IPv4') this.#v4.push({ first: Number(first), last: Number(last) });
      else this.#v6.push({ first, last });
    }
  }

  /** Whether an address of IPv4, as a number, is the cluster's. */
  hasV4(value: number): boolean {
    for (const { first, last } of this.#v4) if (value >= first && value <= last) return true;
    return false;
  }

  has(address: Ip): boolean {
    if (familyOf(address) === 'IPv4') return this.hasV4(Number(ipToBigInt(address)));
    const value = ipToBigInt(address);
    // An address of IPv4 at a socket of IPv6: ::ffff:0:0/96.
    if (value >> 32n === 0xffffn) return this.hasV4(Number(value & 0xffffffffn));
    return this.#v6.some(({ first, last }) => value >= first && value <= last);
  }
}

/**
 * Takes out of an answer all but its question and says that it was cut (TC): who really is there asks again over TCP,
 * where nobody can be made up. The new length.
 */
export function cutToQuestion(memory: Buffer, at: number, length: number): number {
  let end = at + 12;
  while ((memory[end] ?? 0) !== 0 && end < at + length) end += (memory[end] ?? 0) + 1;
  memory[at + 2] = (memory[at + 2] ?? 0) | 0x02;
  for (let index = 6; index < 12; index++) memory[at + index] = 0;
  return Math.min(length, end + 5 - at);
}
