import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { StatefulSet, StatefulSetSpec } from '../../k8s/types.generated.ts';
import type { StoredPod } from '../owned-pods.ts';
import { decideStatefulSet, ordinalOf } from './decide.ts';

const set = (replicas: number, spec: Partial<StatefulSetSpec> = {}): StatefulSet => ({
  apiVersion: 'apps/v1',
  kind: 'StatefulSet',
  metadata: { name: 's' },
  spec: { replicas, selector: {}, template: {}, serviceName: 's', ...spec },
});
const pod = (
  ordinal: number,
  { ready = true, revision = 'new', phase = 'Running', going = false } = {},
): StoredPod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name: `s-${ordinal}`,
    uid: `u${ordinal}`,
    resourceVersion: '1',
    creationTimestamp: '',
    labels: { 'controller-revision-hash': revision },
    ...(going && { deletionTimestamp: 'x' }),
  },
  spec: { containers: [] },
  status: { phase, conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }] },
});
const decide = (what: StatefulSet, ...pods: StoredPod[]) => {
  const { create, remove } = decideStatefulSet({ set: what, pods, current: 'old', update: 'new', now: 0 });
  return {
    create: create.map(({ ordinal, revision }) => `${ordinal} ${revision}`),
    remove: remove.map(({ metadata }) => metadata.name),
  };
};

test('pods are made one after the other, each when all before it are ready', () => {
  assert.deepEqual(decide(set(3)), { create: ['0 new'], remove: [] });
  assert.deepEqual(decide(set(3), pod(0, { ready: false })), { create: [], remove: [] });
  assert.deepEqual(decide(set(3), pod(0)), { create: ['1 new'], remove: [] });
  assert.deepEqual(decide(set(3, { podManagementPolicy: 'Parallel' }), pod(1)).create, ['0 new', '2 new']);
});

test('scaling down takes the highest first, and only when the others are ready', () => {
  assert.deepEqual(decide(set(1), pod(0), pod(1), pod(2)).remove, ['s-2']);
  assert.deepEqual(decide(set(1), pod(0), pod(1), pod(2, { going: true })).remove, []);
  assert.deepEqual(decide(set(1), pod(0, { ready: false }), pod(1)).remove, []);
});

test('an update goes from the highest down to the partition, one at a time', () => {
  const old = { revision: 'old' };
  assert.deepEqual(decide(set(3), pod(0, old), pod(1, old), pod(2, old)).remove, ['s-2']);
  assert.deepEqual(decide(set(3), pod(0, old), pod(1, old), pod(2)).remove, ['s-1']);
  const partition = { updateStrategy: { rollingUpdate: { partition: 2 } } };
  assert.deepEqual(decide(set(3, partition), pod(0, old), pod(1, old), pod(2)).remove, []);
  assert.deepEqual(decide(set(3, partition), pod(0, old)).create, ['1 old']);
  assert.deepEqual(decide(set(3, { updateStrategy: { type: 'OnDelete' } }), pod(0, old), pod(1), pod(2)).remove, []);
});

test('a failed pod is replaced, and ordinals start where they are told to', () => {
  assert.deepEqual(decide(set(1), pod(0, { phase: 'Failed', ready: false })).remove, ['s-0']);
  assert.deepEqual(decide(set(2, { ordinals: { start: 5 } }), pod(5)).create, ['6 new']);
});

test('the ordinal is read from the name', () => {
  assert.deepEqual(
    ['s-0', 's-12', 's-01', 's-x', 't-1', 's-'].map((name) => ordinalOf('s', name)),
    [0, 12, undefined, undefined, undefined, undefined],
  );
});
