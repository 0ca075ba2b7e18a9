import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { type Lab, startLab } from './lab.ts';

/** The minor version of the machine's kubectl: not every command is in every one (Debian 12 has 1.20). */
const kubectlMinor = ((): number => {
  try {
    const version = execFileSync('kubectl', ['version', '--client', '-o', 'json'], { encoding: 'utf8' });
    return Number.parseInt((JSON.parse(version) as { clientVersion: { minor: string } }).clientVersion.minor, 10);
  } catch {
    return 0;
  }
})();
const options = { skip: kubectlMinor > 0 ? false : 'no kubectl on this machine' };

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab.stop());

/** Runs kubectl; what it prints, or fails with what it says. */
async function run(...args: string[]): Promise<string> {
  const { code, out, err } = await lab.kubectl(...args);
  assert.equal(code, 0, `kubectl ${args.join(' ')}: ${err}`);
  return out;
}

/** Runs kubectl, which must fail; what it says. */
async function refused(...args: string[]): Promise<string> {
  const { code, err, out } = await lab.kubectl(...args);
  assert.notEqual(code, 0, `kubectl ${args.join(' ')} did not fail: ${out}`);
  return err;
}

const application = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: weft.local/busybox:1, ports: [{containerPort: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80, nodePort: 30080}]}
`;

test('apply, apply again, get, describe, scale, label, delete', options, async () => {
  const file = lab.write('app.yml', application);
  assert.match(await run('apply', '-f', file), /deployment.apps\/web created\nservice\/web created/);
  assert.match(await run('apply', '-f', file), /deployment.apps\/web unchanged\nservice\/web unchanged/);
  assert.match(await run('get', 'deployment', 'web'), /web +0\/2 +0 +0 +\d+s/);
  assert.match(await run('get', 'svc', 'web'), /web +NodePort +10\.96\.\d+\.\d+ +<none> +80:30080\/TCP/);
  assert.match(await run('get', 'all'), /deployment.apps\/web/);
  assert.match(await run('scale', 'deployment', 'web', '--replicas=3'), /scaled/);
  assert.match(await run('get', 'deploy', 'web', '-o', 'jsonpath={.spec.replicas} {.metadata.generation}'), /^3 2$/);
  await run('label', 'deployment', 'web', 'tier=front');
  await run('annotate', 'deployment', 'web', 'note=x');
  await run('rollout', 'restart', 'deployment', 'web');
  await run('set', 'image', 'deployment/web', 'web=weft.local/busybox:2');
  assert.match(await run('get', 'deploy', '-l', 'tier=front', '-o', 'wide'), /weft.local\/busybox:2 +app=web/);
  assert.match(
    await run('describe', 'deployment', 'web'),
    /RollingUpdateStrategy: +25% max unavailable, 25% max surge/,
  );
  assert.match(await run('describe', 'service', 'web'), /NodePort: +<unset> +30080\/TCP/);
  assert.match(await run('delete', '-f', file), /"web" deleted/);
});

test('server-side apply owns fields and says who is in the way', options, async () => {
  const map = (value: string): string =>
    lab.write('map.yml', `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {a: "${value}"}\n`);
  await run('apply', '--server-side', '-f', map('1'));
  await run('apply', '--server-side', '--field-manager=other', '--force-conflicts', '-f', map('2'));
  const error = await refused('apply', '--server-side', '-f', map('3'));
  assert.match(error, /Apply failed with 1 conflict: conflict with "other" using v1: \.data\.a/);
});

test('explain tells what a field means', options, async () => {
  assert.match(await run('explain', 'pod.spec'), /Specification of the desired behavior of the pod[\s\S]*nodeName/);
});

test('a custom resource is applied again with another state', options, async () => {
  await run(
    'apply',
    '-f',
    lab.write(
      'crd.yml',
      `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: doors.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: doors, kind: Door}
  versions:
  - {name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {locks: {type: array, items: {type: string}}}}}}}}
