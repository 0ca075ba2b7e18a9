import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MemoryRelease } from './memory-release.ts';

test('memory is given back after a large start, and when many changes are over', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let resident = 300e6;
  let releases = 0;
  const memory = new MemoryRelease({
    resident: () => resident,
    release() {
      releases++;
      resident = 150e6;
    },
  });
  memory.changed();
  context.mock.timers.tick(60_000);
  assert.equal(releases, 0, 'before the start is over');
  memory.started(true);
  context.mock.timers.tick(1_000);
  memory.changed();
  context.mock.timers.tick(1_000);
  assert.equal(releases, 1);
  resident = 160e6;
  memory.changed();
  context.mock.timers.tick(60_000);
  assert.equal(releases, 1, 'it grew by little');
  resident = 300e6;
  memory.changed();
  context.mock.timers.tick(15_000);
  memory.changed();
  context.mock.timers.tick(15_000);
  assert.equal(releases, 1, 'it is not quiet yet');
  context.mock.timers.tick(5_000);
  assert.equal(releases, 2);
});

test('a small start gives nothing back', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const memory = new MemoryRelease({ resident: () => 80e6, release: () => assert.fail('nothing to give back') });
  memory.started(false);
  memory.changed();
  context.mock.timers.tick(60_000);
  memory.stop();
});
