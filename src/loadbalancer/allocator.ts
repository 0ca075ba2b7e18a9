// Which Service has which address: the ledger of all, and the choice of the next one. No I/O, no clock.
import { keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import { type Family, familyOf, formatIp, type Ip, ipToBigInt } from '../net/address.ts';
import { isBuggy, spanSize } from '../net/span.ts';
import { type Pool, poolContains } from './pools.ts';
import { type AddressRequest, readRequest, type SharingTerms, sharingConflict, sharingTerms } from './request.ts';

/** What a Service was given, or a text that says why it was given nothing. */
export type Allocation =
  | { readonly addresses: readonly Ip[] /** Their pools' names. */; readonly pools: readonly string[] }
  | { readonly problem: string };

interface Holding {
  readonly addresses: readonly Ip[];
  readonly terms: SharingTerms;
}

interface Asking {
  readonly key: string;
  readonly service: Service;
  readonly terms: SharingTerms;
  readonly namespaceLabels: Readonly<Record<string, string>>;
}

/** How many addresses of a pool are in use and how many are left, by family. */
export type Usage = Readonly<Record<Family, { readonly assigned: number; readonly available: number }>>;

export class Allocator {
  #pools: readonly Pool[] = [];
  #reserved: ReadonlySet<Ip> = new Set();
  readonly #holdings = new Map<string, Holding>();
  readonly #holders = new Map<Ip, Set<string>>();
  /** By pool and family: below this one no address is free. */
  readonly #hints = new Map<string, bigint>();

  /** `reserved` are addresses that no Service may have, such as those of nodes. */
  configure(pools: readonly Pool[], reserved: ReadonlySet<Ip>): void {
    this.#pools = pools;
    this.#reserved = reserved;
    this.#hints.clear();
  }

  /** Gives a Service the addresses that it is to have from now on: those that it has, as long as they are right. */
  assign(service: Service, current: readonly Ip[], namespaceLabels: Readonly<Record<string, string>> = {}): Allocation {
    const key = keyOf(service);
    // What was given last may not be in the object yet.
    const before = [...(this.#holdings.get(key)?.addresses ?? []), ...current];
    this.release(key);
    const request = readRequest(service);
    if (typeof request === 'string') return { problem: request };
    const asking: Asking = { key, service, terms: sharingTerms(service), namespaceLabels };
    const chosen = request.addresses.length > 0 ? this.#named(asking, request) : this.#any(asking, request, before);
    if (typeof chosen === 'string') return { problem: chosen };
    this.#hold(asking, chosen);
    const pools = chosen.map((address) => this.#pools.find((pool) => poolContains(pool, address))?.name ?? '');
    return { addresses: chosen, pools: [...new Set(pools)] };
  }

  /** Whether the Service has any address here. */
  holds(key: string): boolean {
    return this.#holdings.has(key);
  }

  release(key: string): void {
    for (const address of this.#holdings.get(key)?.addresses ?? []) {
      const holders = this.#holders.get(address);
      holders?.delete(key);
      if (holders?.size === 0) this.#holders.delete(address);
      this.#lowerHints(address);
    }
    this.#holdings.delete(key);
  }

  usage(pool: Pool): Usage {
    return { IPv4: this.#usageOf(pool, 'IPv4'), IPv6: this.#usageOf(pool, 'IPv6') };
  }

  #usageOf(pool: Pool, family: Family): Usage[Family] {
    const ofFamily = pool.spans.filter((span) => span.family === family);
    const within = (address: Ip): boolean => familyOf(address) === family && poolContains(pool, address);
    const assigned = [...this.#holders.keys()].filter(within).length;
    const reserved = [...this.#reserved].filter(
      (address) => within(address) && !(pool.avoidBuggy && isBuggy(ipToBigInt(address), family)),
    ).length;
    const all = ofFamily.reduce((sum, span) => sum + spanSize(span, pool.avoidBuggy), 0n);
    const available = all - BigInt(assigned + reserved);
    return { assigned, available: Number(available > 0n ? bounded(available) : 0n) };
  }

  #hold({ key, terms }: Asking, addresses: readonly Ip[]): void {
    this.#holdings.set(key, { addresses, terms });
    for (const address of addresses) {
      const holders = this.#holders.get(address) ?? new Set<string>();
      this.#holders.set(address, holders.add(key));
    }
  }

  /** Exactly the addresses that are asked for; a text where one of them cannot be had. */
  #named(asking: Asking, request: AddressRequest): Ip[] | string {
    for (const address of request.addresses) {
      const pool = this.#pools.find((one) => poolContains(one, address));
      if (pool === undefined) return `the address ${address} is in no IPAddressPool`;
      if (request.pool !== undefined && !isNamed(pool, request.pool))
        return `the address ${address} is in the pool ${pool.name}, and the Service asks for the pool ${request.pool}`;
      const reason = this.#refusal(asking, pool, address);
      if (reason !== undefined) return reason;
    }
    return [...request.addresses];
  }

  #any(asking: Asking, request: AddressRequest, current: readonly Ip[]): Ip[] | string {
    const pools = this.#poolsFor(asking, request);
    if (typeof pools === 'string') return pools;
    const kept = new Map<Family, Ip>();
    for (const address of current) {
      const family = familyOf(address);
      if (!kept.has(family) && request.families.includes(family) && this.#canKeep(asking, request, address))
        kept.set(family, address);
    }
    const missing = request.families.filter((family) => !kept.has(family));
    const found = this.#free(asking, pools, missing);
    const all = new Map([...kept, ...found]);
    const lacking = request.families.filter((family) => !all.has(family));
    if (all.size === 0 || (request.needsAll && lacking.length > 0)) return exhausted(pools, lacking);
    return request.families.flatMap((family) => all.get(family) ?? []);
  }

  /** A free address of each family: of one pool that has all of them, or else of several. */
  #free(asking: Asking, pools: readonly Pool[], families: readonly Family[]): Map<Family, Ip> {
    const open = pools.filter((pool) => !pool.closed);
    const first = new Map<Family, Ip>();
    for (const pool of open) {
      const found = new Map(
        families.flatMap((family): [Family, Ip][] => {
          const address = this.#freeOf(asking, pool, family);
          return address === undefined ? [] : [[family, address]];
        }),
      );
      if (found.size === families.length) return found;
      for (const [family, address] of found) if (!first.has(family)) first.set(family, address);
    }
    return first;
  }

  /** An address that the Service may share, the lowest; else the lowest that is free. */
  #freeOf(asking: Asking, pool: Pool, family: Family): Ip | undefined {
    const shared = asking.terms.key === undefined ? undefined : this.#sharedOf(asking, pool, family);
    if (shared !== undefined) return shared;
    const hint = this.#hints.get(`${pool.key} ${family}`) ?? 0n;
    for (const span of pool.spans.filter((one) => one.family === family).sort(byFirst))
      for (let value = span.first > hint ? span.first : hint; value <= span.last; value++) {
        if (pool.avoidBuggy && isBuggy(value, family)) continue;
        const address = formatIp(value, family);
        if (this.#reserved.has(address) || this.#holders.has(address)) continue;
        this.#hints.set(`${pool.key} ${family}`, value);
        return address;
      }
    return undefined;
  }

  #sharedOf(asking: Asking, pool: Pool, family: Family): Ip | undefined {
    const candidates = [...this.#holdings.values()]
      .filter(({ terms }) => terms.key === asking.terms.key)
      .flatMap(({ addresses }) => addresses)
      .filter((address) => familyOf(address) === family && poolContains(pool, address))
      .filter((address) => this.#conflict(asking, address) === undefined);
    return candidates.sort((a, b) => (ipToBigInt(a) < ipToBigInt(b) ? -1 : 1))[0];
  }

  #lowerHints(address: Ip): void {
    const pool = this.#pools.find((one) => poolContains(one, address));
    if (pool === undefined) return;
    const at = `${pool.key} ${familyOf(address)}`;
    const hint = this.#hints.get(at);
    const value = ipToBigInt(address);
    if (hint !== undefined && value < hint) this.#hints.set(at, value);
  }

  #canKeep(asking: Asking, request: AddressRequest, address: Ip): boolean {
    const pool = this.#pools.find((one) => poolContains(one, address));
    if (pool === undefined || (request.pool !== undefined && !isNamed(pool, request.pool))) return false;
    if (pool.avoidBuggy && isBuggy(ipToBigInt(address), familyOf(address))) return false;
    return this.#refusal(asking, pool, address) === undefined;
  }

  /** Why the Service cannot have that address of that pool. */
  #refusal(asking: Asking, pool: Pool, address: Ip): string | undefined {
    if (this.#reserved.has(address)) return `the address ${address} is that of a node`;
    if (!pool.allows(asking.service, asking.namespaceLabels))
      return `the address ${address} is in the pool ${pool.name}, whose serviceAllocation leaves this Service out`;
    return this.#conflict(asking, address);
  }

  #conflict({ key, terms }: Asking, address: Ip): string | undefined {
    for (const other of this.#holders.get(address) ?? []) {
      const holding = this.#holdings.get(other);
      const reason = other === key || holding === undefined ? undefined : sharingConflict(terms, holding.terms);
      if (reason !== undefined) return `the address ${address} is that of the Service ${other}: ${reason}`;
    }
    return undefined;
  }

  /** The pools in the order in which they are tried; a text where there is none for the Service. */
  #poolsFor({ service, namespaceLabels }: Asking, { pool: wanted }: AddressRequest): Pool[] | string {
    if (this.#pools.length === 0) return 'there is no IPAddressPool: create one (kubectl explain ipaddresspool.spec)';
    if (wanted !== undefined) {
      const named = this.#pools.filter((pool) => isNamed(pool, wanted));
      if (named.length === 0) return `there is no IPAddressPool ${wanted}`;
      const allowed = named.filter((pool) => pool.allows(service, namespaceLabels));
      return allowed.length > 0 ? allowed : `the serviceAllocation of the pool ${wanted} leaves this Service out`;
    }
    const open = this.#pools.filter((pool) => pool.autoAssign && pool.allows(service, namespaceLabels));
    if (open.length === 0)
      return 'no IPAddressPool gives addresses to this Service of its own accord (autoAssign, serviceAllocation): choose one by the annotation metallb.io/address-pool';
    return open.sort(byPreference);
  }
}

/** Pools for some Services alone come first, by priority; then the others; by name where that is equal. */
function byPreference(a: Pool, b: Pool): number {
  if (a.pinned !== b.pinned) return a.pinned ? -1 : 1;
  if (a.priority !== b.priority) return a.priority < b.priority ? -1 : 1;
  return a.key < b.key ? -1 : 1;
}

const byFirst = (a: { first: bigint }, b: { first: bigint }): number => (a.first < b.first ? -1 : 1);

const isNamed = ({ key, name }: Pool, wanted: string): boolean => wanted === name || wanted === key;

const bounded = (value: bigint): bigint => {
  const most = BigInt(Number.MAX_SAFE_INTEGER);
  return value < most ? value : most;
};

function exhausted(pools: readonly Pool[], lacking: readonly Family[]): string {
  const names = pools.map(({ name }) => name).join(', ');
  const which = pools.length === 1 ? `the pool ${names} has` : `the pools ${names} have`;
  const closed = pools.filter((pool) => pool.closed).map(({ name }) => name);
  const why = closed.length > 0 ? ` (${closed.join(', ')}: cannot be followed, see its events)` : '';
  return `${which} no free ${lacking.join(' and no free ')} address${why}`;
}
