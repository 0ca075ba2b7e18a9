// Which instance of a container is meant, and the texts that users see when there is none.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerState } from '../../k8s/types.generated.ts';
import type { PodContainer, PodInstance } from '../runtime.ts';
import { loggedContainer, runningContainer } from './containers.ts';

const container = (attempt: number, state: PodContainer['state']): PodContainer => ({
  name: 'main',
  id: `c${attempt}`,
  state,
  logPath: `/log/${attempt}`,
  attempt,
});
const instance = (containers: readonly PodContainer[], state?: ContainerState): PodInstance => ({
  pod: {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'default' },
    spec: { containers: [{ name: 'main', image: 'x' }] },
    status: {
      containerStatuses: [
        { name: 'main', image: 'x', imageID: '', ready: false, restartCount: 0, ...(state && { state }) },
      ],
    },
  },
  containers,
});
const names = { namespace: 'default', pod: 'web', container: 'main' };
const logged = (of: PodInstance | undefined, previous = false, container = 'main'): string => {
  const found = loggedContainer(of, { ...names, container }, previous);
  return found.ok ? found.value.id : `${found.failure.code} ${found.failure.message}`;
};

test('exec goes to the instance that runs', () => {
  const found = runningContainer(instance([container(0, 'exited'), container(1, 'running')]), 'main');
  assert.equal(found.ok && found.value.id, 'c1');
  const ended = runningContainer(instance([container(0, 'exited')]), 'main');
  assert.equal(!ended.ok && ended.failure.message, 'container not found ("main")');
});

test('the log is that of the newest instance, --previous that of the one before', () => {
  const both = instance([container(0, 'exited'), container(1, 'running')]);
  assert.equal(logged(both), 'c1');
  assert.equal(logged(both, true), 'c0');
  assert.equal(
    logged(instance([container(0, 'running')]), true),
    '400 previous terminated container "main" in pod "web" not found',
  );
});

test('in CrashLoopBackOff the newest instance is both the current and the previous one', () => {
  const waiting = instance([container(2, 'exited'), container(1, 'exited')], {
    waiting: { reason: 'CrashLoopBackOff' },
  });
  assert.equal(logged(waiting), 'c2');
  assert.equal(logged(waiting, true), 'c2');
});

test('a container that has not started says why', () => {
  assert.equal(
    logged(instance([], { waiting: { reason: 'ImagePullBackOff' } })),
    '400 container "main" in pod "web" is waiting to start: trying and failing to pull image',
  );
  assert.equal(
    logged(instance([], { waiting: { reason: 'ContainerCreating' } })),
    '400 container "main" in pod "web" is waiting to start: ContainerCreating',
  );
  assert.equal(logged(instance([]), false, 'other'), '400 container other is not valid for pod web');
  assert.equal(logged(undefined), '404 pod "web" not found on this node');
});
