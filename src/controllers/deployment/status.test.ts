import assert from 'node:assert/strict';
import { test } from 'node:test';
import { conditionOf } from '../../k8s/conditions.ts';
import type { Deployment, DeploymentStatus, ReplicaSet } from '../../k8s/types.generated.ts';
import { decideStatus, type SetEvent } from './status.ts';

const deployment = (status?: DeploymentStatus): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: 'd', generation: 1 },
  spec: { replicas: 2, selector: {}, template: {}, progressDeadlineSeconds: 600 },
  ...(status !== undefined && { status }),
});
const set = (available: number): ReplicaSet => ({
  apiVersion: 'apps/v1',
  kind: 'ReplicaSet',
  metadata: { name: 'd-1' },
  spec: { replicas: 2, selector: {} },
  status: { replicas: 2, readyReplicas: available, availableReplicas: available },
});
const decide = (
  before: DeploymentStatus | undefined,
  available: number,
  now: number,
  event?: SetEvent,
  failure?: string,
) => {
  const newest = set(available);
  return decideStatus({ deployment: deployment(before), newest, all: [newest], event, failure, now });
};
const reason = (status: DeploymentStatus): string | undefined => conditionOf(status.conditions, 'Progressing')?.reason;

test('the conditions tell a rollout from its beginning to its end', () => {
  const begun = decide(undefined, 0, 0, 'NewReplicaSetCreated');
  assert.equal(reason(begun.status), 'NewReplicaSetCreated');
  assert.equal(conditionOf(begun.status.conditions, 'Available')?.status, 'False');
  const half = decide(begun.status, 1, 1000);
  assert.equal(reason(half.status), 'ReplicaSetUpdated');
  const done = decide(half.status, 2, 2000);
  assert.equal(reason(done.status), 'NewReplicaSetAvailable');
  assert.equal(
    conditionOf(done.status.conditions, 'Progressing')?.message,
    'ReplicaSet "d-1" has successfully progressed.',
  );
  assert.deepEqual(decide(done.status, 2, 9000).status, done.status, 'nothing changes any more');
});

test('without progress the deadline passes, and a pod lost after the end does not start it', () => {
  const begun = decide(undefined, 0, 0, 'NewReplicaSetCreated');
  assert.equal(decide(begun.status, 0, 300_000).deadlineIn, 300_000);
  assert.equal(reason(decide(begun.status, 0, 600_000).status), 'ProgressDeadlineExceeded');
  const done = decide(begun.status, 2, 1000);
  assert.equal(reason(decide(done.status, 1, 900_000).status), 'NewReplicaSetAvailable');
});

test('a ReplicaSet that cannot be created is told of', () => {
  const { status } = decide(undefined, 0, 0, undefined, 'exceeded quota');
  assert.equal(reason(status), 'ReplicaSetCreateError');
  assert.equal(conditionOf(status.conditions, 'ReplicaFailure')?.message, 'exceeded quota');
});
