// A place in a set that one or several owners claim: who has it, and what the kernel holds there. There are hundreds of
// thousands of places, so they are kept small: nearly all have one owner, and many elements can be one place (a run).
import type { Element, ElementRun, ElementText } from './nft.ts';
import { elementsOf } from './nft.ts';

/** What an owner puts at a place: an element, or several whose keys differ in a counter at the end. */
export type Claim = Element | ElementRun;

export interface Slot {
  /** The place by name: among those of its set, the key. */
  readonly place: string;
  /** Where it is kept under that name. */
  readonly among: Map<string, Slot>;
  /** Whose the first claim is. Where it is undefined there is no claim at all. */
  owner: string;
  claim: Claim | undefined;
  /** The claims of others. */
  others: Map<string, Claim> | undefined;
  /** What the kernel holds. */
  applied: Claim | undefined;
}

export const newSlot = (place: string, among: Map<string, Slot>): Slot => ({
  place,
  among,
  owner: '',
  claim: undefined,
  others: undefined,
  applied: undefined,
});

/** Names a place in its set. A run has one that no element has. */
export const placeOf = (claim: Claim): string =>
  'values' in claim ? `${claim.prefix} . ${claim.first}...` : claim.key;

// No element's text has it.
const separator = '|';

/** The claim as it is kept: of half a million endpoints one text for each run takes half of what their texts would. */
export function kept(what: Claim): Claim {
  if (!('values' in what)) return what;
  const { set, prefix, first, values } = what;
  const text = values.join(separator);
  return packedRun({ set, prefix, first }, values.length === 0 ? undefined : text);
}

/** Not within the function that has the values: what it makes would keep them. */
const packedRun = (run: Omit<ElementRun, 'values'>, text: string | undefined): ElementRun => ({
  ...run,
  get values() {
    return text === undefined ? [] : (text.split(separator) as ElementText[]);
  },
});

export function claim(slot: Slot, owner: string, what: Claim): void {
  if (slot.claim === undefined || slot.owner === owner) {
    slot.owner = owner;
    slot.claim = what;
  } else {
    slot.others ??= new Map();
    slot.others.set(owner, what);
  }
}

export function release(slot: Slot, owner: string): void {
  if (slot.owner !== owner) {
    slot.others?.delete(owner);
    return;
  }
  const [next] = slot.others ?? [];
  slot.owner = next?.[0] ?? '';
  slot.claim = next?.[1];
  if (next !== undefined) slot.others?.delete(next[0]);
}

/** The claim that holds: that of the first owner by name. */
export function winner(slot: Slot): Claim | undefined {
  let owner = slot.owner;
  let first = slot.claim;
  for (const [other, what] of slot.others ?? [])
    if (other < owner) {
      owner = other;
      first = what;
    }
  return first;
}

/** The elements that the change from one claim to another takes away and brings. */
export function difference(
  from: Claim | undefined,
  to: Claim | undefined,
): { readonly removed: readonly Element[]; readonly added: readonly Element[] } {
  if (from === to) return { removed: [], added: [] };
  const before = from === undefined ? [] : elementsOf(from);
  const now = to === undefined ? [] : elementsOf(to);
  const isKept = (one: readonly Element[], index: number, element: Element): boolean => same(one[index], element);
  return {
    removed: before.filter((element, index) => !isKept(now, index, element)),
    added: now.filter((element, index) => !isKept(before, index, element)),
  };
}

const same = (a: Element | undefined, b: Element): boolean =>
  a !== undefined && a.value === b.value && a.comment === b.comment;
