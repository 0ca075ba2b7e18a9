// Which cluster addresses and node ports are taken, and the choice of free ones. Derived from the stored Services,
// ServiceCIDRs and IPAddresses, so that it is as durable as they are and a deleted Service frees what it had.
import { randomInt } from 'node:crypto';
import { isConditionTrue } from '../../k8s/conditions.ts';
import type { Service, ServiceCIDR } from '../../k8s/types.generated.ts';
import {
  addressAt,
  type Cidr,
  cidrContains,
  type Family,
  familyOf,
  type Ip,
  parseCidr,
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
const band = {
  addresses: { step: 16, largest: 256 },
  ports: { step: 32, largest: 128 },
} as const;

function reservedBand(size: number, { step, largest }: { step: number; largest: number }): number {
  return size <= 16 ? 0 : Math.min(Math.max(16, Math.floor(size / step)), largest);
}

/** The ServiceCIDR of the ranges that the server was started with. */
export const defaultServiceCidr = 'kubernetes';

/** The ranges that addresses may come from: of the ServiceCIDRs that are ready and stay, the default one's first. */
export function readyRanges(cidrs: readonly ServiceCIDR[]): Cidr[] {
  const isDefault = ({ metadata }: ServiceCIDR): boolean => metadata.name === defaultServiceCidr;
  return cidrs
    .filter(({ metadata }) => metadata.deletionTimestamp === undefined)
    .filter(({ status }) => isConditionTrue(status?.conditions, 'Ready'))
    .sort((a, b) => Number(isDefault(b)) - Number(isDefault(a)))
    .flatMap(({ spec }) => (spec.cidrs ?? []).map(parseCidr).filter((range) => range !== undefined));
}

export class ServiceAddresses {
  readonly #storage: Storage;
  readonly #configured: readonly Cidr[];
  #ranges: readonly Cidr[] = [];
  readonly #ports: PortRange;
  readonly #addressOwners = new Map<string, string>();
  readonly #portOwners = new Map<number, string>();

  /** Reads what is stored and follows it. The family of the first range is that of single-stack Services. */
  constructor(storage: Storage, configured: readonly Cidr[], ports: PortRange = { from: 30000, to: 32767 }) {
    this.#storage = storage;
    this.#configured = configured;
    this.#ports = ports;
    this.#readRanges();
    storage.subscribe(shelves.serviceCidrs, () => this.#readRanges());
    for (const service of storage.list(shelves.services)) this.#take(service);
    storage.subscribe(shelves.services, ({ object, old, deleted }) => {
      if (old !== undefined) this.#release(old);
      if (!deleted) this.#take(object);
    });
  }

  /** The families of the cluster, the default one first. */
  get families(): readonly Family[] {
    return this.#configured.map(familyOf);
  }

  #readRanges(): void {
    const stored = this.#storage.list(shelves.serviceCidrs).map((object) => typed<ServiceCIDR>(object));
    // Until the default one is stored for the first time, what the server was started with counts.
    this.#ranges = stored.length === 0 ? this.#configured : readyRanges(stored);
  }

  /** Somebody else may have an address too: a Gateway, say, by an IPAddress of its own. */
  #isTaken(address: Ip): boolean {
    return this.#addressOwners.has(address) || this.#storage.get(shelves.ipAddresses, '', address) !== undefined;
  }

  /** Throws AllocationError where the address cannot be given to a Service of the cluster. */
  checkAddress(text: string): void {
    const address = parseIp(text);
    if (address === undefined || !this.#ranges.some((range) => cidrContains(range, address)))
      throw new AllocationError(
        `failed to allocate IP ${text}: the provided IP (${text}) is not in the valid range. The range of valid IPs is ${this.#ranges.join(',')}`,
      );
    if (this.#isTaken(address))
      throw new AllocationError(`failed to allocate IP ${text}: provided IP is already allocated`);
  }

  /** A free address of the family. Throws AllocationError where all ranges are full. */
  freeAddress(family: Family): Ip {
    const ranges = this.#ranges.filter((range) => familyOf(range) === family);
    if (ranges.length === 0) throw new AllocationError(`no ServiceCIDR of ${family} is ready`);
    for (const range of ranges) {
      const found = this.#freeIn(range);
      if (found !== undefined) return found;
    }
    throw new AllocationError('range is full');
  }

  #freeIn(range: Cidr): Ip | undefined {
    const { size, family } = rangeOf(range);
    // The first address is the network's own; in IPv4 the last one is the broadcast address.
    const all = Number(size > 1n << 32n ? 1n << 32n : size);
    const end = all - (family === 'IPv4' ? 1 : 0);
    const first = 1 + reservedBand(all, band.addresses);
    const isFree = (index: number): boolean => !this.#isTaken(addressAt(range, index));
    const found = this.#free(first, end, isFree) ?? this.#free(1, Math.min(first, end), isFree);
    return found === undefined ? undefined : addressAt(range, found);
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
    const offset = reservedBand(to - from + 1, band.ports);
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
