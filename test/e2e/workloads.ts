// Controllers and the scheduler, as kubectl users see them; custom resources; the end of a namespace.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apply, cluster, kubectl, run, until } from './tools.ts';

const template = (app: string, script: string, more: object = {}): object => ({
  metadata: { labels: { app } },
  spec: {
    terminationGracePeriodSeconds: 0,
    containers: [{ name: 'main', image: 'weft.local/busybox:1', command: ['sh', '-c', script] }],
    ...more,
  },
});

const workload = (kind: string, name: string, spec: object, script = 'exec sleep 3600'): string =>
  JSON.stringify({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name },
    spec: { selector: { matchLabels: { app: name } }, template: template(name, script), ...spec },
  });

export function workloadTests(): void {
  test('a Deployment rolls out, is scaled, rolled back, and its pods go with it', async () => {
    await apply(workload('Deployment', 'roll', { replicas: 2 }));
    await kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s');
    await kubectl('set', 'env', 'deployment/roll', 'VERSION=2');
    await kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s');
    assert.match(await kubectl('rollout', 'history', 'deployment/roll'), /1\s+<none>\n2\s+<none>/);
    await kubectl('rollout', 'undo', 'deployment/roll');
    await kubectl('rollout', 'status', 'deployment/roll', '--timeout=60s');
    assert.equal(
      await kubectl('get', 'deployment', 'roll', '-o', 'jsonpath={.spec.template.spec.containers[0].env}'),
      '',
    );
    await kubectl('scale', 'deployment/roll', '--replicas=4');
    await until('four replicas', async () => /4\/4/.test(await kubectl('get', 'deployment', 'roll')));
    const pod = (await kubectl('get', 'pods', '-l', 'app=roll', '-o', 'name')).split('\n')[0] ?? '';
    await kubectl('delete', pod);
    await until('the replacement', async () => /4\/4/.test(await kubectl('get', 'deployment', 'roll')));
    await kubectl('delete', 'deployment', 'roll');
    await until('no pods', async () => (await kubectl('get', 'pods', '-l', 'app=roll', '-o', 'name')) === '');
  });

  test('a DaemonSet runs on every node', async () => {
    await apply(workload('DaemonSet', 'every', {}));
    await kubectl('rollout', 'status', 'daemonset/every', '--timeout=60s');
    const nodes = await kubectl('get', 'pods', '-l', 'app=every', '-o', 'jsonpath={.items[*].spec.nodeName}');
    assert.deepEqual(
      nodes.split(' ').sort(),
      ['control-plane', 'worker', 'worker2'].map((node) => `${cluster}-${node}`),
    );
    await kubectl('delete', 'daemonset', 'every');
  });

  test('a StatefulSet makes its pods one after the other, with names of their own in DNS', async () => {
    await apply(
      '{"apiVersion":"v1","kind":"Service","metadata":{"name":"ordinal"},"spec":{"clusterIP":"None","selector":{"app":"ordinal"},"ports":[{"port":80}]}}',
    );
    await apply(workload('StatefulSet', 'ordinal', { serviceName: 'ordinal', replicas: 2 }));
    await kubectl('rollout', 'status', 'statefulset/ordinal', '--timeout=60s');
    const ip = await kubectl('get', 'pod', 'ordinal-1', '-o', 'jsonpath={.status.podIP}');
    await until(
      'its name',
      async () => {
        const { stdout } = await run('kubectl', [
          'exec',
          'ordinal-0',
          '--',
          'nslookup',
          'ordinal-1.ordinal.default.svc.cluster.local',
        ]);
        return stdout.includes(`Address: ${ip}`);
      },
      15,
    );
    await kubectl('delete', 'statefulset/ordinal', 'service/ordinal');
  });

  test('a Job runs to completion, and one that fails stops at its limit', async () => {
    const job = (name: string, script: string): string =>
      JSON.stringify({
        apiVersion: 'batch/v1',
        kind: 'Job',
        metadata: { name },
        spec: { backoffLimit: 0, template: template(name, script, { restartPolicy: 'Never' }) },
      });
    await apply(job('good', 'echo worked'));
    await apply(job('failing', 'exit 1'));
    await kubectl('wait', '--for=condition=Complete', 'job/good', '--timeout=60s');
    await kubectl('wait', '--for=condition=Failed', 'job/failing', '--timeout=60s');
    assert.equal(await kubectl('logs', 'job/good'), 'worked\n');
    await kubectl('delete', 'job', 'good', 'failing');
  });

  test('a custom resource is served as its definition says', async () => {
    await apply(
      JSON.stringify({
        apiVersion: 'apiextensions.k8s.io/v1',
        kind: 'CustomResourceDefinition',
        metadata: { name: 'looms.example.com' },
        spec: {
          group: 'example.com',
          scope: 'Namespaced',
          names: { plural: 'looms', singular: 'loom', kind: 'Loom' },
          versions: [
            {
              name: 'v1',
              served: true,
              storage: true,
              additionalPrinterColumns: [{ name: 'Threads', type: 'integer', jsonPath: '.spec.threads' }],
              schema: {
                openAPIV3Schema: {
                  type: 'object',
                  properties: {
                    spec: {
                      type: 'object',
                      required: ['threads'],
                      properties: {
                        threads: { type: 'integer', minimum: 1 },
                        color: { type: 'string', default: 'white' },
                      },
                    },
                  },
                },
              },
            },
          ],
        },
      }),
    );
    await kubectl('wait', '--for=condition=Established', 'crd/looms.example.com', '--timeout=10s');
    await apply('{"apiVersion":"example.com/v1","kind":"Loom","metadata":{"name":"one"},"spec":{"threads":12}}');
    assert.match(await kubectl('get', 'looms'), /NAME\s+THREADS\none\s+12/);
    assert.equal(await kubectl('get', 'loom', 'one', '-o', 'jsonpath={.spec.color}'), 'white');
    const refused = await run('kubectl', ['patch', 'loom', 'one', '--type=merge', '-p', '{"spec":{"threads":0}}']);
    assert.match(
      refused.stderr,
      /spec.threads: Invalid value: 0: spec.threads in body should be greater than or equal to 1/,
    );
    assert.match(await kubectl('explain', 'loom.spec'), /threads\s+<integer>/);
    await kubectl('delete', 'crd', 'looms.example.com');
  });

  test('server-side apply tells owners apart', async () => {
    const manifest = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"owned"},"data":{"a":"1"}}';
    const apply1 = await run('kubectl', ['apply', '--server-side', '--field-manager=one', '-f', '-'], {
      input: manifest,
    });
    assert.equal(apply1.code, 0, apply1.stderr);
    const conflict = await run('kubectl', ['apply', '--server-side', '--field-manager=two', '-f', '-'], {
      input: manifest.replace('"1"', '"2"'),
    });
    assert.match(conflict.stderr, /Apply failed with 1 conflict: conflict with "one".*: \.data\.a/);
    await kubectl('delete', 'configmap', 'owned');
  });

  test('deleting a namespace deletes what is in it', async () => {
    await kubectl('create', 'namespace', 'brief');
    await kubectl(
      'create',
      'deployment',
      'inside',
      '--image=weft.local/busybox:1',
      '-n',
      'brief',
      '--',
      'sleep',
      '3600',
    );
    await until('a pod', async () => (await kubectl('get', 'pods', '-n', 'brief', '-o', 'name')) !== '');
    await kubectl('delete', 'namespace', 'brief', '--timeout=90s');
    const gone = await run('kubectl', ['get', 'namespace', 'brief']);
    assert.match(gone.stderr, /namespaces "brief" not found/);
  });
}
