// What becomes an Event of the node: repairs at once, problems when they last.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createLog } from '../log/log.ts';
import { FabricReport } from './report.ts';

process.env.WEFT_LOG = 'silent';

function reporting() {
  const told: string[] = [];
  const recorder = {
    event: (_: unknown, __: string, reason: string, message: string) => void told.push(`${reason}: ${message}`),
    flush: () => Promise.resolve(),
  };
  return { told, report: new FabricReport(createLog('fabric'), recorder, { kind: 'Node', name: 'a' }) };
}

test('a problem is an Event when it lasts, and none when it is gone before', (context) => {
  context.mock.timers.enable({ apis: ['setTimeout'] });
  const { told, report } = reporting();
  const problem = { owner: 'Node b', reason: 'it is far away' };
  report.problems([problem]);
  context.mock.timers.tick(1_000);
  report.problems([]);
  context.mock.timers.tick(10_000);
  assert.deepEqual(told, []);
  report.problems([problem]);
  context.mock.timers.tick(4_000);
  report.problems([problem]);
  context.mock.timers.tick(1_500);
  assert.deepEqual(told, ['FabricProblem: Node b: it is far away']);
});

test('only what someone else had changed is told as repaired, and a long list by its length', () => {
  const { told, report } = reporting();
  report.written({ done: ['route'], failed: [] }, false);
  report.written({ done: [], failed: [] }, true);
  assert.deepEqual(told, []);
  report.written({ done: Array.from({ length: 12 }, (_, index) => `route ${index}`), failed: [] }, true);
  assert.match(told[0] ?? '', /^FabricRepaired: .*route 9; … 12 in all$/);
});
