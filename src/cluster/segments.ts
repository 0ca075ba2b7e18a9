// The subnets between the nodes: their ranges, their bridges, and the router that joins them. Pure.
import { addressAt, type Cidr, familyOf, type Ip, ipToBigInt, type Mac, rangeOf, subnetAt } from '../net/address.ts';

/** One LAN of the underlay. */
export interface Segment {
  /** The name of its bridge in the underlay's namespace. */
  readonly bridge: string;
  /** Its ranges, one of each family. */
  readonly subnets: readonly Cidr[];
  /** The router's addresses on it: the first of each range. */
  readonly routers: readonly Ip[];
  /** The router's own interface to it, and the other end of that cable in the underlay's namespace. */
  readonly routerInterface: string;
  readonly routerPort: string;
}

export interface UnderlaySettings {
  readonly underlay: readonly Cidr[];
  readonly underlaySubnets: 1 | 2;
}

export function segmentsOf({ underlay, underlaySubnets }: UnderlaySettings): Segment[] {
  return Array.from({ length: underlaySubnets }, (_, index) => {
    const subnets = underlay.map((range) =>
      underlaySubnets === 1 ? range : subnetAt(range, rangeOf(range).prefix + 1, index),
    );
    const suffix = index === 0 ? '' : String(index + 1);
    return {
      bridge: `lan${suffix}`,
      subnets,
      routers: subnets.map((range) => addressAt(range, 1)),
      routerInterface: `eth${index}`,
      routerPort: `router${suffix}`,
    };
  });
}

/** Where a node is: its segment by turns, and its host number there; the first address of each range is the router's. */
export function placeOf(
  settings: UnderlaySettings,
  index: number,
): { readonly segment: number; readonly subnets: readonly Cidr[]; readonly host: number } {
  const segment = index % settings.underlaySubnets;
  const subnets = segmentsOf(settings)[segment]?.subnets ?? [];
  return { segment, subnets, host: 2 + Math.floor(index / settings.underlaySubnets) };
}

/**
 * The hardware address of whoever has an address of the underlay: `02:57` and its last four bytes. A node that comes
 * back under its address is the one that the others remember.
 */
export function underlayMac(address: Ip): Mac {
  const low = (ipToBigInt(address) & 0xffffffffn).toString(16).padStart(8, '0');
  return `02:57:${low.match(/../g)?.join(':') ?? ''}` as Mac;
}

/** Pairs of a range and the address of its family. */
export function byFamily(ranges: readonly Cidr[], addresses: readonly Ip[]): [Cidr, Ip][] {
  return ranges.flatMap((range) =>
    addresses.flatMap((address): [Cidr, Ip][] => (familyOf(address) === familyOf(range) ? [[range, address]] : [])),
  );
}
