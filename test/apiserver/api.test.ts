import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answer, type Lab, startLab } from './lab.ts';

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab.stop());

const maps = '/api/v1/namespaces/default/configmaps';
const metadataOf = (answer: Answer): Record<string, unknown> => Object(answer.body.metadata);
const itemsOf = (answer: Answer): { metadata: { name: string } }[] => Object(answer.body.items);

async function createMap(name: string, more: object = {}): Promise<Answer> {
  return lab.send('POST', maps, { body: { metadata: { name, ...more }, data: { a: '1' } } });
}

test('only health and version answer without credentials', async () => {
  for (const path of ['/healthz', '/livez', '/readyz', '/version'])
    assert.equal((await lab.send('GET', path, { as: 'anonymous' })).code, 200, path);
  for (const path of ['/', '/api', '/apis', '/openapi/v3', maps, '/metrics'])
    assert.equal((await lab.send('GET', path, { as: 'anonymous' })).code, 401, path);
});

test('the server says what there is to ask for, and how it is', async () => {
  const { paths } = Object((await lab.send('GET', '/')).body);
  for (const path of ['/api/v1', '/apis/apps/v1', '/openapi/v3', '/readyz']) assert.ok(paths.includes(path), path);
  assert.equal((await lab.send('GET', '/readyz?verbose')).text, '[+]ping ok\nreadyz check passed\n');
});

test('a request that is too large is read to its end, so that its sender gets the answer', async () => {
  const body = { metadata: { name: 'huge' }, data: { a: 'x'.repeat(8_000_000) } };
  const answer = await lab.send('POST', maps, { body });
  assert.equal(answer.code, 413);
  assert.equal(answer.body.message, 'Request entity too large: limit is 3145728');
});

test('a scale is printed as a table', async () => {
  const deployments = '/apis/apps/v1/namespaces/default/deployments';
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } };
  const spec = { replicas: 3, selector: { matchLabels: { a: 'b' } }, template };
  await lab.send('POST', deployments, { body: { metadata: { name: 'scaled' }, spec } });
  const table = await lab.send('GET', `${deployments}/scaled/scale`, {
    headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
  });
  assert.deepEqual(Object(table.body.rows)[0].cells.slice(0, 3), ['scaled', 3, 0]);
});

test('a certificate of another authority and a wrong token get 401', async () => {
  assert.equal((await lab.send('GET', maps, { as: 'stranger' })).code, 401);
  const wrong = await lab.send('GET', maps, { as: 'anonymous', headers: { authorization: 'Bearer wrong' } });
  assert.equal(wrong.code, 401);
  assert.equal(wrong.body.reason, 'Unauthorized');
});

test('what a user may not do gets 403 in the words of Kubernetes', async () => {
  const answer = await lab.send('POST', '/api/v1/namespaces', { as: 'node', body: { metadata: { name: 'x' } } });
  assert.equal(answer.code, 403);
  assert.match(
    String(answer.body.message),
    /^namespaces is forbidden: User "system:node:n1" cannot create resource "namespaces" in API group "" at the cluster scope/,
  );
});

test('a token of a ServiceAccount is an identity', async () => {
  const created = await lab.send('POST', '/api/v1/namespaces/default/serviceaccounts/default/token', {
    body: { spec: {} },
  });
  assert.equal(created.code, 201);
  const { token } = Object(created.body.status);
  const headers = { authorization: `Bearer ${token}` };
  const who = await lab.send('POST', '/apis/authentication.k8s.io/v1/selfsubjectreviews', {
    as: 'anonymous',
    headers,
    body: {},
  });
  assert.equal(Object(who.body.status).userInfo.username, 'system:serviceaccount:default:default');
  assert.equal((await lab.send('GET', maps, { as: 'anonymous', headers })).code, 403);
});

