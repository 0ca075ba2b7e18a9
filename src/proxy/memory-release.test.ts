import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { MemoryRelease } from './memory-release.ts';

/** Both clocks at once: the timers' and the one that is read. */
function clockOf(context: TestContext) {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  let now = 0;
  context.mock.method(performance, 'now', () => now);
  return (ms: number): void => {
    now += ms;
    context.mock.timers.tick(ms);
  };
}

test('memory is given back after a large start, and when many changes are over', (context) => {
  const pass = clockOf(context);
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
  pass(60_000);
  assert.equal(releases, 0, 'before the start is over');
  memory.started(true);
  pass(1_000);
  memory.changed();
  pass(1_000);
  assert.equal(releases, 0, 'it is not quiet yet');
  pass(1_000);
  assert.equal(releases, 1);
  resident = 160e6;
  memory.changed();
  pass(60_000);
  assert.equal(releases, 1, 'it grew by little');
  resident = 300e6;
  memory.changed();
  pass(15_000);
  memory.changed();
  pass(15_000);
  assert.equal(releases, 1, 'it is not quiet yet');
  pass(5_000);
  assert.equal(releases, 2);
});

test('a start whose changes never end gives its memory back after a minute', (context) => {
  const pass = clockOf(context);
  let releases = 0;
  const memory = new MemoryRelease({ resident: () => 300e6, release: () => releases++ });
  memory.started(true);
  for (let second = 1; second < 60; second++) {
    memory.changed();
    pass(1_000);
  }
  assert.equal(releases, 0);
  memory.changed();
  pass(1_000);
  assert.equal(releases, 1);
});

test('a small start gives nothing back', (context) => {
  const pass = clockOf(context);
  const memory = new MemoryRelease({ resident: () => 80e6, release: () => assert.fail('nothing to give back') });
  memory.started(false);
  memory.changed();
  pass(60_000);
  memory.stop();
});
