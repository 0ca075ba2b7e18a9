// Pods on a real containerd: starting, configuration, volumes. Run by kubelet.test.ts.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { configMaps, nodes, pods } from '../../src/k8s/resources.ts';
import {
  condition,
  eventsOf,
  isReady,
  type Machine,
  podGone,
  podNamed,
  podWhen,
  shell,
  startMachine,
} from './machine.ts';

let machine: Machine;

before(async () => {
  machine = await startMachine(process.env.WEFT_TEST_FOLDER ?? '');
});
after(() => machine.stop());

async function logOf(name: string, container: string, attempt = 0): Promise<string> {
  const pod = await machine.client.get(pods, { namespace: 'default', name });
  const path = `${machine.folder}/pods/default_${name}_${pod.metadata.uid}/${container}/${attempt}.log`;
  const text = await readFile(path, 'utf8');
  return text.replaceAll(/^\S+ \w+ F ?/gm, '');
}

test('the node registers with its capacity and becomes Ready', async () => {
  await machine.kubelet.registered;
  const node = await machine.client.get(nodes, { name: 'node-1' });
  assert.equal(node.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
  assert.match(node.status?.nodeInfo?.containerRuntimeVersion ?? '', /^containerd:\/\/1\./);
  assert.equal(node.status?.capacity?.pods, '110');
});

test('a pod becomes Running and Ready with an address, its sandbox is seen first', async () => {
  const began = performance.now();
  await machine.client.create(pods, podNamed('plain', { containers: [shell('main', 'echo hello; exec sleep 1000')] }));
  const pod = await podWhen(machine.client, 'plain', isReady);
  console.log(`  pod Ready after ${(performance.now() - began).toFixed(0)} ms`);
  assert.equal(pod.status?.phase, 'Running');
  assert.match(pod.status?.podIP ?? '', /^10\.99\.1\./);
  assert.equal(condition(pod, 'PodReadyToStartContainers'), 'True');
  assert.equal(pod.status?.containerStatuses?.[0]?.restartCount, 0);
  assert.equal(pod.status?.qosClass, 'BestEffort');
  assert.equal(await logOf('plain', 'main'), 'hello\n');
  const [link = ''] = readdirSync(join(machine.folder, 'containers'));
  assert.match(link, /^plain_default_main-[0-9a-f]{64}\.log$/);
  assert.match(readFileSync(join(machine.folder, 'containers', link), 'utf8'), /stdout F hello\n/);
  // Events are written after the status, one by one.
  let reasons: (string | undefined)[] = [];
  for (let i = 0; i < 100 && reasons.length < 3; i++) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    reasons = (await eventsOf(machine.client, pod)).map((text) => text.split(':')[0]);
  }
  assert.deepEqual(reasons, ['Pulled', 'Created', 'Started']);
});

test('deletion stops the containers and removes the object and every trace', async () => {
  await machine.client.delete(pods, { namespace: 'default', name: 'plain' }, { gracePeriodSeconds: 1 });
  await podGone(machine.client, 'plain');
  await waitFor(() => readdirSync(join(machine.folder, 'containers')).length === 0);
  await waitFor(() => machine.ctr('containers', 'list', '-q').trim() === '');
});

async function waitFor(check: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !check(); i++) await new Promise((resolve) => setTimeout(resolve, 25));
  assert.ok(check());
}

