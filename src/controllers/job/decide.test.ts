import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { conditionOf } from '../../k8s/conditions.ts';
import type { Job, JobSpec, PodStatus } from '../../k8s/types.generated.ts';
import type { StoredPod } from '../owned-pods.ts';
import { decideJob, indexAnnotation } from './decide.ts';
import { formatIndexes, parseIndexes } from './indexes.ts';

const start = Date.parse('2026-01-01T00:00:00Z');
const job = (spec: Partial<JobSpec>, status: Job['status'] = {}): Job => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name: 'j' },
  spec: { template: {}, parallelism: 1, completions: 1, ...spec },
  status,
});
const pod = (name: string, phase: string, more: { index?: number; status?: PodStatus } = {}): StoredPod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    namespace: 'n',
    uid: name,
    resourceVersion: '1',
    creationTimestamp: '2026-01-01T00:00:00Z',
    ...(more.index !== undefined && { annotations: { [indexAnnotation]: String(more.index) } }),
  },
  spec: { containers: [] },
  status: { phase, ...more.status },
});
const decide = (what: Job, pods: StoredPod[] = [], now = start, past = { succeeded: 0, failed: 0 }) =>
  decideJob({ job: what, pods, past, now });
const reasonOf = (decision: ReturnType<typeof decide>, type: string) =>
  conditionOf(decision.status.conditions, type)?.reason;

test('as many pods run as parallelism allows and completions still need', () => {
  assert.equal(decide(job({ completions: 5, parallelism: 3 })).create.length, 3);
  assert.equal(
    decide(job({ completions: 5, parallelism: 3 }), [
      pod('a', 'Succeeded'),
      pod('b', 'Succeeded'),
      pod('c', 'Succeeded'),
      pod('d', 'Succeeded'),
    ]).create.length,
    1,
  );
  assert.equal(
    decide(job({ completions: 5, parallelism: 1 }), [pod('a', 'Running'), pod('b', 'Running')]).remove.length,
    1,
  );
});

test('it is complete when enough have succeeded, those that are gone counted too', () => {
  const done = decide(job({ completions: 2 }), [pod('a', 'Succeeded')], start, { succeeded: 1, failed: 0 });
  assert.equal(reasonOf(done, 'Complete'), 'CompletionsReached');
  assert.equal(done.status.succeeded, 2);
  assert.equal(decide(job({ completions: 2 }, { succeeded: 2 })).status.succeeded, 2);
});

test('a failed pod is replaced after a back-off, until the limit is passed', () => {
  const failed = pod('a', 'Failed');
  const waiting = decide(job({ backoffLimit: 1 }), [failed], start + 1000);
  assert.deepEqual([waiting.create.length, waiting.again], [0, 9000]);
  assert.equal(decide(job({ backoffLimit: 1 }), [failed], start + 10_000).create.length, 1);
  const over = decide(job({ backoffLimit: 1 }), [failed, pod('b', 'Failed'), pod('c', 'Running')], start);
  assert.equal(over.remove.length, 1);
  assert.equal(reasonOf(over, 'FailureTarget'), 'BackoffLimitExceeded');
  assert.equal(reasonOf(over, 'Failed'), undefined, 'not before its pods have ended');
});

test('podFailurePolicy fails the Job, or does not count the failure', () => {
  const rules = [
    { action: 'FailJob', onExitCodes: { operator: 'In', values: [42] } },
    { action: 'Ignore', onPodConditions: [{ type: 'DisruptionTarget', status: 'True' }] },
  ];
  const container = { name: 'c', image: '', imageID: '', ready: false, restartCount: 0 };
  const bad = pod('a', 'Failed', {
    status: { containerStatuses: [{ ...container, state: { terminated: { exitCode: 42 } } }] },
  });
  const decision = decide(job({ podFailurePolicy: { rules } }), [bad]);
  assert.equal(
    conditionOf(decision.status.conditions, 'Failed')?.message,
    'Container c for pod n/a failed with exit code 42 matching FailJob rule at index 0',
  );
  const moved = pod('b', 'Failed', { status: { conditions: [{ type: 'DisruptionTarget', status: 'True' }] } });
  assert.equal(decide(job({ podFailurePolicy: { rules }, backoffLimit: 0 }), [moved]).create.length, 1);
});

test('a suspended Job has no pods and starts its clock anew', () => {
  const decision = decide(job({ suspend: true }, { startTime: '2025-01-01T00:00:00Z' }), [pod('a', 'Running')]);
  assert.equal(decision.remove.length, 1);
  assert.equal(decision.status.startTime, undefined);
  assert.equal(reasonOf(decision, 'Suspended'), 'JobSuspended');
});

test('an Indexed Job starts the lowest indexes that neither run nor are done', () => {
  const pods = [pod('a', 'Succeeded', { index: 0 }), pod('b', 'Running', { index: 2 })];
  const decision = decide(job({ completionMode: 'Indexed', completions: 5, parallelism: 3 }), pods);
  assert.deepEqual(decision.create, [1, 3]);
  assert.equal(decision.status.completedIndexes, '0');
});

test('indexes are written in ranges and read back', () => {
  assert.equal(formatIndexes([7, 3, 4, 5, 1, 0]), '0,1,3-5,7');
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 0, max: 50 })), (indexes) => {
      assert.deepEqual([...parseIndexes(formatIndexes(indexes))].sort(), [...indexes].sort());
    }),
  );
});
