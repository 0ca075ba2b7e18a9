// The table of records: names to what they hold, changed one Service at a time. Pure but for its own memory.
import type { Name, RecordData } from './records.ts';
import type { TableRecord } from './service-records.ts';

interface Entry {
  readonly records: { readonly owner: string; readonly data: RecordData }[];
  /** How many names exist right below this one: a name with children exists though it holds nothing. */
  children: number;
}

export class RecordTable {
  readonly #entries = new Map<Name, Entry>();
  readonly #owners = new Map<string, readonly TableRecord[]>();

  /** Replaces the records of an owner. */
  set(owner: string, records: readonly TableRecord[]): void {
    for (const { name } of this.#owners.get(owner) ?? []) this.#remove(owner, name);
    for (const { name, data } of records) this.#make(name).records.push({ owner, data });
    if (records.length === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, records);
  }

  /** What a name holds: nothing where only names below it exist, undefined where it does not exist. */
  get(name: Name): readonly RecordData[] | undefined {
    return this.#entries.get(name)?.records.map(({ data }) => data);
  }

  /** How many names exist. */
  get size(): number {
    return this.#entries.size;
  }

  #make(name: Name): Entry {
    const known = this.#entries.get(name);
    if (known !== undefined) return known;
    const entry: Entry = { records: [], children: 0 };
    this.#entries.set(name, entry);
    const parent = parentOf(name);
    if (parent !== undefined) this.#make(parent).children++;
    return entry;
  }

  #remove(owner: string, name: Name): void {
    const entry = this.#entries.get(name);
    const index = entry?.records.findIndex((record) => record.owner === owner) ?? -1;
    if (entry === undefined || index < 0) return;
    entry.records.splice(index, 1);
    this.#prune(name, entry);
  }

  #prune(name: Name, entry: Entry): void {
    if (entry.records.length > 0 || entry.children > 0) return;
    this.#entries.delete(name);
    const parent = parentOf(name);
    const above = parent === undefined ? undefined : this.#entries.get(parent);
    if (parent === undefined || above === undefined) return;
    above.children--;
    this.#prune(parent, above);
  }
}

const parentOf = (name: Name): Name | undefined => {
  if (name === '') return undefined;
  const dot = name.indexOf('.');
  return dot < 0 ? '' : name.slice(dot + 1);
};