test('environment, hosts, resolver, volumes and identity are as the spec says', async () => {
  await machine.client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'settings', namespace: 'default' },
    data: { color: 'green', 'app.conf': 'a=1\n' },
  });
  await machine.client.create(
    pods,
    podNamed('full', {
      hostname: 'web',
      subdomain: 'sub',
      securityContext: { runAsUser: 1000, fsGroup: 2000 },
      volumes: [
        { name: 'settings', configMap: { name: 'settings' } },
        { name: 'scratch', emptyDir: {} },
        { name: 'fast', emptyDir: { medium: 'Memory', sizeLimit: '1Mi' } },
        {
          name: 'token',
          projected: { sources: [{ serviceAccountToken: { path: 'token', expirationSeconds: 3600 } }] },
        },
        {
          name: 'info',
          downwardAPI: { items: [{ path: 'labels', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.labels' } }] },
        },
      ],
      containers: [
        shell(
          'main',
          [
            'echo color=$COLOR ip=$IP greeting=$GREETING',
            'cat /etc/settings/app.conf /etc/info/labels; echo',
            'cat /one.conf',
            'cat /var/run/token/token; echo',
            'id -u; id -G',
            'touch /scratch/file && stat -c %g /scratch/file',
            'mount | grep -c "on /fast type tmpfs"',
            'grep nameserver /etc/resolv.conf',
            'hostname',
            'grep web /etc/hosts',
            'exec sleep 1000',
          ].join('\n'),
          {
            env: [
              { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
              { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
              { name: 'GREETING', value: 'hello $(COLOR)' },
            ],
            volumeMounts: [
              { name: 'settings', mountPath: '/etc/settings' },
              { name: 'settings', mountPath: '/one.conf', subPath: 'app.conf' },
              { name: 'scratch', mountPath: '/scratch' },
              { name: 'fast', mountPath: '/fast' },
              { name: 'token', mountPath: '/var/run/token' },
              { name: 'info', mountPath: '/etc/info' },
            ],
          },
        ),
      ],
    }),
  );
  const pod = await podWhen(machine.client, 'full', isReady);
  const ip = pod.status?.podIP;
  let log = '';
  for (let i = 0; i < 100 && !log.includes('sub.default'); i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    log = await logOf('full', 'main');
  }
  assert.deepEqual(log.trim().split('\n'), [
    `color=green ip=${ip} greeting=hello green`,
    'a=1',
    'app="full"',
    'a=1',
    'a-token',
    '1000',
    '0 2000',
    '2000',
    '1',
    'nameserver 10.96.0.10',
    'web',
    `${ip}\tweb.sub.default.svc.cluster.local\tweb`,
  ]);
});

test('a changed ConfigMap is seen in the running container', async () => {
  const map = await machine.client.get(configMaps, { namespace: 'default', name: 'settings' });
  await machine.client.update(configMaps, { ...map, data: { ...map.data, 'app.conf': 'a=2\n' } });
  const pod = await machine.client.get(pods, { namespace: 'default', name: 'full' });
  const file = `${machine.folder}/kubelet/pods/${pod.metadata.uid}/volumes/kubernetes.io~configmap/settings/app.conf`;
  let text = '';
  for (let i = 0; i < 100 && text !== 'a=2\n'; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    text = await readFile(file, 'utf8');
  }
  assert.equal(text, 'a=2\n');
});

test('a missing ConfigMap is an event, and the pod starts when it appears', async () => {
  const spec = {
    volumes: [{ name: 'late', configMap: { name: 'late' } }],
    containers: [shell('main', 'exec sleep 1000', { volumeMounts: [{ name: 'late', mountPath: '/late' }] })],
  };
  const created = await machine.client.create(pods, podNamed('late', spec));
  for (let i = 0; i < 100; i++) {
    if ((await eventsOf(machine.client, created)).length > 0) break;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.match(
    (await eventsOf(machine.client, created))[0] ?? '',
    /FailedMount: MountVolume.SetUp failed for volume "late" : configmap "late" not found/,
  );
  await machine.client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'late', namespace: 'default' },
    data: {},
  });
  await podWhen(machine.client, 'late', isReady);
});

test('an image that cannot be had shows as ErrImagePull and then ImagePullBackOff', async () => {
  const container = shell('main', 'true', { image: '127.0.0.1:1/nope:1' });
  await machine.client.create(pods, podNamed('nope', { containers: [container] }));
  const reasonOf = (reason: string) => (pod: Parameters<typeof isReady>[0]) =>
    pod.status?.containerStatuses?.[0]?.state?.waiting?.reason === reason;
  const failed = await podWhen(machine.client, 'nope', reasonOf('ErrImagePull'));
  assert.match(failed.status?.containerStatuses?.[0]?.state?.waiting?.message ?? '', /connection refused/);
  assert.equal(failed.status?.phase, 'Pending');
});
