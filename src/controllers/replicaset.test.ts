import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../k8s/object.ts';
import type { ReplicaSet } from '../k8s/types.generated.ts';
import { rankForDeletion } from './deletion-rank.ts';
import type { StoredPod } from './owned-pods.ts';
import { decideReplicaSet } from './replicaset.ts';

const replicaSet = (replicas: number, minReadySeconds = 0): Stored<ReplicaSet> => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name: 'r', uid: 'r', resourceVersion: '1', creationTimestamp: '', generation: 2 },
  spec: { replicas, minReadySeconds, selector: {} },
});
interface State {
  readonly node?: string;
  readonly phase?: string;
  readonly readyAt?: string;
  readonly cost?: string;
  readonly restarts?: number;
  readonly created?: string;
}
const pod = (
  name: string,
  {
    node = 'n1',
    phase = 'Running',
    readyAt = '2026-01-01T00:00:00Z',
    cost,
    restarts = 0,
    created = '2026-01-01T00:00:00Z',
  }: State = {},
): StoredPod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    name,
    uid: name,
    resourceVersion: '1',
    creationTimestamp: created,
    ...(cost !== undefined && { annotations: { 'controller.kubernetes.io/pod-deletion-cost': cost } }),
  },
  spec: { containers: [], nodeName: node },
  status: {
    phase,
    conditions: [{ type: 'Ready', status: readyAt === '' ? 'False' : 'True', lastTransitionTime: readyAt }],
    containerStatuses: [{ name: 'c', image: '', imageID: '', ready: true, restartCount: restarts }],
  },
});
const first = (...pods: StoredPod[]): string | undefined => rankForDeletion(pods)[0]?.metadata.name;

test("pods are deleted in upstream's order", () => {
  assert.equal(first(pod('a'), pod('unplaced', { node: '' })), 'unplaced');
  assert.equal(first(pod('a'), pod('pending', { phase: 'Pending' })), 'pending');
  assert.equal(first(pod('a'), pod('unready', { readyAt: '' })), 'unready');
  assert.equal(first(pod('a'), pod('cheap', { cost: '-1' })), 'cheap');
  assert.notEqual(first(pod('a'), pod('b'), pod('alone', { node: 'n2' })), 'alone');
  assert.equal(first(pod('a'), pod('lately', { readyAt: '2026-01-02T00:00:00Z' })), 'lately');
  assert.equal(first(pod('a'), pod('restarted', { restarts: 3 })), 'restarted');
  assert.equal(first(pod('a'), pod('young', { created: '2026-01-02T00:00:00Z' })), 'young');
});

test('what is missing is created and what is too much deleted; ended and deleted pods do not count', () => {
  const going = { ...pod('g'), metadata: { ...pod('g').metadata, deletionTimestamp: 'x' } };
  const decision = decideReplicaSet(replicaSet(3), [pod('a'), pod('f', { phase: 'Failed' }), going], [], 0);
  assert.equal(decision.create, 2);
  assert.equal(decision.status.terminatingReplicas, 1);
  assert.equal(decideReplicaSet(replicaSet(1), [pod('a'), pod('b')], [], 0).remove.length, 1);
});

test('a pod is available minReadySeconds after it became ready', () => {
  const now = Date.parse('2026-01-01T00:00:04Z');
  const { status, again } = decideReplicaSet(replicaSet(1, 10), [pod('a')], [], now);
  assert.deepEqual([status.readyReplicas, status.availableReplicas, again], [1, 0, 6000]);
});
