// Leases: none double, none lost, none left, over any sequence of calls and restarts.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { asCidr, type Ip } from '../net/address.ts';
import { poolOf } from './ipam.ts';
import { attachmentKey, isDamaged, LeaseStore, type NewLease } from './lease-store.ts';
import { CniError, errorCode } from './protocol.ts';
import { noSettings } from './wishes.ts';

const root = mkdtempSync('/tmp/wt-leases-');
after(() => rmSync(root, { recursive: true, force: true }));
let files = 0;
const newFile = (): string => join(root, `${++files}.db`);

const ranges = [asCidr('10.0.0.0/29'), asCidr('fd00::/120')];
const choices = ranges.map((range) => ({ pools: [poolOf(range)] }));
const wanted = (containerId: string): NewLease => ({
  attachment: { containerId, ifname: 'eth0' },
  network: 'weft',
  netns: `/run/netns/${containerId}`,
  pod: `default/${containerId}`,
  settings: noSettings,
});

test('a lease is the same when it is asked for again, also after a restart', () => {
  const file = newFile();
  const store = new LeaseStore(file, { restMs: 0 });
  const first = store.acquire(wanted('a'), choices);
  assert.deepEqual(first.addresses, ['10.0.0.2', 'fd00::2']);
  assert.deepEqual(store.acquire(wanted('a'), choices), first);
  store.complete(first);
  store.setRanges(ranges);
  store.close();
  const again = new LeaseStore(file, { restMs: 0 });
  assert.deepEqual(again.acquire(wanted('a'), choices), { ...first, attached: true });
  assert.deepEqual(again.ranges(), ranges);
  assert.deepEqual(again.acquire(wanted('b'), choices).addresses, ['10.0.0.3', 'fd00::3']);
  again.close();
});

test('a full range refuses with a code, and what was held stays', () => {
  const store = new LeaseStore(newFile(), { restMs: 0 });
  for (const name of ['a', 'b', 'c', 'd', 'e']) store.acquire(wanted(name), choices);
  assert.throws(
    () => store.acquire(wanted('f'), choices),
    (error) => error instanceof CniError && error.code === errorCode.noAddress && /10\.0\.0\.0\/29/.test(error.message),
  );
  assert.equal(store.get(wanted('f').attachment), undefined);
  assert.equal(store.release(wanted('c').attachment), true);
  assert.deepEqual(store.acquire(wanted('f'), choices).addresses[0], '10.0.0.4');
  store.close();
});

test('releasing twice, or what was never there, does nothing', () => {
  const store = new LeaseStore(newFile(), { restMs: 0 });
  store.acquire(wanted('a'), choices);
  assert.equal(store.release(wanted('a').attachment), true);
  assert.equal(store.release(wanted('a').attachment), false);
  assert.deepEqual(store.list(), []);
  store.close();
});

test('a file that is no database is told from other failures', () => {
  const file = newFile();
  writeFileSync(file, 'x'.repeat(8192));
  assert.throws(() => new LeaseStore(file, { restMs: 0 }), isDamaged);
  assert.throws(
    () => new LeaseStore('/dev/null/leases.db'),
    (error) => !isDamaged(error),
  );
});

test('a change that the disk refuses changes nothing in memory either', () => {
  const file = newFile();
  const store = new LeaseStore(file, { restMs: 0 });
  store.acquire(wanted('a'), choices);
  store.close();
  assert.throws(() => store.acquire(wanted('b'), choices));
  assert.throws(() => store.release(wanted('a').attachment));
  assert.equal(store.get(wanted('b').attachment), undefined);
  assert.notEqual(store.get(wanted('a').attachment), undefined);
});

interface Step {
  readonly do: 'acquire' | 'complete' | 'release';
  readonly who: string;
}

const steps = fc.array(
  fc.oneof(
    {
      weight: 9,
      arbitrary: fc.record({
        do: fc.constantFrom('acquire' as const, 'complete' as const, 'release' as const),
        who: fc.constantFrom(...'abcdefgh'),
      }),
    },
    { weight: 1, arbitrary: fc.constant({ do: 'restart' as const }) },
  ),
  { maxLength: 40 },
);

test('over any sequence of calls and restarts no address is held by two, none is lost, none is left', () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const file = newFile();
      let store = new LeaseStore(file, { restMs: 0 });
      const model = new Map<string, readonly Ip[]>();
      for (const step of sequence) {
        if (step.do === 'restart') {
          store.close();
          store = new LeaseStore(file, { restMs: 0 });
        } else apply(store, model, step);
        compare(store, model);
      }
      for (const key of [...model.keys()]) store.release({ containerId: key, ifname: 'eth0' });
      assert.deepEqual(store.list(), []);
      assert.equal(store.isFull(asCidr('10.0.0.0/29')), false);
      store.close();
    }),
    { numRuns: 25 },
  );
});

function apply(store: LeaseStore, model: Map<string, readonly Ip[]>, step: Step): void {
  const lease = store.get(wanted(step.who).attachment);
  if (step.do === 'release') {
    assert.equal(store.release(wanted(step.who).attachment), model.delete(step.who));
  } else if (step.do === 'complete') {
    if (lease !== undefined) store.complete(lease);
  } else if (model.size < 5 || model.has(step.who)) {
    const { addresses } = store.acquire(wanted(step.who), choices);
    assert.deepEqual(addresses, model.get(step.who) ?? addresses);
    model.set(step.who, addresses);
  } else {
    assert.throws(() => store.acquire(wanted(step.who), choices), CniError);
  }
}

function compare(store: LeaseStore, model: ReadonlyMap<string, readonly Ip[]>): void {
  const held = new Map(store.list().map((lease) => [attachmentKey(lease.attachment).split('/')[0], lease.addresses]));
  assert.deepEqual(held, new Map(model));
  const all = [...model.values()].flat();
  assert.equal(new Set(all).size, all.length);
}