`,
    ),
  );
  const door = (locks: string): string =>
    lab.write(
      'door.yml',
      `apiVersion: example.com/v1\nkind: Door\nmetadata: {name: front}\nspec: {locks: [${locks}]}\n`,
    );
  assert.match(await run('apply', '-f', door('a')), /created/);
  assert.match(await run('apply', '-f', door('b, c')), /configured/);
  assert.equal(await run('get', 'door', 'front', '-o', 'jsonpath={.spec.locks}'), '["b","c"]');
});

// Before 1.21 pruning asked for versions that no server since Kubernetes 1.25 has.
const pruning = { skip: options.skip || (kubectlMinor < 21 && 'this kubectl prunes by versions of long ago') };
test('pruning goes through kinds that nobody can create', pruning, async () => {
  const map = (name: string): string =>
    lab.write('pruned.yml', `apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ${name}, labels: {set: p}}\n`);
  await run('apply', '-f', map('first'), '--prune', '-l', 'set=p');
  assert.match(await run('apply', '-f', map('second'), '--prune', '-l', 'set=p'), /configmap\/first pruned/);
  assert.equal(await run('get', 'pvc,rc,cronjob,pv', '-o', 'name'), '');
  const job = lab.write(
    'cron.yml',
    'apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: c}\nspec: {schedule: "* * * * *"}\n',
  );
  assert.match(
    await refused('create', '--validate=false', '-f', job),
    /create is not supported on resources of kind "cronjobs.batch"/,
  );
});

test('errors are worded as everywhere', options, async () => {
  const pod = (spec: string): string =>
    lab.write('pod.yml', `apiVersion: v1\nkind: Pod\nmetadata: {name: bad}\nspec: ${spec}\n`);
  assert.match(
    await refused('apply', '-f', pod('{containers: [{name: c, image: i, prots: []}]}')),
    /unknown field "(spec\.containers\[0\]\.)?prots"/,
  );
  assert.match(await refused('apply', '-f', pod('{containers: []}')), /spec\.containers: Required value/);
  assert.match(
    await refused('apply', '-f', pod('{containers: [{name: C, image: i}]}')),
    /spec\.containers\[0\]\.name: Invalid value: "C"/,
  );
  assert.match(await refused('get', 'pod', 'none'), /Error from server \(NotFound\): pods "none" not found/);
  assert.match(await refused('create', 'ns', 'default'), /namespaces "default" already exists/);
  assert.match(await refused('get', 'nonsense'), /the server doesn't have a resource type "nonsense"/);
  const service = (port: string): string =>
    lab.write(
      'svc.yml',
      `apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {type: NodePort, ports: [{port: 80, nodePort: ${port}}]}\n`,
    );
  assert.match(
    await refused('apply', '-f', service('80')),
    /provided port is not in the valid range\. The range of valid ports is 30000-32767/,
  );
});

test('explain, api-resources, version, cluster-info, auth', options, async () => {
  assert.match(await run('explain', 'pod.spec.containers.image'), /FIELD: +image <string>/);
  assert.match(await run('explain', 'deployment.spec.strategy', '--recursive'), /maxSurge/);
  assert.match(await run('api-resources'), /endpointslices +discovery\.k8s\.io\/v1 +true +EndpointSlice/);
  assert.match(await run('version'), /Server Version: .*v1\.36\.\d/);
  assert.match(await run('cluster-info'), /control plane.* is running at/);
  assert.match(await run('auth', 'can-i', 'create', 'pods'), /yes/);
  if (kubectlMinor >= 27) {
    assert.match(await run('auth', 'whoami'), /system:masters/);
    assert.match(await run('create', 'token', 'default'), /^eyJ/);
  }
  assert.match((await lab.kubectl('auth', 'can-i', 'get', 'secrets', '--as', 'somebody')).out, /no/);
});

test('patches, replace and edit by revision', options, async () => {
  await run('create', 'configmap', 'p', '--from-literal=a=1');
  await run('patch', 'configmap', 'p', '--type=merge', '-p', '{"data":{"b":"2"}}');
  await run('patch', 'configmap', 'p', '--type=json', '-p', '[{"op":"remove","path":"/data/a"}]');
  assert.equal(await run('get', 'configmap', 'p', '-o', 'jsonpath={.data}'), '{"b":"2"}');
  const stale = await run('get', 'configmap', 'p', '-o', 'json');
  await run('patch', 'configmap', 'p', '-p', '{"data":{"c":"3"}}');
  assert.match(await refused('replace', '-f', lab.write('stale.json', stale)), /the object has been modified/);
});

test('wait and watch end when what they wait for has come', options, async () => {
  await run('run', 'waiter', '--image=i');
  const waiting = lab.kubectl('wait', '--for=delete', 'pod/waiter', '--timeout=20s');
  if (kubectlMinor >= 23) {
    const seen = lab.kubectl('wait', '--for=jsonpath={.metadata.labels.go}=yes', 'pod/waiter', '--timeout=20s');
    await run('label', 'pod', 'waiter', 'go=yes');
    assert.equal((await seen).code, 0);
  }
  await run('delete', 'pod', 'waiter');
  // An old kubectl complains where the pod is gone before it has looked for the first time.
  const { code, err } = await waiting;
  assert.ok(code === 0 || (kubectlMinor < 21 && /NotFound|no matching resources/.test(err)), err);
});
