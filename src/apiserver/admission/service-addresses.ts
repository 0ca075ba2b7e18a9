// Which cluster addresses and node ports are taken, and the choice of free ones. Derived from the stored Services, so
// that it is as durable as they are and a deleted Service frees what it had.
import { randomInt } from 'node:crypto';
import type { Service } from '../../k8s/types.generated.ts';
import {
  addressAt,
  type Cidr,
  cidrContains,
  type Family,
  familyOf,
  type Ip,
  parseIp,
  rangeOf,
} from '../../net/address.ts';
import { shelves } from '../kinds.ts';
import { type ApiObject, typed } from '../object.ts';
import type { Storage } from '../storage.ts';

export interface PortRange {
  readonly from: number;
  readonly to: number;
}

/** Why an address or a port cannot be had, in Kubernetes' words. */
export class AllocationError extends Error {}

interface Owned {
  readonly addresses: readonly Ip[];
  readonly ports: readonly number[];
}

/** What a Service occupies. */
function owned(object: ApiObject): Owned {
  const { spec } = typed<Service>(object);
  const addresses = (spec.clusterIPs ?? []).map(parseIp).filter((ip) => ip !== undefined);
  const ports = (spec.ports ?? []).map((port) => port.nodePort ?? 0);
  return {
    addresses,
    ports: [...new Set([...ports, spec.healthCheckNodePort ?? 0])].filter((port) => port !== 0),
  };
}

/**
 * The lower part of a range is for addresses that users choose, automatic ones begin after it: kubernetes/enhancements
 * KEP-3070 (16 to 256 addresses) and KEP-3668 (16 to 128 ports).
 */
function reservedOffset(size: number, largest: number): number {
  if (size <= 16) return 0;
  return Math.min(Math.max(16, Math.floor(size / (largest === 256 ? 16 : 32))), largest);
}

export class ServiceAddresses {
  readonly #ranges: ReadonlyMap<Family, Cidr>;
  readonly #ports: PortRange;
  readonly #addressOwners = new Map<string, string>();
  readonly #portOwners = new Map<number, string>();

  /** Reads the stored Services and follows them. The first range is that of single-stack Services. */
  constructor(storage: Storage, ranges: readonly Cidr[], ports: PortRange = { from: 30000, to: 32767 }) {
    this.#ranges = new Map(ranges.map((range) => [familyOf(range), range]));
    this.#ports = ports;
    for (const service of storage.list(shelves.services)) this.#take(service);
    storage.subscribe(shelves.services, ({ object, old, deleted }) => {
      if (old !== undefined) this.#release(old);
      if (!deleted) this.#take(object);
    });
  }

  /** The families of the cluster, the default one first. */
  get families(): readonly Family[] {
    return [...this.#ranges.keys()];
  }

  /** Throws AllocationError where the address cannot be given to a Service of the cluster. */
  checkAddress(text: string): void {
    const address = parseIp(text);
    const range = address === undefined ? undefined : this.#ranges.get(familyOf(address));
    if (address === undefined || range === undefined || !cidrContains(range, address))
      throw new AllocationError(
        `failed to allocate IP ${text}: the provided IP (${text}) is not in the valid range. The range of valid IPs is ${[...this.#ranges.values()].join(',')}`,
      );
    if (this.#addressOwners.has(address))
      throw new AllocationError(`failed to allocate IP ${text}: provided IP is already allocated`);
  }

  /** A free address of the family. Throws AllocationError where the range is full. */
  freeAddress(family: Family): Ip {
    const range = this.#ranges.get(family);
    if (range === undefined) throw new AllocationError(`${family} is not configured on this cluster`);
    const { size } = rangeOf(range);
    // The first address is the network's own; in IPv4 the last one is the broadcast address.
    const usable = Number(size > 1n << 32n ? 1n << 32n : size) - (family === 'IPv4' ? 1 : 0);
    const offset = reservedOffset(usable, 256);
    const found =
      this.#free(Math.max(1, offset), usable, (index) => !this.#addressOwners.has(addressAt(range, index))) ??
      this.#free(1, offset, (index) => !this.#addressOwners.has(addressAt(range, index)));
    if (found === undefined) throw new AllocationError('range is full');
    return addressAt(range, found);
  }

  /** Throws AllocationError where the node port cannot be given. */
  checkPort(port: number): void {
    if (port < this.#ports.from || port > this.#ports.to)
      throw new AllocationError(
        `provided port is not in the valid range. The range of valid ports is ${this.#ports.from}-${this.#ports.to}`,
      );
    if (this.#portOwners.has(port)) throw new AllocationError('provided port is already allocated');
  }

  /** A free node port that is not in `besides`. Throws AllocationError where all are taken. */
  freePort(besides: ReadonlySet<number>): number {
    const { from, to } = this.#ports;
    const offset = reservedOffset(to - from + 1, 128);
    const isFree = (port: number): boolean => !this.#portOwners.has(port) && !besides.has(port);
    const found = this.#free(from + offset, to + 1, isFree) ?? this.#free(from, from + offset, isFree);
    if (found === undefined) throw new AllocationError('range is full');
    return found;
  }

  /** A free number from `from` (included) to `to` (excluded), beginning at a random one. */
  #free(from: number, to: number, isFree: (index: number) => boolean): number | undefined {
    const count = to - from;
    if (count <= 0) return undefined;
    const start = randomInt(count);
    for (let step = 0; step < count; step++) {
      const index = from + ((start + step) % count);
      if (isFree(index)) return index;
    }
    return undefined;
  }

  #take(service: ApiObject): void {
    const uid = service.metadata.uid ?? '';
    const { addresses, ports } = owned(service);
    for (const address of addresses) this.#addressOwners.set(address, uid);
    for (const port of ports) this.#portOwners.set(port, uid);
  }

  #release(service: ApiObject): void {
    const uid = service.metadata.uid ?? '';
    const { addresses, ports } = owned(service);
    for (const address of addresses) if (this.#addressOwners.get(address) === uid) this.#addressOwners.delete(address);
    for (const port of ports) if (this.#portOwners.get(port) === uid) this.#portOwners.delete(port);
  }
}
