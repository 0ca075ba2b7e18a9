// Which address is next: the rules of the allocator. Pure; the store keeps what they decide.
import { type Cidr, cidrContainsRange, familyOf, formatIp, type Ip, ipToBigInt, rangeOf } from '../net/address.ts';
import { CniError, errorCode } from './protocol.ts';
import type { WishedRange, Wishes } from './wishes.ts';

/** The address of the node's bridge in a range, and the pods' gateway: the first one after the network's own. */
export function gatewayOf(range: Cidr): Ip {
  const { first, family, size } = rangeOf(range);
  if (size < 4n) throw new RangeError(`${range} is too small for pods: it needs a gateway and at least one address`);
  return formatIp(first + 1n, family);
}

/** The first and the last number that a pod may get: without the network, the gateway and (IPv4) the broadcast. */
function bounds(range: Cidr): { low: bigint; high: bigint } {
  const { first, size } = rangeOf(range);
  return { low: first + 2n, high: first + size - (familyOf(range) === 'IPv4' ? 2n : 1n) };
}

/** How many addresses a range has for pods. */
export function capacityOf(range: Cidr): bigint {
  const { low, high } = bounds(range);
  return high < low ? 0n : high - low + 1n;
}

/** Whether the address is one that a pod may get. */
export function isAllocatable(range: Cidr, address: Ip): boolean {
  if (familyOf(range) !== familyOf(address)) return false;
  const { low, high } = bounds(range);
  const value = ipToBigInt(address);
  return value >= low && value <= high;
}

/** A part of a node's range to give addresses of. */
export interface Pool {
  readonly range: Cidr;
  readonly low: bigint;
  readonly high: bigint;
}

/** Where one address of an attachment comes from: a certain one, or the first of the pools that has a free one. */
export type Choice = { readonly address: Ip } | { readonly pools: readonly Pool[] };

export const poolOf = (range: Cidr): Pool => ({ range, ...bounds(range) });

/**
 * What an attachment is to get: the static addresses, and one of each other family that the node has a range of; or one
 * out of each set of ranges that the runtime gave. Throws CniError (invalid configuration) with all that cannot be had.
 */
export function decideChoices(ranges: readonly Cidr[], wishes: Pick<Wishes, 'ips' | 'ranges'>): Choice[] {
  const problems: string[] = [];
  const node = `this node has ${ranges.join(', ')}`;
  for (const address of wishes.ips)
    if (!ranges.some((range) => isAllocatable(range, address)))
      problems.push(`the address ${address} cannot be given to a pod: ${node}`);
  const sets = wishes.ranges.map((set) =>
    set.map((wished): Pool => {
      const range = ranges.find((candidate) => cidrContainsRange(candidate, wished.subnet));
      if (range === undefined) problems.push(`the range ${wished.subnet} is not one of this node: ${node}`);
      return poolWithin(range ?? wished.subnet, wished);
    }),
  );
  const duplicate = wishes.ips.find((address, index) => wishes.ips.indexOf(address) !== index);
  if (duplicate !== undefined) problems.push(`the address ${duplicate} is asked for twice`);
  if (problems.length > 0) throw new CniError(errorCode.invalidConfiguration, problems.join('; '));
  const fixed = wishes.ips.map((address) => ({ address }));
  const covered = new Set(wishes.ips.map(familyOf));
  const open = sets.length > 0 ? sets : ranges.map((range) => [poolOf(range)]);
  return [
    ...fixed,
    ...open.filter(([pool]) => pool === undefined || !covered.has(familyOf(pool.range))).map((pools) => ({ pools })),
  ];
}

function poolWithin(range: Cidr, { subnet, first, last }: WishedRange): Pool {
  const { low, high } = bounds(range);
  const inner = rangeOf(subnet);
  const from = first === undefined ? inner.first : ipToBigInt(first);
  const to = last === undefined ? inner.first + inner.size - 1n : ipToBigInt(last);
  return { range, low: from > low ? from : low, high: to < high ? to : high };
}

/**
 * The first free address after the last one that was given, going round: an address that was freed just now comes
 * last, so that no cache and no connection table still means the old owner. Undefined where none is free.
 */
export function nextAddress(
  { range, low, high }: Pool,
  last: Ip | undefined,
  isTaken: (address: Ip) => boolean,
): Ip | undefined {
  const family = familyOf(range);
  const after = last === undefined ? low : ipToBigInt(last) + 1n;
  for (let step = 0n, value = after < low || after > high ? low : after; step <= high - low; step++, value++) {
    if (value > high) value = low;
    const address = formatIp(value, family);
    if (!isTaken(address)) return address;
  }
  return undefined;
}
