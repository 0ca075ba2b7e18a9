import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../../k8s/types.generated.ts';
import { asIp } from '../../net/address.ts';
import { podStatus } from './api-status.ts';
import { containerOf, exitedOf, instanceOf, podOf, runtimeOf, sandboxOf } from './fixtures.ts';
import { qosClassOf } from './phase.ts';
import type { PodRuntime } from './runtime-status.ts';

interface Known {
  readonly waiting?: Record<string, string>;
  readonly ready?: boolean;
  readonly started?: boolean;
  readonly terminating?: boolean;
}

function statusOf(pod: Pod, runtime: PodRuntime, known: Known = {}) {
  return podStatus({
    pod,
    runtime,
    knowledge: {
      waiting: (name) => (known.waiting?.[name] === undefined ? undefined : { reason: known.waiting[name] }),
      ready: () => known.ready ?? true,
      started: () => known.started ?? true,
    },
    terminating: known.terminating ?? false,
    hostIps: [asIp('172.18.0.2')],
    now: '2026-01-01T00:00:00Z',
  });
}

const conditionOf = (status: ReturnType<typeof podStatus>, type: string) =>
  status.conditions?.find((condition) => condition.type === type);

test('before anything runs a pod is Pending and its container ContainerCreating', () => {
  const status = statusOf(podOf({ containers: [containerOf('a')] }), runtimeOf([], []));
  assert.equal(status.phase, 'Pending');
  assert.equal(status.containerStatuses?.[0]?.state?.waiting?.reason, 'ContainerCreating');
  assert.equal(conditionOf(status, 'PodReadyToStartContainers')?.status, 'False');
  assert.equal(conditionOf(status, 'Ready')?.message, 'containers with unready status: [a]');
});

test('the address is reported as soon as the sandbox is up', () => {
  const pod = podOf({ initContainers: [containerOf('i')], containers: [containerOf('a')] });
  const status = statusOf(pod, runtimeOf([]));
  assert.equal(status.podIP, '10.244.0.2');
  assert.equal(status.containerStatuses?.[0]?.state?.waiting?.reason, 'PodInitializing');
  assert.equal(conditionOf(status, 'PodReadyToStartContainers')?.status, 'True');
  assert.equal(conditionOf(status, 'Initialized')?.message, 'containers with incomplete status: [i]');
});

test('a running and ready pod', () => {
  const status = statusOf(podOf({ containers: [containerOf('a')] }), runtimeOf([instanceOf('a')]));
  assert.equal(status.phase, 'Running');
  assert.equal(conditionOf(status, 'Ready')?.status, 'True');
  assert.equal(status.containerStatuses?.[0]?.ready, true);
  assert.equal(status.containerStatuses?.[0]?.containerID, 'containerd://a-0');
});

test('a container that is not ready makes the pod not ready, but it runs', () => {
  const status = statusOf(podOf({ containers: [containerOf('a')] }), runtimeOf([instanceOf('a')]), { ready: false });
  assert.equal(status.phase, 'Running');
  assert.equal(conditionOf(status, 'Ready')?.reason, 'ContainersNotReady');
});

test('a crashed container waits in CrashLoopBackOff and shows how it ended', () => {
  const runtime = runtimeOf([exitedOf('a', 2, { attempt: 3 })]);
  const status = statusOf(podOf({ containers: [containerOf('a')] }), runtime, { waiting: { a: 'CrashLoopBackOff' } });
  const [first] = status.containerStatuses ?? [];
  assert.equal(status.phase, 'Running');
  assert.equal(first?.state?.waiting?.reason, 'CrashLoopBackOff');
  assert.equal(first?.lastState?.terminated?.exitCode, 2);
  assert.equal(first?.restartCount, 3);
});

test('pods that run once end Succeeded or Failed; terminal phases stay', () => {
  const pod = podOf({ restartPolicy: 'Never', containers: [containerOf('a')] });
  const good = statusOf(pod, runtimeOf([exitedOf('a', 0)]));
  assert.equal(good.phase, 'Succeeded');
  assert.equal(conditionOf(good, 'Ready')?.reason, 'PodCompleted');
  assert.equal(conditionOf(good, 'Initialized')?.status, 'True');
  assert.equal(statusOf(pod, runtimeOf([exitedOf('a', 1)])).phase, 'Failed');
  assert.equal(statusOf({ ...pod, status: { phase: 'Failed' } }, runtimeOf([], [])).phase, 'Failed');
});

test('a sidecar that still runs keeps the pod Running', () => {
  const side = containerOf('side', { restartPolicy: 'Always' });
  const pod = podOf({ restartPolicy: 'Never', initContainers: [side], containers: [containerOf('a')] });
  assert.equal(statusOf(pod, runtimeOf([exitedOf('a', 0), instanceOf('side')])).phase, 'Running');
  assert.equal(statusOf(pod, runtimeOf([exitedOf('a', 0), exitedOf('side', 0)])).phase, 'Succeeded');
});

test('readiness gates and conditions of others are honoured and kept', () => {
  const pod = podOf({ readinessGates: [{ conditionType: 'x/ok' }], containers: [containerOf('a')] });
  const runtime = runtimeOf([instanceOf('a')]);
  assert.equal(conditionOf(statusOf(pod, runtime), 'Ready')?.reason, 'ReadinessGatesNotReady');
  const met: Pod = { ...pod, status: { conditions: [{ type: 'x/ok', status: 'True' }] } };
  const status = statusOf(met, runtime);
  assert.equal(conditionOf(status, 'Ready')?.status, 'True');
  assert.equal(conditionOf(status, 'x/ok')?.status, 'True');
});

test('the time of a transition changes with the status of a condition alone', () => {
  const pod = podOf({ containers: [containerOf('a')] });
  const old = [
    { type: 'Ready', status: 'True', lastTransitionTime: '2025-01-01T00:00:00Z' },
    { type: 'ContainersReady', status: 'False', lastTransitionTime: '2025-01-01T00:00:00Z' },
  ];
  const status = statusOf({ ...pod, status: { conditions: old } }, runtimeOf([instanceOf('a')]));
  assert.equal(conditionOf(status, 'Ready')?.lastTransitionTime, '2025-01-01T00:00:00Z');
  assert.equal(conditionOf(status, 'ContainersReady')?.lastTransitionTime, '2026-01-01T00:00:00Z');
});

test('a pod in the network of its node has its addresses', () => {
  const pod = podOf({ hostNetwork: true, containers: [containerOf('a')] });
  const status = statusOf(pod, runtimeOf([instanceOf('a')], [sandboxOf({ ips: [] })]));
  assert.deepEqual(status.podIPs, [{ ip: '172.18.0.2' }]);
});

test('quality-of-service classes', () => {
  const of = (resources: object) => qosClassOf(podOf({ containers: [containerOf('a', { resources })] }));
  assert.equal(of({}), 'BestEffort');
  assert.equal(of({ requests: { cpu: '1' } }), 'Burstable');
  assert.equal(of({ limits: { cpu: '1', memory: '1Gi' } }), 'Guaranteed');
  assert.equal(of({ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '500m', memory: '1Gi' } }), 'Burstable');
});