test('nobody grants more rights than they have', async () => {
  const rbac = '/apis/rbac.authorization.k8s.io/v1';
  const rule = (resources: string[], verbs: string[], apiGroups = ['']) => ({ apiGroups, resources, verbs });
  const rules = [
    rule(['configmaps'], ['get']),
    rule(['roles', 'rolebindings'], ['create', 'update'], ['rbac.authorization.k8s.io']),
  ];
  await lab.send('POST', `${rbac}/clusterroles`, { body: { metadata: { name: 'granter' }, rules } });
  await lab.send('POST', `${rbac}/clusterrolebindings`, {
    body: {
      metadata: { name: 'granter' },
      subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
      roleRef: { kind: 'ClusterRole', name: 'granter', apiGroup: 'rbac.authorization.k8s.io' },
    },
  });
  const roles = `${rbac}/namespaces/default/roles`;
  const headers = { 'impersonate-user': 'alice' };
  const within = [rule(['configmaps'], ['get'])];
  const granted = await lab.send('POST', roles, { headers, body: { metadata: { name: 'less' }, rules: within } });
  assert.equal(granted.code, 201, granted.text);
  const beyond = [rule(['secrets'], ['get'])];
  const refused = await lab.send('POST', roles, { headers, body: { metadata: { name: 'more' }, rules: beyond } });
  assert.equal(refused.code, 403);
  assert.match(String(refused.body.message), /attempting to grant RBAC permissions not currently held/);
  const binding = {
    metadata: { name: 'all' },
    subjects: [{ kind: 'User', name: 'alice', apiGroup: 'rbac.authorization.k8s.io' }],
    roleRef: { kind: 'ClusterRole', name: 'cluster-admin', apiGroup: 'rbac.authorization.k8s.io' },
  };
  const bound = await lab.send('POST', `${rbac}/namespaces/default/rolebindings`, { headers, body: binding });
  assert.equal(bound.code, 403);
});

test('an object gets its uid, time and revision; a second one of the name is refused', async () => {
  const first = await createMap('once');
  assert.equal(first.code, 201);
  assert.match(String(metadataOf(first).uid), /^[0-9a-f-]{36}$/);
  assert.match(String(metadataOf(first).creationTimestamp), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
  const second = await createMap('once');
  assert.deepEqual([second.code, second.body.message], [409, 'configmaps "once" already exists']);
});

test('generateName makes names', async () => {
  const answer = await lab.send('POST', maps, { body: { metadata: { generateName: 'made-' } } });
  assert.match(String(metadataOf(answer).name), /^made-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
});

test('an update with a revision of the past is a conflict, one without a revision is not', async () => {
  const created = await createMap('raced');
  const path = `${maps}/raced`;
  const object = { ...created.body, data: { a: '2' } };
  assert.equal((await lab.send('PUT', path, { body: object })).code, 200);
  const stale = await lab.send('PUT', path, { body: { ...object, data: { a: '3' } } });
  assert.equal(stale.code, 409);
  assert.match(String(stale.body.message), /the object has been modified; please apply your changes to the latest/);
  const blind = await lab.send('PUT', path, { body: { metadata: { name: 'raced' }, data: { a: '4' } } });
  assert.equal(blind.code, 200);
});

test('an update that changes nothing makes no revision', async () => {
  const created = await createMap('same');
  const again = await lab.send('PUT', `${maps}/same`, { body: created.body });
  assert.equal(metadataOf(again).resourceVersion, metadataOf(created).resourceVersion);
});

test('a dry run answers as if, and stores nothing', async () => {
  const answer = await lab.send('POST', `${maps}?dryRun=All`, { body: { metadata: { name: 'dry' } } });
  assert.equal(answer.code, 201);
  assert.equal((await lab.send('GET', `${maps}/dry`)).code, 404);
});

test('names of the URL and the body must agree', async () => {
  await createMap('named');
  const other = await lab.send('PUT', `${maps}/named`, { body: { metadata: { name: 'other' } } });
  assert.equal(other.code, 400);
  const elsewhere = await lab.send('POST', maps, { body: { metadata: { name: 'x', namespace: 'kube-system' } } });
  assert.deepEqual(
    [elsewhere.code, elsewhere.body.message],
    [400, 'the namespace of the provided object does not match the namespace sent on the request'],
  );
});

test('nothing is created in a namespace that is not there', async () => {
  const answer = await lab.send('POST', '/api/v1/namespaces/nowhere/configmaps', { body: { metadata: { name: 'x' } } });
  assert.deepEqual([answer.code, answer.body.message], [404, 'namespaces "nowhere" not found']);
});

test('a list comes in pages of one snapshot', async () => {
  for (const name of ['page-a', 'page-b', 'page-c']) await createMap(name, { labels: { page: 'yes' } });
  const first = await lab.send('GET', `${maps}?labelSelector=page%3Dyes&limit=2`);
  assert.deepEqual(
    itemsOf(first).map(({ metadata }) => metadata.name),
    ['page-a', 'page-b'],
  );
  await lab.send('DELETE', `${maps}/page-c`);
  const token = encodeURIComponent(String(metadataOf(first).continue));
  const second = await lab.send('GET', `${maps}?labelSelector=page%3Dyes&limit=2&continue=${token}`);
  assert.deepEqual(
    itemsOf(second).map(({ metadata }) => metadata.name),
    ['page-c'],
    'the page shows what was there when the list began',
  );
  assert.equal(metadataOf(second).continue, undefined);
});

test('a revision of the future is answered with 504, nonsense with 400', async () => {
  const future = await lab.send('GET', `${maps}?resourceVersion=99999999`);
  assert.equal(future.code, 504);
  assert.equal(Object(future.body.details).causes[0].reason, 'ResourceVersionTooLarge');
  assert.equal((await lab.send('GET', `${maps}?resourceVersion=x`)).code, 400);
  assert.equal((await lab.send('GET', `${maps}?resourceVersionMatch=Exact`)).code, 400);
  assert.equal((await lab.send('GET', `${maps}?continue=x`)).code, 400);
});

/** The events of a watch that ends by itself at once. */
async function watched(
  query: string,
  headers: Record<string, string> = {},
): Promise<{ type: string; object: never }[]> {
  const { text } = await lab.send('GET', `${maps}?watch=true&timeoutSeconds=1&${query}`, { headers });
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));
}

