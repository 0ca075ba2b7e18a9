// The life of pods on a real containerd: order, probes, crashes, ends, restarts of the kubelet and of containerd. Run by
// kubelet.test.ts.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile } from 'node:fs/promises';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pods } from '../../src/k8s/resources.ts';
import { eventsOf, isReady, type Machine, podGone, podNamed, podWhen, shell, startMachine } from './machine.ts';

let machine: Machine;

before(async () => {
  machine = await startMachine(process.env.WEFT_TEST_FOLDER ?? '');
});
after(() => machine.stop());

test('init containers run one after the other, then a sidecar, then the containers', async () => {
  await machine.client.create(
    pods,
    podNamed('ordered', {
      volumes: [{ name: 'shared', emptyDir: {} }],
      initContainers: [
        shell('one', 'echo one >>/shared/order', { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] }),
        shell('two', 'echo two >>/shared/order', { volumeMounts: [{ name: 'shared', mountPath: '/shared' }] }),
        shell('side', 'echo side >>/shared/order; trap "exit 0" TERM; while :; do sleep 0.05; done', {
          restartPolicy: 'Always',
          volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
          startupProbe: { exec: { command: ['grep', '-q', 'side', '/shared/order'] }, periodSeconds: 1 },
        }),
      ],
      containers: [
        shell('main', 'test "$(tr "\\n" " " </shared/order)" = "one two side " && exec sleep 1000', {
          volumeMounts: [{ name: 'shared', mountPath: '/shared' }],
        }),
      ],
    }),
  );
  const pod = await podWhen(machine.client, 'ordered', isReady);
  assert.deepEqual(
    pod.status?.initContainerStatuses?.map(({ name, ready }) => [name, ready]),
    [
      ['one', true],
      ['two', true],
      ['side', true],
    ],
  );
  assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0);
});

