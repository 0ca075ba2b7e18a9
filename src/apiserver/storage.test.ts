import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ApiObject } from './object.ts';
import { StatusError } from './schema/errors.ts';
import { type Change, Storage } from './storage.ts';

const shelf = '/configmaps';

function object(name: string, value = 0, namespace = 'default'): ApiObject {
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data: { value: String(value) } };
}

/** Runs with the path of a database that is removed afterwards. */
function withFile<T>(body: (file: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), 'weft-storage-'));
  try {
    return body(join(folder, 'data.db'));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const names = (objects: readonly ApiObject[]): string[] =>
  objects.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`);

test('each write gets the next revision, and readers see it at once', () => {
  const storage = new Storage(':memory:');
  assert.equal(storage.put(shelf, object('a')).metadata.resourceVersion, '1');
  assert.equal(storage.put('/secrets', object('s')).metadata.resourceVersion, '2');
  assert.equal(storage.put(shelf, object('a', 1)).metadata.resourceVersion, '3');
  assert.equal(storage.delete(shelf, 'default', 'a')?.metadata.resourceVersion, '4');
  assert.equal(storage.get(shelf, 'default', 'a'), undefined);
  assert.equal(storage.delete(shelf, 'default', 'a'), undefined);
  assert.equal(storage.revision, 4);
});

test('a list is ordered by namespace and name, and can be of one namespace', () => {
  const storage = new Storage(':memory:');
  for (const [name, namespace] of [
    ['b', 'n2'],
    ['a', 'n2'],
    ['c', 'n1'],
    ['d', 'n10'],
  ] as const)
    storage.put(shelf, object(name, 0, namespace));
  assert.deepEqual(names(storage.list(shelf, 'n2')), ['n2/a', 'n2/b']);
  assert.deepEqual(names(storage.list(shelf, 'n1')), ['n1/c']);
  assert.equal(storage.list(shelf).length, 4);
});

test('a list of the past shows what was then', () => {
  const storage = new Storage(':memory:');
  storage.put(shelf, object('a', 1));
  const then = storage.revision;
  storage.put(shelf, object('a', 2));
  storage.put(shelf, object('b'));
  storage.delete(shelf, 'default', 'a');
  assert.deepEqual(
    storage.listAt(shelf, undefined, then).map((one) => one.data),
    [{ value: '1' }],
  );
});

test('changes since a revision carry the state before them', () => {
  const storage = new Storage(':memory:');
  storage.put(shelf, object('a', 1));
  storage.put(shelf, object('a', 2));
  storage.delete(shelf, 'default', 'a');
  const changes = storage.changesSince(shelf, 1);
  assert.deepEqual(
    changes.map(({ revision, deleted, old }) => ({ revision, deleted, old: old?.data })),
    [
      { revision: 2, deleted: false, old: { value: '1' } },
      { revision: 3, deleted: true, old: { value: '2' } },
    ],
  );
});

test('what is forgotten answers 410, and the present state stays', () => {
  const storage = new Storage(':memory:');
  storage.put(shelf, object('a', 1));
  storage.put(shelf, object('a', 2));
  storage.put(shelf, object('b'));
  storage.delete(shelf, 'default', 'b');
  storage.compact(4);
  storage.put(shelf, object('c'));
  const isGone = (error: unknown): boolean => error instanceof StatusError && error.status.code === 410;
  assert.throws(() => storage.changesSince(shelf, 2), isGone);
  assert.throws(() => storage.listAt(shelf, undefined, 2), isGone);
  assert.equal(storage.changesSince(shelf, 4).length, 1);
  assert.deepEqual(names(storage.list(shelf)), ['default/a', 'default/c']);
});

test('a compaction never lets revisions be used twice', () =>
  withFile((file) => {
    const first = new Storage(file);
    first.put(shelf, object('a'));
    first.delete(shelf, 'default', 'a');
    first.compact(2);
    first.close();
    const second = new Storage(file);
    assert.equal(second.put(shelf, object('b')).metadata.resourceVersion, '3');
    second.close();
  }));

test('any sequence of writes is the same after opening again, and is told in full to a watcher', () => {
  const operation = fc.record({
    name: fc.constantFrom('a', 'b', 'c'),
    namespace: fc.constantFrom('n1', 'n2'),
    action: fc.constantFrom('put', 'put', 'delete', 'compact'),
    value: fc.nat(9),
  });
  withFile((file) =>
    fc.assert(
      fc.property(fc.array(operation, { maxLength: 30 }), (operations) => {
        for (const suffix of ['', '-wal', '-shm']) rmSync(file + suffix, { force: true });
        const storage = new Storage(file);
        const replica = new Map<string, ApiObject>();
        let last = 0;
        storage.subscribe(shelf, (change: Change) => {
          assert.ok(change.revision > last);
          last = change.revision;
          const key = `${change.object.metadata.namespace}/${change.object.metadata.name}`;
          assert.deepEqual(change.old, replica.get(key));
          if (change.deleted) replica.delete(key);
          else replica.set(key, change.object);
        });
        for (const { name, namespace, action, value } of operations) {
          if (action === 'put') storage.put(shelf, object(name, value, namespace));
          else if (action === 'delete') storage.delete(shelf, namespace, name);
          else storage.compact(storage.revision - 2);
        }
        const before = storage.list(shelf);
        const { revision } = storage;
        storage.close();
        assert.deepEqual([...replica.values()].sort(byKey), [...before].sort(byKey));
        const again = new Storage(file);
        assert.deepEqual(again.list(shelf), before);
        assert.equal(again.revision, revision);
        again.close();
      }),
      { numRuns: 25 },
    ),
  );
});

const byKey = (a: ApiObject, b: ApiObject): number =>
  names([a])
    .join()
    .localeCompare(names([b]).join());
