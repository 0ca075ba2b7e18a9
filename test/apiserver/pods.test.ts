import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answer, type Lab, startLab } from './lab.ts';

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab.stop());

const pods = '/api/v1/namespaces/default/pods';
const metadataOf = (answer: Answer): Record<string, unknown> => Object(answer.body.metadata);
const create = (name: string, spec: object = {}): Promise<Answer> =>
  lab.send('POST', pods, { body: { metadata: { name }, spec: { containers: [{ name: 'c', image: 'i' }], ...spec } } });
const bind = (name: string, node: string): Promise<Answer> =>
  lab.send('POST', `${pods}/${name}/binding`, { body: { metadata: { name }, target: { kind: 'Node', name: node } } });

test('a new pod gets its ServiceAccount, the token volume, tolerations and a first status', async () => {
  const { body, code, text } = await create('whole');
  assert.equal(code, 201, text);
  const spec = Object(body.spec);
  assert.equal(spec.serviceAccountName, 'default');
  assert.equal(spec.containers[0].volumeMounts[0].mountPath, '/var/run/secrets/kubernetes.io/serviceaccount');
  assert.match(spec.volumes[0].name, /^kube-api-access-[a-z0-9]{5}$/);
  assert.deepEqual(
    spec.tolerations.map((one: { key: string }) => one.key),
    ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'],
  );
  assert.deepEqual(body.status, { phase: 'Pending', qosClass: 'BestEffort' });
});

test('a pod waits for a ServiceAccount that is about to come, and is refused without it', async () => {
  await lab.send('POST', '/api/v1/namespaces', { body: { metadata: { name: 'fresh' } } });
  const path = '/api/v1/namespaces/fresh';
  const body = { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const creating = lab.send('POST', `${path}/pods`, { body });
  await lab.send('POST', `${path}/serviceaccounts`, { body: { metadata: { name: 'default' } } });
  assert.equal((await creating).code, 201);
  const other = { ...body, metadata: { name: 'q' }, spec: { ...body.spec, serviceAccountName: 'none' } };
  const refused = await lab.send('POST', `${path}/pods`, { body: other });
  assert.equal(refused.code, 403);
  assert.match(String(refused.body.message), /error looking up service account fresh\/none: serviceaccount "none" not/);
});

test('a pod is bound once', async () => {
  await create('bound');
  assert.equal((await bind('bound', 'n1')).code, 201);
  const pod = await lab.send('GET', `${pods}/bound`);
  assert.equal(Object(pod.body.spec).nodeName, 'n1');
  assert.equal(Object(pod.body.status).conditions[0].type, 'PodScheduled');
  const again = await bind('bound', 'n2');
  assert.equal(again.code, 409);
  assert.match(String(again.body.message), /pod bound is already assigned to node "n1"/);
});

test('ephemeral containers are added to a pod that runs; those that are there stay', async () => {
  await create('debugged');
  const path = `${pods}/debugged/ephemeralcontainers`;
  const patch = (containers: object[], type = 'strategic-merge'): Promise<Answer> =>
    lab.send('PATCH', path, {
      body: { spec: { ephemeralContainers: containers } },
      headers: { 'content-type': `application/${type}-patch+json` },
    });
  const added = await patch([{ name: 'debugger', image: 'tools', targetContainerName: 'c' }]);
  assert.equal(added.code, 200, added.text);
  const [container] = Object(added.body.spec).ephemeralContainers;
  assert.equal(container.terminationMessagePolicy, 'File');
  assert.equal((await patch([{ name: 'second', image: 'tools' }])).code, 200);
  const pod = await lab.send('GET', path);
  assert.deepEqual(
    Object(pod.body.spec)
      .ephemeralContainers.map(({ name }: { name: string }) => name)
      .sort(),
    ['debugger', 'second'],
  );
  assert.equal((await lab.send('GET', `${pods}/debugged/log?container=second`)).code, 200);
  for (const [containers, reason] of [
    [[], /existing ephemeral containers "debugger" may not be removed/],
    [[{ name: 'debugger', image: 'other' }], /existing ephemeral containers "debugger" may not be changed/],
  ] as const)
    assert.match(String((await patch([...containers], 'merge')).body.message), reason);
  for (const [wrong, reason] of [
    [{ name: 'c', image: 'i' }, /Duplicate value: "c"/],
    [{ name: 'x', image: 'i', targetContainerName: 'none' }, /targetContainerName: Not found: "none"/],
    [{ name: 'x', image: 'i', ports: [{ containerPort: 80 }] }, /ports: Forbidden: cannot be set for an Ephemeral/],
  ] as const)
    assert.match(String((await patch([wrong])).body.message), reason);
});

test('a pod on no node is deleted at once, one on a node by its kubelet with grace 0', async () => {
  await create('nowhere');
  await lab.send('DELETE', `${pods}/nowhere`);
  assert.equal((await lab.send('GET', `${pods}/nowhere`)).code, 404);
  await create('somewhere', { terminationGracePeriodSeconds: 7 });
  await bind('somewhere', 'n1');
  const deleted = await lab.send('DELETE', `${pods}/somewhere`);
  assert.equal(metadataOf(deleted).deletionGracePeriodSeconds, 7);
  const later = await lab.send('DELETE', `${pods}/somewhere?gracePeriodSeconds=60`);
  assert.equal(metadataOf(later).deletionTimestamp, metadataOf(deleted).deletionTimestamp);
  const sooner = await lab.send('DELETE', `${pods}/somewhere?gracePeriodSeconds=2`);
  assert.equal(metadataOf(sooner).deletionGracePeriodSeconds, 2);
  await lab.send('DELETE', `${pods}/somewhere`, { body: { gracePeriodSeconds: 0 } });
  assert.equal((await lab.send('GET', `${pods}/somewhere`)).code, 404);
});

test('an eviction deletes as a deletion does', async () => {
  await create('evicted');
  const answer = await lab.send('POST', `${pods}/evicted/eviction`, {
    body: { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: 'evicted' } },
  });
  assert.equal(answer.code, 201, answer.text);
  assert.equal((await lab.send('GET', `${pods}/evicted`)).code, 404);
});

