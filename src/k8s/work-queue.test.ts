import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createWorkQueue } from './work-queue.ts';

test('a key that is added often runs once; added while it runs, once more', async () => {
  const runs: string[] = [];
  const gate = Promise.withResolvers<void>();
  const queue = createWorkQueue({
    run: async (key) => {
      runs.push(key);
      if (runs.length === 1) {
        queue.add(key);
        queue.add(key);
        await gate.promise;
      }
    },
  });
  queue.add('a');
  queue.add('a');
  setImmediate(() => gate.resolve());
  await queue.idle();
  assert.deepEqual(runs, ['a', 'a']);
});

test('no more keys run at once than the concurrency allows', async () => {
  let running = 0;
  let most = 0;
  const queue = createWorkQueue({
    concurrency: 2,
    run: async () => {
      most = Math.max(most, ++running);
      await new Promise((done) => setImmediate(done));
      running--;
    },
  });
  for (const key of 'abcdef') queue.add(key);
  await queue.idle();
  assert.equal(most, 2);
});

test('a failure is told and retried with back-off until it succeeds', async () => {
  const done = Promise.withResolvers<void>();
  const told: number[] = [];
  let runs = 0;
  const queue = createWorkQueue({
    backOff: { initialMs: 1, maxMs: 2 },
    onError: (_key, _error, failures) => told.push(failures),
    run: async () => {
      if (++runs < 4) throw new Error('not yet');
      done.resolve();
    },
  });
  queue.add('a');
  await done.promise;
  assert.deepEqual(told, [1, 2, 3]);
  await queue.stop();
});

test('after stop nothing runs and what ran has ended', async () => {
  let runs = 0;
  const queue = createWorkQueue({ run: async () => void runs++ });
  queue.addAfter('later', 60_000);
  queue.add('a');
  await queue.stop();
  queue.add('b');
  await queue.idle();
  assert.ok(runs <= 1);
});
