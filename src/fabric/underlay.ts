// What a node knows of its own links: the subnets that it is on, and the largest packets that they carry. Pure.
import type { InterfaceAddress } from '../linux/addresses.ts';
import type { Link } from '../linux/links.ts';
import { type Cidr, cidrContains, type Ip, parseCidr } from '../net/address.ts';
import { isOwnDevice } from './devices.ts';

/** An address of this node, and the subnet that it reaches without a router. */
export interface OwnAddress {
  readonly address: Ip;
  readonly subnet: Cidr;
  /** The MTU of its link, in bytes. */
  readonly mtu: number;
}

export interface Underlay {
  readonly addresses: readonly OwnAddress[];
}

/** The addresses on links that are up. Loopback, link-local addresses and links that the fabric itself made do not count. */
export function readUnderlay(links: readonly Link[], addresses: readonly InterfaceAddress[]): Underlay {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  return {
    addresses: addresses.flatMap((entry) => {
      const link = byIndex.get(entry.link);
      const subnet = parseCidr(`${entry.address}/${entry.prefix}`);
      if (link === undefined || subnet === undefined || !link.up) return [];
      if (link.name === 'lo' || isOwnDevice(link) || link.kind === 'bridge' || isLinkLocal(entry.address)) return [];
      return [{ address: entry.address, subnet, mtu: link.mtu }];
    }),
  };
}

const isLinkLocal = (address: Ip): boolean => address.startsWith('fe80:') || address.startsWith('169.254.');

/** Whether an address is on a subnet of this node, so that it is reached without a router. */
export function isOnLink(underlay: Underlay, address: Ip): boolean {
  return underlay.addresses.some(({ subnet }) => cidrContains(subnet, address));
}
