// The table of Services: what DNS knows of each, found by its name or by an address. Pure but for its own memory.
import type { Ip } from '../net/address.ts';
import type { RenderedAnswer } from './rendered.ts';
import type { ServiceEntry } from './service-entry.ts';

/** A Service's place in the table. It is replaced when the Service changes, and with it the answers written from it. */
export interface ServiceSlot {
  readonly entry: ServiceEntry;
  /** Whole answers that were written already (see hot-path.ts): the Service's addresses of each family … */
  ipv4: RenderedAnswer | undefined;
  ipv6: RenderedAnswer | undefined;
  /** … and others, by what was asked. Most Services are never asked for others. */
  others: Map<string, RenderedAnswer> | undefined;
}

/** What is known of a Service from now on; nothing where there is no entry. */
export interface ServiceChange {
  readonly namespace: string;
  readonly name: string;
  readonly entry?: ServiceEntry;
}

export class ServiceTable {
  readonly #hasAddresses: boolean;
  #version = 0;
  readonly #followers = new Set<(change: ServiceChange) => void>();
  readonly #slots = new Map<string, ServiceSlot>();
  /** Whose addresses they are: keys of Services; mostly one. */
  readonly #owners = new Map<Ip, string | readonly string[]>();

  /** Without `byAddress` Services are found by name alone, which costs less memory. */
  constructor({ byAddress = true }: { readonly byAddress?: boolean } = {}) {
    this.#hasAddresses = byAddress;
  }

  /** Puts what is known of a Service in place of what was known of it; undefined takes it away. */
  set(namespace: string, name: string, entry: ServiceEntry | undefined): void {
    const key = serviceKey(namespace, name);
    this.#version++;
    if (this.#hasAddresses) this.#setOwner(key, this.#slots.get(key)?.entry, entry);
    if (entry === undefined) this.#slots.delete(key);
    else this.#slots.set(key, { entry, ipv4: undefined, ipv6: undefined, others: undefined });
    for (const follower of this.#followers) follower({ namespace, name, ...(entry !== undefined && { entry }) });
  }

  /** Calls the function for each change from now on, until the returned one is called. */
  follow(follower: (change: ServiceChange) => void): () => void {
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  get(namespace: string, name: string): ServiceEntry | undefined {
    return this.#slots.get(serviceKey(namespace, name))?.entry;
  }

  /** The slot of the Service whose name and namespace are these labels as they travel, in lower case. */
  slot(labels: string): ServiceSlot | undefined {
    return this.#slots.get(labels);
  }

  /** The Services that have the address, as their own or as that of an endpoint. */
  byAddress(ip: Ip): ServiceEntry[] {
    const owners = this.#owners.get(ip);
    const keys = typeof owners === 'string' ? [owners] : (owners ?? []);
    return keys.flatMap((key) => this.#slots.get(key)?.entry ?? []);
  }

  /** All that is known. */
  entries(): ServiceEntry[] {
    return [...this.#slots.values()].map(({ entry }) => entry);
  }

  /** Another number after each change. */
  get version(): number {
    return this.#version;
  }

  /** How many Services have a name. */
  get size(): number {
    return this.#slots.size;
  }

  #setOwner(key: string, old: ServiceEntry | undefined, entry: ServiceEntry | undefined): void {
    const before = new Set(addressesOf(old));
    const now = new Set(addressesOf(entry));
    for (const ip of before) if (!now.has(ip)) this.#disown(ip, key);
    for (const ip of now) if (!before.has(ip)) this.#own(ip, key);
  }

  #own(ip: Ip, key: string): void {
    const owners = this.#owners.get(ip);
    this.#owners.set(ip, owners === undefined ? key : typeof owners === 'string' ? [owners, key] : [...owners, key]);
  }

  #disown(ip: Ip, key: string): void {
    const owners = this.#owners.get(ip);
    const rest = typeof owners === 'string' ? [] : (owners ?? []).filter((owner) => owner !== key);
    const [only] = rest;
    if (only === undefined) this.#owners.delete(ip);
    else this.#owners.set(ip, rest.length === 1 ? only : rest);
  }
}

function* addressesOf(entry: ServiceEntry | undefined): Iterable<Ip> {
  if (entry === undefined) return;
  yield* entry.ips;
  for (const { ip } of entry.endpoints) yield ip;
}

/** Both names as labels in the wire format, so that a question's octets are the key. */
const serviceKey = (namespace: string, name: string): string => wireLabel(name) + wireLabel(namespace);

const wireLabel = (text: string): string => String.fromCharCode(text.length) + text;
