// One nftables table that is ours: what it shall hold, what it holds, and the smallest change from one to the other.
import type { Chain, Change, Element, ElementRun, SetDefinition, TableName } from './nft.ts';
import type { TableOutline } from './nft-outline.ts';
import type { Nft } from './nft-run.ts';
import { type Claim, claim, difference, kept, newSlot, placeOf, release, type Slot, winner } from './nft-slot.ts';

/** What never changes in a table: its sets and maps, and the chains that are always there. */
export interface TableSchema extends TableName {
  readonly sets: readonly SetDefinition[];
  readonly chains: readonly Chain[];
}

/** What an object adds to a table. Equal chain names must mean equal rules. */
export interface Contribution {
  readonly chains: readonly Chain[];
  readonly elements: readonly Element[];
  /** Where several owners want different runs with one beginning, the first owner by name has all of it. */
  readonly runs?: readonly ElementRun[];
}

/**
 * The desired and the applied state of one table. Owners (objects of the API) set what they contribute; `apply` writes
 * the difference in one transaction and never reads the kernel. Chains that a contribution brought and that nobody needs
 * any more stay until `tidy`: kernels before 6.2 refuse to delete a chain in the transaction that drops its last
 * reference, and the same numbers of endpoints come again.
 */
export class NftTable {
  readonly #schema: TableSchema;
  readonly #nft: Nft;
  /** By set, then by place: hundreds of thousands of them are named by their keys, which are there anyhow. */
  readonly #slots = new Map<string, Map<string, Slot>>();
  readonly #owners = new Map<string, readonly Slot[]>();
  /** Of those in the kernel; all are written in any case until everything was, and noted again while that goes on. */
  readonly #changed = new Set<Slot>();
  readonly #chains = new Map<string, Chain>();
  readonly #newChains = new Set<Chain>();
  /** Which of them an owner needs, and how many owners need one. */
  readonly #needs = new Map<string, readonly string[]>();
  readonly #users = new Map<string, number>();
  #written = false;
  #isWriting = false;
  /** What dynamic sets remembered was not taken: another version of Weft may have made them otherwise. */
  #isForgetting = false;
  #outline: string | undefined;

  constructor(schema: TableSchema, nft: Nft) {
    this.#schema = schema;
    this.#nft = nft;
  }

