// Which address is next: the rules of the allocator. Pure; the store keeps what they decide.
import { type Cidr, familyOf, formatIp, type Ip, ipToBigInt, rangeOf } from '../net/address.ts';

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

/**
 * The first free address after the last one that was given, going round: an address that was freed just now comes
 * last, so that no cache and no connection table still means the old owner. Undefined where none is free.
 */
export function nextAddress(range: Cidr, last: Ip | undefined, isTaken: (address: Ip) => boolean): Ip | undefined {
  const { low, high } = bounds(range);
  const family = familyOf(range);
  const capacity = capacityOf(range);
  const after = last === undefined || !isAllocatable(range, last) ? low : ipToBigInt(last) + 1n;
  for (let step = 0n, value = after; step < capacity; step++, value++) {
    if (value > high) value = low;
    const address = formatIp(value, family);
    if (!isTaken(address)) return address;
  }
  return undefined;
}
