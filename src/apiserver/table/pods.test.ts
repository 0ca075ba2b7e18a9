import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ContainerStatus, Pod } from '../../k8s/types.generated.ts';
import { summarize } from './pods.ts';

const status = (name: string, more: Partial<ContainerStatus>): ContainerStatus => ({
  name,
  image: 'i',
  imageID: '',
  ready: false,
  restartCount: 0,
  ...more,
});

const pod = (more: Omit<Partial<Pod>, 'spec'> & { spec?: Partial<Pod['spec']> }): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  ...more,
  metadata: { name: 'p', ...more.metadata },
  spec: { containers: [{ name: 'c' }], ...more.spec },
});

const shown = (value: Pod): string => {
  const { ready, total, reason } = summarize(value);
  return `${ready}/${total} ${reason}`;
};

const running = { running: { startedAt: '2026-01-01T00:00:00Z' } };

test('the status column shows the phase until a container says more', () => {
  assert.equal(shown(pod({ status: { phase: 'Pending' } })), '0/1 Pending');
  assert.equal(
    shown(pod({ status: { phase: 'Running', containerStatuses: [status('c', { ready: true, state: running })] } })),
    '1/1 Running',
  );
  const waiting = { waiting: { reason: 'CrashLoopBackOff' } };
  assert.equal(
    shown(pod({ status: { phase: 'Running', containerStatuses: [status('c', { state: waiting })] } })),
    '0/1 CrashLoopBackOff',
  );
});

test('a container that ended shows its reason, signal or exit code', () => {
  const ended = (terminated: object): Pod =>
    pod({
      status: {
        phase: 'Failed',
        containerStatuses: [status('c', { state: { terminated: { exitCode: 3, ...terminated } } })],
      },
    });
  assert.equal(shown(ended({ reason: 'Error' })), '0/1 Error');
  assert.equal(shown(ended({ signal: 9 })), '0/1 Signal:9');
  assert.equal(shown(ended({})), '0/1 ExitCode:3');
});

test('while init containers run, their progress is shown', () => {
  const init = (state: object): Pod =>
    pod({
      spec: { initContainers: [{ name: 'i1' }, { name: 'i2' }] },
      status: {
        phase: 'Pending',
        initContainerStatuses: [status('i1', { state: { terminated: { exitCode: 0 } } }), status('i2', { state })],
      },
    });
  assert.equal(shown(init(running)), '0/1 Init:1/2');
  assert.equal(shown(init({ waiting: { reason: 'ImagePullBackOff' } })), '0/1 Init:ImagePullBackOff');
  assert.equal(shown(init({ terminated: { exitCode: 1, reason: 'Error' } })), '0/1 Init:Error');
});

test('a sidecar counts among the containers', () => {
  const sidecar = pod({
    spec: { initContainers: [{ name: 's', restartPolicy: 'Always' }] },
    status: {
      phase: 'Running',
      initContainerStatuses: [status('s', { ready: true, started: true, state: running })],
      containerStatuses: [status('c', { ready: true, state: running })],
    },
  });
  assert.equal(shown(sidecar), '2/2 Running');
});

test('one completed container among running ones does not hide them', () => {
  const mixed = (ready: string): Pod =>
    pod({
      spec: { containers: [{ name: 'a' }, { name: 'b' }] },
      status: {
        phase: 'Running',
        conditions: [{ type: 'Ready', status: ready }],
        containerStatuses: [
          status('a', { state: { terminated: { exitCode: 0, reason: 'Completed' } } }),
          status('b', { ready: true, state: running }),
        ],
      },
    });
  assert.equal(shown(mixed('True')), '1/2 Running');
  assert.equal(shown(mixed('False')), '1/2 NotReady');
});

test('a pod that is being deleted is Terminating, unless it has ended already', () => {
  const metadata = { name: 'p', deletionTimestamp: '2026-01-01T00:00:00Z' };
  assert.equal(shown(pod({ metadata, status: { phase: 'Running' } })), '0/1 Terminating');
  assert.equal(shown(pod({ metadata, status: { phase: 'Succeeded' } })), '0/1 Succeeded');
});