test('status and spec are written apart, and only the spec counts as a generation', async () => {
  const created = await create('apart');
  const body = { ...created.body, status: { phase: 'Running' }, spec: { ignored: true } };
  const status = await lab.send('PUT', `${pods}/apart/status`, { body });
  assert.equal(Object(status.body.status).phase, 'Running');
  assert.equal(Object(status.body.spec).containers.length, 1);
  assert.equal(metadataOf(status).generation, 1);
  const merge = { 'content-type': 'application/merge-patch+json' };
  const image = [{ name: 'c', image: 'j' }];
  const patched = await lab.send('PATCH', `${pods}/apart`, {
    headers: { 'content-type': 'application/strategic-merge-patch+json' },
    body: { spec: { containers: image }, status: { phase: 'Failed' } },
  });
  assert.equal(patched.code, 200, patched.text);
  assert.equal(metadataOf(patched).generation, 2);
  assert.equal(Object(patched.body.status).phase, 'Running');
  const labelled = await lab.send('PATCH', `${pods}/apart`, {
    headers: merge,
    body: { metadata: { labels: { a: 'b' } } },
  });
  assert.equal(metadataOf(labelled).generation, 2);
});

test('what cannot be streamed says why', async () => {
  await create('silent');
  const log = await lab.send('GET', `${pods}/silent/log`);
  assert.deepEqual([log.code, log.text], [200, '']);
  const container = await lab.send('GET', `${pods}/silent/log?container=x`);
  assert.equal(container.body.message, 'container x is not valid for pod silent');
  assert.equal((await lab.send('GET', `${pods}/silent/exec?command=ls`)).body.message, 'Upgrade request required');
});

test('a terminating namespace takes no new objects, and goes when it is finalized', async () => {
  await lab.send('POST', '/api/v1/namespaces', { body: { metadata: { name: 'leaving' } } });
  const path = '/api/v1/namespaces/leaving';
  const deleted = await lab.send('DELETE', path);
  assert.equal(Object(deleted.body.status).phase, 'Terminating');
  const late = await lab.send('POST', `${path}/configmaps`, { body: { metadata: { name: 'late' } } });
  assert.equal(late.code, 403);
  assert.equal(Object(late.body.details).causes[0].reason, 'NamespaceTerminating');
  const finalized = await lab.send('PUT', `${path}/finalize`, {
    body: { metadata: { name: 'leaving' }, spec: { finalizers: [] } },
  });
  assert.equal(finalized.code, 200, finalized.text);
  assert.equal((await lab.send('GET', path)).code, 404);
  const mine = await lab.send('DELETE', '/api/v1/namespaces/default');
  assert.equal(mine.body.message, 'namespaces "default" is forbidden: this namespace may not be deleted');
});