test('a watch tells what happened since a revision, as its selector sees it', async () => {
  const created = await createMap('seen', { labels: { w: 'in' } });
  const from = metadataOf(created).resourceVersion;
  const put = (labels: object, data: object) =>
    lab.send('PUT', `${maps}/seen`, { body: { metadata: { name: 'seen', labels }, data } });
  await put({ w: 'in' }, { a: '2' });
  await put({ w: 'out' }, { a: '3' });
  await put({ w: 'in' }, { a: '4' });
  await lab.send('DELETE', `${maps}/seen`);
  const events = await watched(`labelSelector=w%3Din&resourceVersion=${from}`);
  assert.deepEqual(
    events.map(({ type }) => type),
    ['MODIFIED', 'DELETED', 'ADDED', 'DELETED'],
  );
});

test('a watch can begin with the state and mark its end', async () => {
  await createMap('initial', { labels: { first: 'yes' } });
  const events = await watched(
    'labelSelector=first%3Dyes&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true',
  );
  assert.deepEqual(
    events.map(({ type }) => type),
    ['ADDED', 'BOOKMARK', 'BOOKMARK'],
  );
  const { metadata } = Object(events[1]?.object);
  assert.equal(metadata.annotations['k8s.io/initial-events-end'], 'true');
});

test('a watch of tables sends its columns once', async () => {
  await createMap('table-1', { labels: { t: 'yes' } });
  await createMap('table-2', { labels: { t: 'yes' } });
  const events = await watched('labelSelector=t%3Dyes', {
    accept: 'application/json;as=Table;v=v1;g=meta.k8s.io',
  });
  assert.equal(Object(events[0]?.object).columnDefinitions.length, 3);
  assert.equal(Object(events[1]?.object).columnDefinitions, null);
  assert.deepEqual(Object(events[1]?.object).rows[0].cells.slice(0, 2), ['table-2', 1]);
});

test('finalizers keep a deleted object until they are gone, and none can be added then', async () => {
  await createMap('held', { finalizers: ['example.com/hold'] });
  const path = `${maps}/held`;
  const deleted = await lab.send('DELETE', path);
  assert.ok(metadataOf(deleted).deletionTimestamp);
  const merge = { 'content-type': 'application/merge-patch+json' };
  const more = await lab.send('PATCH', path, {
    headers: merge,
    body: { metadata: { finalizers: ['example.com/hold', 'example.com/more'] } },
  });
  assert.equal(more.code, 422);
  await lab.send('PATCH', path, { headers: merge, body: { metadata: { finalizers: null } } });
  assert.equal((await lab.send('GET', path)).code, 404);
});