test('a crash is restarted with back-off, and the message and the exit code of the last run are shown', async () => {
  const container = shell('main', 'echo last words >/dev/termination-log; exit 3');
  await machine.client.create(pods, podNamed('crash', { containers: [container] }));
  const pod = await podWhen(machine.client, 'crash', ({ status }) => {
    const first = status?.containerStatuses?.[0];
    return first?.state?.waiting?.reason === 'CrashLoopBackOff' && first.restartCount >= 2;
  });
  const first = pod.status?.containerStatuses?.[0];
  assert.equal(first?.lastState?.terminated?.exitCode, 3);
  assert.equal(first?.lastState?.terminated?.message, 'last words\n');
  assert.match(
    first?.state?.waiting?.message ?? '',
    /^back-off .* restarting failed container=main pod=crash_default\(/,
  );
  assert.equal(pod.status?.phase, 'Running');
});

test('a pod that shall run once ends Succeeded or Failed', async () => {
  await machine.client.create(
    pods,
    podNamed('good', { restartPolicy: 'Never', containers: [shell('main', 'exit 0')] }),
  );
  await machine.client.create(pods, podNamed('bad', { restartPolicy: 'Never', containers: [shell('main', 'exit 7')] }));
  const good = await podWhen(machine.client, 'good', ({ status }) => status?.phase === 'Succeeded');
  assert.equal(good.status?.containerStatuses?.[0]?.state?.terminated?.reason, 'Completed');
  const bad = await podWhen(machine.client, 'bad', ({ status }) => status?.phase === 'Failed');
  assert.equal(bad.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 7);
});

test('readiness follows its probe, and a failed liveness probe restarts the container', async () => {
  await machine.client.create(
    pods,
    podNamed('probed', {
      containers: [
        shell('main', 'mkdir /www; echo ok >/www/index.html; exec httpd -f -p 8080 -h /www', {
          ports: [{ name: 'web', containerPort: 8080 }],
          readinessProbe: { httpGet: { path: '/', port: 'web' }, periodSeconds: 1, failureThreshold: 1 },
          livenessProbe: { exec: { command: ['test', '!', '-e', '/dead'] }, periodSeconds: 1, failureThreshold: 1 },
        }),
      ],
    }),
  );
  const pod = await podWhen(machine.client, 'probed', isReady);
  const id = pod.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
  machine.ctr('tasks', 'exec', '--exec-id', 'x1', id, 'rm', '/www/index.html');
  await podWhen(machine.client, 'probed', (p) => !isReady(p));
  machine.ctr('tasks', 'exec', '--exec-id', 'x2', id, 'touch', '/dead');
  const restarted = await podWhen(
    machine.client,
    'probed',
    (p) => isReady(p) && p.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  const texts = await eventsOf(machine.client, restarted);
  assert.ok(
    texts.some((text) => text.startsWith('Unhealthy: Readiness probe failed: HTTP probe failed with statuscode: 404')),
  );
  assert.ok(texts.includes('Killing: Container main failed liveness probe, will be restarted'));
});

test('preStop runs before SIGTERM, within the grace period', async () => {
  const marker = `${machine.folder}/marker`;
  await machine.client.create(
    pods,
    podNamed('stopping', {
      terminationGracePeriodSeconds: 5,
      volumes: [{ name: 'out', hostPath: { path: marker, type: 'DirectoryOrCreate' } }],
      containers: [
        shell('main', 'trap "echo term >>/out/order; exit 0" TERM; while :; do sleep 0.05; done', {
          volumeMounts: [{ name: 'out', mountPath: '/out' }],
          lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo hook >>/out/order'] } } },
        }),
      ],
    }),
  );
  await podWhen(machine.client, 'stopping', isReady);
  await machine.client.delete(pods, { namespace: 'default', name: 'stopping' });
  await podGone(machine.client, 'stopping');
  assert.equal(await readFile(`${marker}/order`, 'utf8'), 'hook\nterm\n');
});

test('a kubelet that starts anew adopts what runs; one that was away sees what has ended', async () => {
  const before = await podWhen(machine.client, 'ordered', isReady);
  await machine.restartKubelet();
  await machine.kubelet.registered;
  const id = before.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
  machine.ctr('tasks', 'kill', '-s', 'SIGKILL', id);
  const again = await podWhen(
    machine.client,
    'ordered',
    (pod) => isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  assert.equal(again.status?.podIP, before.status?.podIP);
  assert.equal(again.status?.containerStatuses?.[0]?.lastState?.terminated?.exitCode, 137);
  assert.equal(again.status?.initContainerStatuses?.[0]?.restartCount, 0);
});

test('pods go on through a kill of containerd, and exits are still noticed', async () => {
  await machine.restartContainerd();
  const before = await podWhen(machine.client, 'ordered', isReady);
  const id = before.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
  machine.ctr('tasks', 'kill', '-s', 'SIGKILL', id);
  await podWhen(
    machine.client,
    'ordered',
    (pod) => isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 2,
  );
});

test('containerd killed again and again while a pod is made: the pod comes without a long pause, and no trace is left twice', async () => {
  for (const [round, pauseMs] of [20, 90, 160, 230, 300].entries()) {
    const name = `interrupted-${round}`;
    await machine.client.create(
      pods,
      podNamed(name, {
        terminationGracePeriodSeconds: 0,
        containers: [shell('one', 'sleep 1000'), shell('two', 'sleep 1000')],
      }),
    );
    await sleep(pauseMs);
    await machine.restartContainerd();
    // Less than the ten seconds after which a container whose creation failed is tried again.
    const pod = await podWhen(machine.client, name, isReady, 8000);
    assert.deepEqual(
      (await eventsOf(machine.client, pod)).filter((text) => /^Failed: |reserved for/.test(text)),
      [],
    );
  }
});

test('folders that a killed containerd has left in the way of new snapshots do no harm', async () => {
  const snapshots = `${machine.folder}/root/io.containerd.snapshotter.v1.overlayfs/snapshots`;
  const newest = Math.max(...(await readdir(snapshots)).map(Number).filter(Number.isInteger));
  const left = [1, 2, 3, 4, 5, 6].map((more) => `${snapshots}/${newest + more}/left`);
  for (const folder of left) await mkdir(folder, { recursive: true });
  await machine.restartContainerd();
  await machine.client.create(pods, podNamed('unhindered', { containers: [shell('main', 'exec sleep 1000')] }));
  const pod = await podWhen(machine.client, 'unhindered', isReady, 8000);
  assert.deepEqual(
    (await eventsOf(machine.client, pod)).filter((text) => /^Failed/.test(text)),
    [],
  );
  assert.ok(left.some((folder) => !existsSync(folder)));
});

test('the death of the process that watches over a pod restarts the pod, and no old process stays', async () => {
  await machine.client.create(pods, podNamed('watched', { containers: [shell('main', 'exec sleep 4711')] }));
  const before = await podWhen(machine.client, 'watched', isReady);
  const id = before.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
  const line =
    machine
      .ctr('tasks', 'list')
      .split('\n')
      .find((text) => text.startsWith(id)) ?? '';
  const [, pid = ''] = line.split(/\s+/);
  const [, shim = ''] = /^PPid:\s+(\d+)$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  process.kill(Number(shim), 'SIGKILL');
  await podWhen(
    machine.client,
    'watched',
    (pod) => isReady(pod) && pod.status?.containerStatuses?.[0]?.restartCount === 1,
  );
  // Nobody collects orphans in these namespaces: a dead one may still have its entry.
  const old = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => 'State:\tX');
  assert.match(old, /^State:\t[XZ]/m);
});

test('a sandbox that dies is replaced, with a new address, and init containers run again', async () => {
  const before = await podWhen(machine.client, 'ordered', isReady);
  const tasks = machine.ctr('containers', 'list').split('\n');
  const sandboxes = tasks.filter((line) => line.includes('pause')).map((line) => line.split(/\s+/)[0] ?? '');
  const ordered = sandboxes.find((id) =>
    machine.ctr('containers', 'label', id, 'x=y').includes('io.kubernetes.pod.name=ordered'),
  );
  machine.ctr('tasks', 'kill', '-s', 'SIGKILL', ordered ?? '');
  const after = await podWhen(
    machine.client,
    'ordered',
    (pod) => isReady(pod) && pod.status?.podIP !== before.status?.podIP,
  );
  assert.equal(after.status?.initContainerStatuses?.[0]?.restartCount, 1);
});
