// The MTU that pods' packets find on the way to other nodes. Pure.
import type { InterfaceAddress } from '../linux/addresses.ts';
import type { Link } from '../linux/links.ts';

/**
 * The smallest MTU of the links by which the node reaches others: those that are up and have an address. Loopback,
 * bridges' ports and Weft's own bridge do not count. 1500 where there is no such link.
 */
export function underlayMtu(links: readonly Link[], addresses: readonly InterfaceAddress[]): number {
  const mtus = links
    .filter((link) => link.up && link.name !== 'lo' && link.kind !== 'bridge' && link.master === undefined)
    .filter((link) => addresses.some((entry) => entry.link === link.index && !entry.address.startsWith('fe80:')))
    .map((link) => link.mtu);
  return mtus.length === 0 ? 1500 : Math.min(...mtus);
}