test('propagation becomes a finalizer for the garbage collector', async () => {
  await createMap('parent');
  const body = { propagationPolicy: 'Foreground' };
  const deleted = await lab.send('DELETE', `${maps}/parent`, { body });
  assert.deepEqual(metadataOf(deleted).finalizers, ['foregroundDeletion']);
});

test('preconditions of a deletion', async () => {
  await createMap('guarded');
  const wrong = await lab.send('DELETE', `${maps}/guarded`, { body: { preconditions: { uid: 'other' } } });
  assert.equal(wrong.code, 409);
  assert.match(String(wrong.body.message), /Precondition failed: UID in precondition: other, UID in object meta: /);
});

test('a collection is deleted by its selector', async () => {
  await createMap('many-1', { labels: { many: 'yes' } });
  await createMap('many-2', { labels: { many: 'yes' } });
  await createMap('few', { labels: { many: 'no' } });
  await lab.send('DELETE', `${maps}?labelSelector=many%3Dyes`);
  const left = await lab.send('GET', `${maps}?labelSelector=many`);
  assert.deepEqual(
    itemsOf(left).map(({ metadata }) => metadata.name),
    ['few'],
  );
});

test('metadata alone, for controllers that need no more', async () => {
  await createMap('partial');
  const accept = 'application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io';
  const answer = await lab.send('GET', `${maps}/partial`, { headers: { accept } });
  assert.equal(answer.body.kind, 'PartialObjectMetadata');
  assert.equal(answer.body.data, undefined);
});

test('unknown paths, resources and verbs', async () => {
  assert.equal((await lab.send('GET', '/apis/none/v1/things')).code, 404);
  assert.equal((await lab.send('GET', '/api/v1/namespaces/default/things')).code, 404);
  assert.equal((await lab.send('GET', `${maps}/x/unknown`)).code, 404);
  assert.equal((await lab.send('POST', `${maps}/x`, { body: {} })).code, 405);
  const patch = await lab.send('PATCH', `${maps}/x`, { headers: { 'content-type': 'application/cbor' }, body: '' });
  assert.equal(patch.code, 415);
});

test('events are one store with two views', async () => {
  const event = {
    metadata: { name: 'e1', namespace: 'default' },
    regarding: { kind: 'Pod', name: 'p', namespace: 'default' },
    note: 'it happened',
    reason: 'Test',
    type: 'Normal',
    action: 'Testing',
    eventTime: '2026-01-01T00:00:00.000000Z',
    reportingController: 'example.com/test',
    reportingInstance: 'test-1',
  };
  const created = await lab.send('POST', '/apis/events.k8s.io/v1/namespaces/default/events', { body: event });
  assert.equal(created.code, 201, created.text);
  const core = await lab.send('GET', '/api/v1/namespaces/default/events/e1');
  assert.equal(core.body.message, 'it happened');
  assert.equal(Object(core.body.involvedObject).name, 'p');
  const selected = await lab.send('GET', '/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Dp');
  assert.equal(itemsOf(selected).length, 1);
});

test('objects, revisions and cluster addresses are the same after a restart', async () => {
  const body = { metadata: { name: 'kept' }, spec: { ports: [{ port: 80 }], type: 'NodePort' } };
  const services = '/api/v1/namespaces/default/services';
  const created = await lab.send('POST', services, { body });
  assert.equal(created.code, 201, created.text);
  await lab.restart();
  const read = await lab.send('GET', `${services}/kept`);
  assert.deepEqual(read.body, created.body);
  const { nodePort } = Object(created.body.spec).ports[0];
  const second = await lab.send('POST', services, {
    body: { metadata: { name: 'rival' }, spec: { ports: [{ port: 80, nodePort }], type: 'NodePort' } },
  });
  assert.equal(second.code, 422);
  assert.match(String(second.body.message), /Invalid value: \d+: provided port is already allocated/);
});
