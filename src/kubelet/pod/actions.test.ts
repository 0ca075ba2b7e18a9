import assert from 'node:assert/strict';
import { test } from 'node:test';
import { computePodActions, type ProbeResults } from './actions.ts';
import { containerOf, exitedOf, instanceOf, podOf, runtimeOf, sandboxOf } from './fixtures.ts';

const noProbes = (): ProbeResults => ({});
const names = (containers: readonly { name: string }[]): string[] => containers.map(({ name }) => name);

test('a new pod gets a sandbox and all its containers', () => {
  const actions = computePodActions(
    podOf({ containers: [containerOf('a'), containerOf('b')] }),
    runtimeOf([], []),
    noProbes,
  );
  assert.equal(actions.createSandbox, true);
  assert.equal(actions.attempt, 0);
  assert.deepEqual(names(actions.containersToStart), ['a', 'b']);
});

test('a running pod needs nothing', () => {
  const actions = computePodActions(podOf({ containers: [containerOf('a')] }), runtimeOf([instanceOf('a')]), noProbes);
  assert.equal(actions.killPod, false);
  assert.equal(actions.createSandbox, false);
  assert.deepEqual(names(actions.containersToStart), []);
  assert.deepEqual(actions.containersToKill, []);
});

test('init containers come one at a time and before the others', () => {
  const pod = podOf({ initContainers: [containerOf('i1'), containerOf('i2')], containers: [containerOf('a')] });
  const step = (runtime: ReturnType<typeof runtimeOf>) => computePodActions(pod, runtime, noProbes);
  assert.deepEqual(names(step(runtimeOf([], [])).initContainersToStart), ['i1']);
  assert.deepEqual(names(step(runtimeOf([instanceOf('i1')])).initContainersToStart), []);
  assert.deepEqual(names(step(runtimeOf([exitedOf('i1', 0)])).initContainersToStart), ['i2']);
  assert.deepEqual(names(step(runtimeOf([exitedOf('i1', 0)])).containersToStart), []);
  assert.deepEqual(names(step(runtimeOf([exitedOf('i2', 0), exitedOf('i1', 0)])).containersToStart), ['a']);
});

test('a failed init container is tried again, or ends the pod where it may not be restarted', () => {
  const spec = { initContainers: [containerOf('i1')], containers: [containerOf('a')] };
  const runtime = runtimeOf([exitedOf('i1', 1)]);
  assert.deepEqual(names(computePodActions(podOf(spec), runtime, noProbes).initContainersToStart), ['i1']);
  const never = computePodActions(podOf({ ...spec, restartPolicy: 'Never' }), runtime, noProbes);
  assert.equal(never.killPod, true);
  assert.deepEqual(names(never.initContainersToStart), []);
});

test('a sidecar lets the next container start when its startup probe has passed, and is restarted when it ends', () => {
  const side = containerOf('side', { restartPolicy: 'Always' });
  const pod = podOf({ initContainers: [side], containers: [containerOf('a')] });
  const running = runtimeOf([instanceOf('side')]);
  assert.deepEqual(names(computePodActions(pod, running, () => ({ startup: 'unknown' })).containersToStart), []);
  assert.deepEqual(names(computePodActions(pod, running, () => ({ startup: 'success' })).containersToStart), ['a']);
  const ended = computePodActions(pod, runtimeOf([instanceOf('a'), exitedOf('side', 0)]), noProbes);
  assert.deepEqual(names(ended.initContainersToStart), ['side']);
});

test('init containers do not run again while the main containers have run in this sandbox', () => {
  const pod = podOf({ initContainers: [containerOf('i1')], containers: [containerOf('a')] });
  const actions = computePodActions(pod, runtimeOf([exitedOf('a', 1)]), noProbes);
  assert.deepEqual(names(actions.initContainersToStart), []);
  assert.deepEqual(names(actions.containersToStart), ['a']);
});

test('a dead sandbox is replaced, and init containers run again in the new one', () => {
  const pod = podOf({ initContainers: [containerOf('i1')], containers: [containerOf('a')] });
  const containers = [instanceOf('a'), exitedOf('i1', 0)];
  const dead = computePodActions(pod, runtimeOf(containers, [sandboxOf({ ready: false })]), noProbes);
  assert.equal(dead.killPod, true);
  assert.equal(dead.createSandbox, true);
  assert.equal(dead.attempt, 1);
  assert.deepEqual(names(dead.initContainersToStart), ['i1']);
  const fresh = [sandboxOf({ id: 's1', attempt: 1 }), sandboxOf({ ready: false })];
  assert.deepEqual(names(computePodActions(pod, runtimeOf(containers, fresh), noProbes).initContainersToStart), ['i1']);
});

test('restart policies: who is started again', () => {
  const started = (restartPolicy: string, exitCode: number): string[] => {
    const pod = podOf({ restartPolicy, containers: [containerOf('a'), containerOf('b')] });
    const actions = computePodActions(pod, runtimeOf([exitedOf('a', exitCode), instanceOf('b')]), noProbes);
    return names(actions.containersToStart);
  };
  assert.deepEqual(started('Always', 0), ['a']);
  assert.deepEqual(started('OnFailure', 0), []);
  assert.deepEqual(started('OnFailure', 1), ['a']);
  assert.deepEqual(started('Never', 1), []);
});

test('a pod of which nothing will run any more is ended with its sidecars, once', () => {
  const side = containerOf('side', { restartPolicy: 'Always' });
  const pod = podOf({ restartPolicy: 'Never', initContainers: [side], containers: [containerOf('a')] });
  const actions = computePodActions(pod, runtimeOf([exitedOf('a', 0), instanceOf('side')]), noProbes);
  assert.equal(actions.killPod, true);
  assert.equal(actions.createSandbox, false);
  const down = computePodActions(
    pod,
    runtimeOf([exitedOf('a', 0), exitedOf('side', 0)], [sandboxOf({ ready: false })]),
    noProbes,
  );
  assert.equal(down.createSandbox, false);
});

test('a failed liveness or startup probe and a changed image kill the container', () => {
  const pod = podOf({ containers: [containerOf('a', { image: 'busybox:1' })] });
  const kill = (results: ProbeResults, hash?: string) =>
    computePodActions(pod, runtimeOf([instanceOf('a', hash === undefined ? {} : { hash })]), () => results);
  assert.equal(
    kill({ liveness: 'failure' }).containersToKill[0]?.message,
    'Container a failed liveness probe, will be restarted',
  );
  assert.equal(kill({ startup: 'failure' }).containersToKill[0]?.reason, 'Startup');
  assert.equal(kill({}, 'other').containersToKill[0]?.reason, 'Changed');
  assert.deepEqual(names(kill({ liveness: 'failure' }).containersToStart), ['a']);
});

test('an ephemeral container is started once', () => {
  const pod = podOf({ containers: [containerOf('a')], ephemeralContainers: [containerOf('debug')] });
  const first = computePodActions(pod, runtimeOf([instanceOf('a')]), noProbes);
  assert.deepEqual(names(first.ephemeralContainersToStart), ['debug']);
  const later = computePodActions(pod, runtimeOf([exitedOf('debug', 0), instanceOf('a')]), noProbes);
  assert.deepEqual(names(later.ephemeralContainersToStart), []);
});
