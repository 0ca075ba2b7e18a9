// What all Services together want in the kernel: each item once. Pure.
import { itemKey } from './changes.ts';
import type { Item } from './items.ts';

/** The items of many owners. Where several want different ones of one key, the first owner by name has it. */
export class WantedItems {
  readonly #owners = new Map<string, Map<string, Item>>();
  /** For each key what each owner wants. */
  readonly #claims = new Map<string, Map<string, Item>>();
  readonly #items = new Map<string, Item>();
  readonly #touched = new Set<string>();

  /** The items that shall be in the kernel, by their keys. */
  get items(): ReadonlyMap<string, Item> {
    return this.#items;
  }

  /** Replaces what an owner wants. */
  set(owner: string, items: readonly Item[]): void {
    const before = this.#owners.get(owner) ?? new Map<string, Item>();
    const now = new Map(items.map((item) => [itemKey(item), item]));
    for (const key of before.keys()) if (!now.has(key)) this.#give(owner, key);
    for (const [key, item] of now) this.#claim(owner, key, item);
    if (now.size === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, now);
  }

  /** The keys of what may have changed since the last call. */
  takeTouched(): Set<string> {
    const touched = new Set(this.#touched);
    this.#touched.clear();
    return touched;
  }

  #claim(owner: string, key: string, item: Item): void {
    const claims = this.#claims.get(key) ?? new Map<string, Item>();
    claims.set(owner, item);
    this.#claims.set(key, claims);
    this.#choose(key);
  }

  #give(owner: string, key: string): void {
    const claims = this.#claims.get(key);
    claims?.delete(owner);
    if (claims?.size === 0) this.#claims.delete(key);
    this.#choose(key);
  }

  #choose(key: string): void {
    const item = firstByOwner(this.#claims.get(key));
    if (item === this.#items.get(key)) return;
    if (item === undefined) this.#items.delete(key);
    else this.#items.set(key, item);
    this.#touched.add(key);
  }
}

function firstByOwner(claims: ReadonlyMap<string, Item> | undefined): Item | undefined {
  let first: [owner: string, item: Item] | undefined;
  for (const claim of claims ?? []) if (first === undefined || claim[0] < first[0]) first = claim;
  return first?.[1];
}
