// The life of a pod, as kubectl shows it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, askApi, kubectl, kubectlWith, run, until } from './tools.ts';

const busybox = 'weft.local/busybox:1';

/** Applies a pod whose containers are stopped at once when it is deleted. */
async function applyPod(name: string, spec: object, metadata: object = {}): Promise<void> {
  await apply(
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, ...metadata },
      spec: { terminationGracePeriodSeconds: 0, ...spec },
    }),
  );
}

const sh = (name: string, script: string, more: object = {}): object => ({
  name,
  image: busybox,
  command: ['sh', '-c', script],
  ...more,
});
const ready = async (name: string): Promise<void> =>
  void (await kubectl('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s'));
const remove = async (...names: string[]): Promise<void> =>
  void (await kubectl('delete', 'pod', ...names, '--wait=true'));

export function podTests(): void {
  test('init containers run in order before the others; a sidecar starts before them and goes on', async () => {
    const mounts = { volumeMounts: [{ name: 'work', mountPath: '/shared' }] };
    await applyPod('ordered', {
      initContainers: [
        sh('first', 'sleep 0.3; echo first >> /shared/order', mounts),
        sh('side', 'echo side >> /shared/order; exec sleep 3600', { restartPolicy: 'Always', ...mounts }),
        sh('second', 'echo second >> /shared/order', mounts),
      ],
      containers: [sh('main', 'echo main >> /shared/order; exec sleep 3600', mounts)],
      volumes: [{ name: 'work', emptyDir: {} }],
    });
    await ready('ordered');
    assert.equal(
      await kubectl('exec', 'ordered', '-c', 'main', '--', 'cat', '/shared/order'),
      'first\nside\nsecond\nmain\n',
    );
    assert.match(await kubectl('get', 'pod', 'ordered'), /ordered\s+2\/2\s+Running\s+0/);
    await remove('ordered');
  });

  test('containers of a pod share localhost and the address, and each has its own processes', async () => {
    await applyPod('shared', {
      containers: [
        sh('web', 'echo hello > /index.html; exec httpd -f -p 127.0.0.1:8081 -h /'),
        sh('client', 'exec sleep 3600'),
      ],
    });
    await ready('shared');
    assert.equal(
      await kubectl('exec', 'shared', '-c', 'client', '--', 'wget', '-qO-', 'http://127.0.0.1:8081/index.html'),
      'hello\n',
    );
    const address = async (container: string): Promise<string> =>
      await kubectl('exec', 'shared', '-c', container, '--', 'sh', '-c', "ip -4 -o addr show eth0 | awk '{print $4}'");
    assert.equal(await address('web'), await address('client'));
    assert.doesNotMatch(await kubectl('exec', 'shared', '-c', 'client', '--', 'ps'), /httpd/);
    await remove('shared');
  });

  test('two containers of one pod on the same port: the second fails, and describe and logs --previous show why', async () => {
    await applyPod('clash', {
      containers: [sh('one', 'exec httpd -f -p 8082'), sh('two', 'sleep 1; exec httpd -f -p 8082')],
    });
    await until('the restart', async () => {
      const count = await kubectl(
        'get',
        'pod',
        'clash',
        '-o',
        'jsonpath={.status.containerStatuses[?(@.name=="two")].restartCount}',
      );
      return Number(count) >= 1;
    });
    assert.match(await kubectl('logs', 'clash', '-c', 'two', '--previous'), /bind: Address (already )?in use/i);
    const described = await until('the back-off in describe', async () => {
      const text = await kubectl('describe', 'pod', 'clash');
      return /Back-off restarting failed container/.test(text) && text;
    });
    assert.match(described, /Exit Code:\s+1/);
    await remove('clash');
  });

  test('environment and files come from ConfigMap, Secret and the pod itself; a changed ConfigMap reaches the files', async () => {
    await apply('{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"color":"red"}}');
    await apply('{"apiVersion":"v1","kind":"Secret","metadata":{"name":"keys"},"stringData":{"key":"s3cret"}}');
    await applyPod('configured', {
      containers: [
        sh('main', 'exec sleep 3600', {
          env: [
            { name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } },
            { name: 'KEY', valueFrom: { secretKeyRef: { name: 'keys', key: 'key' } } },
            { name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } },
            { name: 'BOTH', value: '$(COLOR)-$(KEY)' },
          ],
          volumeMounts: [{ name: 'settings', mountPath: '/settings' }],
        }),
      ],
      volumes: [{ name: 'settings', configMap: { name: 'settings' } }],
    });
    await ready('configured');
    const ip = await kubectl('get', 'pod', 'configured', '-o', 'jsonpath={.status.podIP}');
    const env = await kubectl(
      'exec',
      'configured',
      '--',
      'sh',
      '-c',
      'echo $COLOR $KEY $IP $BOTH; cat /settings/color',
    );
    assert.equal(env, `red s3cret ${ip} red-s3cret\nred`);
    await kubectl('patch', 'configmap', 'settings', '-p', '{"data":{"color":"blue"}}');
    await until(
      'the new value',
      async () => (await kubectl('exec', 'configured', '--', 'cat', '/settings/color')) === 'blue',
      90,
    );
    await remove('configured');
    await kubectl('delete', 'configmap/settings', 'secret/keys');
  });

  test('resolv.conf and hosts are those of dnsPolicy and the pod; the ServiceAccount token is good at the API', async () => {
    await applyPod('identity', { containers: [sh('main', 'exec sleep 3600')] });
    await ready('identity');
    const files = await kubectl('exec', 'identity', '--', 'cat', '/etc/resolv.conf', '/etc/hosts');
    assert.match(files, /nameserver 10\.96\.0\.10/);
    assert.match(files, /search default\.svc\.cluster\.local svc\.cluster\.local cluster\.local/);
    assert.match(files, /options ndots:5/);
    const ip = await kubectl('get', 'pod', 'identity', '-o', 'jsonpath={.status.podIP}');
    assert.match(files, new RegExp(`${ip}\\s+identity`));
    const token = await kubectl('exec', 'identity', '--', 'cat', '/var/run/secrets/kubernetes.io/serviceaccount/token');
    const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
    const who = await askApi('/apis/authentication.k8s.io/v1/selfsubjectreviews', token, review);
    assert.match(who.text, /"username":\s*"system:serviceaccount:default:default"/);
    await remove('identity');
  });

  test('a failing liveness probe restarts; a failing readiness probe only takes the pod out', async () => {
    await applyPod('probed', {
      containers: [
        sh('live', 'touch /alive; sleep 2; rm /alive; exec sleep 3600', {
          livenessProbe: { exec: { command: ['test', '-f', '/alive'] }, periodSeconds: 1, failureThreshold: 1 },
        }),
        sh('unready', 'exec sleep 3600', { readinessProbe: { tcpSocket: { port: 9 }, periodSeconds: 1 } }),
      ],
    });
    await until('the restart', async () =>
      /probed\s+1\/2\s+Running\s+[1-9]/.test(await kubectl('get', 'pod', 'probed')),
    );
    const events = await kubectl('describe', 'pod', 'probed');
    assert.match(events, /Unhealthy.*Liveness probe failed/);
    assert.match(events, /Unhealthy.*Readiness probe failed/);
    await remove('probed');
  });

  test('an image that cannot be had shows as ErrImagePull, then ImagePullBackOff, with the reason', async () => {
    await applyPod('imageless', { containers: [{ name: 'main', image: 'registry.invalid/none:1' }] });
    await until(
      'ErrImagePull',
      async () => /ErrImagePull|ImagePullBackOff/.test(await kubectl('get', 'pod', 'imageless')),
      30,
    );
    await until(
      'ImagePullBackOff',
      async () => (await kubectl('get', 'pod', 'imageless')).includes('ImagePullBackOff'),
      40,
    );
    assert.match(
      await kubectl('describe', 'pod', 'imageless'),
      /Failed to pull image "registry.invalid\/none:1".*outside registries are switched off/,
    );
    await remove('imageless');
  });

  test('SIGTERM comes first, and the grace period is kept', async () => {
    await applyPod('graceful', {
      terminationGracePeriodSeconds: 20,
      containers: [
        sh('main', 'trap "echo terminating; sleep 1; echo done; exit 0" TERM; echo up; while :; do sleep 0.1; done'),
      ],
    });
    await ready('graceful');
    const logs = run('kubectl', ['logs', '-f', 'graceful']);
    await until('the first line', async () => (await kubectl('logs', 'graceful')).includes('up'));
    const start = Date.now();
    await kubectl('delete', 'pod', 'graceful');
    assert.ok(Date.now() - start < 15_000, 'the pod ended before its grace period');
    assert.match((await logs).stdout, /terminating\ndone/);
  });

  test('a pod that fits nowhere is Pending, and describe says why', async () => {
    await applyPod('huge', { containers: [sh('main', 'true', { resources: { requests: { cpu: '1000' } } })] });
    await until(
      'the reason',
      async () => /0\/3 nodes are available: 3 Insufficient cpu/.test(await kubectl('describe', 'pod', 'huge')),
      20,
    );
    assert.match(await kubectl('get', 'pod', 'huge'), /Pending/);
    const missing = await kubectlWith('', 'delete', 'pod', 'huge');
    assert.equal(missing.code, 0);
  });
}