  /** Replaces what the owner contributes; an undefined contribution takes it away. */
  set(owner: string, contribution: Contribution | undefined): void {
    const before = this.#owners.get(owner) ?? [];
    const claims: readonly Claim[] = [...(contribution?.elements ?? []), ...(contribution?.runs ?? [])];
    const now = claims.map((one) => this.#claim(owner, one));
    const kept = new Set(now);
    for (const slot of before) {
      if (kept.has(slot)) continue;
      release(slot, owner);
      this.#note(slot);
    }
    if (now.length === 0) this.#owners.delete(owner);
    else this.#owners.set(owner, now);
    this.#setNeeds(owner, contribution?.chains.map(({ name }) => name) ?? []);
    for (const chain of contribution?.chains ?? []) {
      if (this.#chains.has(chain.name)) continue;
      this.#chains.set(chain.name, chain);
      this.#newChains.add(chain);
    }
  }

  #setNeeds(owner: string, names: readonly string[]): void {
    for (const name of names) this.#users.set(name, (this.#users.get(name) ?? 0) + 1);
    for (const name of this.#needs.get(owner) ?? []) this.#users.set(name, (this.#users.get(name) ?? 1) - 1);
    if (names.length === 0) this.#needs.delete(owner);
    else this.#needs.set(owner, names);
  }

  /** The chains that no owner needs any more. */
  get idleChains(): string[] {
    return [...this.#chains.keys()].filter((name) => (this.#users.get(name) ?? 0) === 0);
  }

  /** Deletes the chains that nobody needs, where the kernel has everything else that was set; returns how many. */
  async tidy(): Promise<number> {
    const idle = this.idleChains;
    if (idle.length === 0 || !this.#written || this.#changed.size > 0) return 0;
    for (const name of idle) {
      this.#chains.delete(name);
      this.#users.delete(name);
    }
    this.#outline = undefined;
    try {
      await this.#nft.commit(this.#schema, { chains: [], removed: [], added: [], removedChains: idle });
    } catch (error) {
      // A full write brings the kernel to what is wanted in any case.
      this.#written = false;
      throw error;
    }
    return idle.length;
  }

  #claim(owner: string, what: Claim): Slot {
    let among = this.#slots.get(what.set);
    if (among === undefined) {
      among = new Map();
      this.#slots.set(what.set, among);
    }
    const place = placeOf(what);
    let slot = among.get(place);
    if (slot === undefined) {
      slot = newSlot(place, among);
      among.set(place, slot);
    }
    claim(slot, owner, kept(what));
    this.#note(slot);
    return slot;
  }

  #note(slot: Slot): void {
    if (this.#written || this.#isWriting) this.#changed.add(slot);
  }

  /** How many elements the table shall hold, the dynamic ones not counted. */
  get size(): number {
    let count = 0;
    for (const among of this.#slots.values())
      for (const slot of among.values()) {
        const what = winner(slot);
        if (what !== undefined) count += 'values' in what ? what.values.length : 1;
      }
    return count;
  }

  /** How nft names it: `ip weft-proxy`. */
  get id(): string {
    return `${this.#schema.family} ${this.#schema.name}`;
  }

  /** Takes the table out of the kernel, whoever wrote it; the next `apply` writes everything. */
  async remove(): Promise<void> {
    this.#written = false;
    this.#outline = undefined;
    await this.#nft.remove(this.#schema);
  }

  /** Forgets what the kernel holds: the next `apply` writes everything. */
  invalidate(): void {
    this.#written = false;
  }

  /**
   * Writes what changed since the last time. After an error the kernel is as it was before and the next call writes
   * everything. Returns how many elements were written.
   */
  async apply(): Promise<number> {
    const remembered = this.#written || this.#isForgetting ? [] : await this.#remembered();
    const replacing = !this.#written;
    const slots = replacing ? this.#allSlots() : [...this.#changed];
    const change = replacing ? this.#everything(slots, remembered) : this.#difference(slots);
    // Should this fail, everything is written next, whatever is noted here.
    for (const slot of slots) slot.applied = winner(slot);
    this.#changed.clear();
    this.#newChains.clear();
    if (change !== undefined) await this.#commit(change, replacing && remembered.length > 0);
    for (const slot of slots) this.#dropEmpty(slot);
    if (change === undefined) return 0;
    if (replacing || change.chains.length > 0) this.#outline = undefined;
    const inRuns = (change.addedRuns ?? []).reduce((sum, { values }) => sum + values.length, 0);
    return change.added.length + change.removed.length + inRuns;
  }

  async #commit(change: Change, isRemembering: boolean): Promise<void> {
    this.#isWriting = true;
    try {
      await this.#nft.commit(this.#schema, change);
    } catch (error) {
      this.#written = false;
      this.#isForgetting = isRemembering;
      throw error;
    } finally {
      this.#isWriting = false;
    }
    this.#written = true;
    this.#isForgetting = false;
  }

  #allSlots(): Slot[] {
    return [...this.#slots.values()].flatMap((among) => [...among.values()]);
  }

  /** The place may be another slot's by now. */
  #dropEmpty(slot: Slot): void {
    const { claim, applied, among, place } = slot;
    if (claim === undefined && applied === undefined && among.get(place) === slot) among.delete(place);
  }

  #difference(slots: readonly Slot[]): Change | undefined {
    const removed: Element[] = [];
    const added: Element[] = [];
    for (const slot of slots) {
      const change = difference(slot.applied, winner(slot));
      removed.push(...change.removed);
      added.push(...change.added);
    }
    const chains = [...this.#newChains];
    return removed.length + added.length + chains.length === 0 ? undefined : { chains, removed, added };
  }

  /** What the packets of the past left in dynamic sets: a full write must not forget it. */
  async #remembered(): Promise<Element[]> {
    const dynamic = this.#schema.sets.filter((set) => set.dynamicSize !== undefined);
    const kept = await Promise.all(dynamic.map((set) => this.#nft.elements(this.#schema, set)));
    return kept.flat().filter(({ lifetime }) => lifetime !== undefined && lifetime.expires > 0);
  }

  #everything(slots: readonly Slot[], remembered: readonly Element[]): Change {
    const added: Element[] = [...remembered];
    const addedRuns: ElementRun[] = [];
    for (const slot of slots) {
      const wanted = winner(slot);
      if (wanted !== undefined && 'values' in wanted) addedRuns.push(wanted);
      else if (wanted !== undefined) added.push(wanted);
    }
    return {
      replace: { sets: this.#schema.sets },
      chains: [...this.#schema.chains, ...this.#chains.values()],
      removed: [],
      added,
      addedRuns,
    };
  }

  /**
   * Compares the chains, rules and sets in the kernel with what was written (without the elements, which makes it
   * cheap). Returns false, and makes the next `apply` write everything, when someone else changed the table.
   */
  async audit(): Promise<boolean> {
    if (!this.#written) return false;
    const outline = await this.#nft.outline(this.#schema);
    const known = this.#outline ?? (outline === undefined ? undefined : this.#firstOutline(outline));
    if (outline !== undefined && outline.fingerprint === known) return true;
    this.#written = false;
    return false;
  }

  /** The first look after a change of chains: what the kernel has is taken for right when everything is there. */
  #firstOutline(outline: TableOutline): string | undefined {
    const chains = [...this.#schema.chains, ...this.#chains.values()];
    const whole =
      chains.every((chain) => outline.chains.get(chain.name) === chain.rules.length) &&
      this.#schema.sets.every((set) => outline.sets.has(set.name));
    this.#outline = whole ? outline.fingerprint : undefined;
    return this.#outline;
  }
}
