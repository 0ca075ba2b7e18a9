// Commits changes of a table: rules in the words of nft(8), elements as messages that go straight to the kernel, which
// takes a tenth of the time. One change is one transaction, but for chains that nothing refers to yet: they go ahead.
import { isAnswer, type Message, type Netlink, type Refusal, refusalError, refusalIn } from './netlink.ts';
import { netfilterProtocol, unannounced } from './netlink-monitor.ts';
import type { Change, Element, ElementRun, SetDefinition, TableWithSets } from './nft.ts';
import { create, NftBatch, nftMessage } from './nft-batch.ts';
import type { Skeleton } from './nft-skeleton.ts';
import { type WireSet, wireSet } from './nft-wire.ts';

/** A change in two parts: what nft(8) has to translate, and elements that need no translation. */
export interface SplitChange {
  readonly text: Change;
  readonly deleted: readonly SetChange[];
  readonly added: readonly SetChange[];
}

/** Elements of one set. */
export interface SetChange {
  readonly set: WireSet;
  readonly elements: readonly (Element | ElementRun)[];
}

/** Takes the elements of all sets whose layout is known out of a change. Pure. */
export function splitChange(table: TableWithSets, change: Change): SplitChange {
  const sets = wireSets(change.replace?.sets ?? table.sets ?? []);
  const emptied = new Set(change.flushed);
  const isDirect = ({ set }: Element | ElementRun): boolean => sets.has(set) && !emptied.has(set);
  const isText = (one: Element | ElementRun): boolean => !isDirect(one);
  const group = (all: readonly (Element | ElementRun)[]): SetChange[] => {
    const found = new Map<string, { set: WireSet; elements: (Element | ElementRun)[] }>();
    for (const one of all) {
      const set = sets.get(one.set);
      if (set === undefined || !isDirect(one)) continue;
      const known = found.get(one.set);
      if (known === undefined) found.set(one.set, { set, elements: [one] });
      else known.elements.push(one);
    }
    return [...found.values()];
  };
  const { addedRuns = [] } = change;
  return {
    text: {
      ...change,
      removed: change.removed.filter(isText),
      added: change.added.filter(isText),
      addedRuns: addedRuns.filter(isText),
    },
    deleted: group(change.removed),
    added: merged(group(change.added), group(addedRuns)),
  };
}

function merged(first: readonly SetChange[], second: readonly SetChange[]): SetChange[] {
  const both = new Map(first.map((one) => [one.set.name, one]));
  for (const { set, elements } of second)
    both.set(set.name, { set, elements: [...(both.get(set.name)?.elements ?? []), ...elements] });
  return [...both.values()];
}

/** The layouts of sets by their names, for as long as their definitions are in use. */
const known = new WeakMap<readonly SetDefinition[], ReadonlyMap<string, WireSet>>();

function wireSets(definitions: readonly SetDefinition[]): ReadonlyMap<string, WireSet> {
  let found = known.get(definitions);
  if (found === undefined) {
    found = new Map(definitions.map((one) => [one.name, wireSet(one)] as const).filter(isKnown));
    known.set(definitions, found);
  }
  return found;
}

const isKnown = (entry: readonly [string, WireSet | undefined]): entry is [string, WireSet] => entry[1] !== undefined;

/** The transaction of a split change; where the table is made anew, `skeleton` is what its text makes. Pure. */
export function batchOf(table: TableWithSets, { deleted, added }: SplitChange, skeleton?: Skeleton): NftBatch {
  const batch = new NftBatch(table);
  if (skeleton !== undefined) {
    // The first message makes the second one valid when there is no table yet.
    batch.message(nftMessage.newTable, create, 'the making');
    batch.message(nftMessage.deleteTable, 0, 'the deletion');
    batch.message(nftMessage.newTable, create, 'the making');
    for (const { type, flags, what, attributes } of skeleton) batch.message(type, flags, what, attributes);
  }
  for (const { set, elements } of deleted) batch.elements('deleting', set, elements);
  for (const { set, elements } of added) batch.elements('adding', set, elements);
  return batch;
}

// A transaction of this size keeps the thread for about 3 ms; a thread of libuv's pool costs less than one.
const hereLimit = 64 * 1024;
/** A transaction of this size makes more announcements than a monitor holds. */
const announcedLimit = 256 * 1024;
const signalTries = 5;
const EINTR = 4;

/** Has the kernel do the transaction. Throws a SystemCallError that names what it refused: nothing was done then. */
export async function sendBatch(netlink: Netlink, batch: NftBatch): Promise<void> {
  const messages = batch.end();
  for (let tries = 1; ; tries++) {
    const answers = await transact(netlink, messages);
    const refusals = answers.map(refusalIn).filter((refusal) => refusal !== undefined);
    const [first] = refusals;
    if (first === undefined) {
      if (answers.some((answer) => isAnswer(answer, batch.acknowledged))) return;
      throw new Error('changing nftables: the kernel gave no answer');
    }
    // A signal came while the kernel looked at the whole.
    if (first.errno === EINTR && tries < signalTries) continue;
    throw refusalError(describe(batch, first, refusals.length), first);
  }
}

function transact(netlink: Netlink, messages: Buffer): Promise<Message[]> {
  if (messages.length <= hereLimit) return netlink.transact(messages, 'here');
  const inPool = (): Promise<Message[]> => netlink.transact(messages, 'in-pool');
  return messages.length <= announcedLimit ? inPool() : unannounced(netfilterProtocol, inPool);
}

function describe(batch: NftBatch, { sequence, offset }: Refusal, count: number): string {
  return `${batch.whatOf(sequence, offset)}${count > 1 ? ` (and ${count - 1} more)` : ''}`;
}
