import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answer, type Lab, startLab } from './lab.ts';

let lab: Lab;
before(async () => {
  lab = await startLab(['10.96.0.0/28']);
});
after(() => lab.stop());

const networking = '/apis/networking.k8s.io/v1';
const services = '/api/v1/namespaces/default/services';
const ok = (answer: Answer): Record<string, unknown> => {
  assert.ok(answer.code < 300, answer.text);
  return answer.body;
};
const faultOf = (answer: Answer): string => {
  assert.equal(answer.code, 422, answer.text);
  return String(answer.body.message);
};
const createService = (name: string, spec: object = {}): Promise<Answer> =>
  lab.send('POST', services, { body: { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } } });
const addressOf = (answer: Answer): string => String(Object(ok(answer).spec).clusterIP);
const createCidr = (name: string, ...cidrs: string[]): Promise<Answer> =>
  lab.send('POST', `${networking}/servicecidrs`, { body: { metadata: { name }, spec: { cidrs } } });
const setReady = (name: string, status: 'True' | 'False'): Promise<Answer> =>
  lab.send('PATCH', `${networking}/servicecidrs/${name}/status`, {
    headers: { 'content-type': 'application/merge-patch+json' },
    body: { status: { conditions: [{ type: 'Ready', status, lastTransitionTime: null }] } },
  });

test('the range of the server is the ServiceCIDR kubernetes, and is ready', async () => {
  const { out } = await lab.kubectl('get', 'servicecidrs');
  assert.match(out, /^NAME +CIDRS +AGE\nkubernetes +10\.96\.0\.0\/28 /);
  const cidr = ok(await lab.send('GET', `${networking}/servicecidrs/kubernetes`));
  const [condition] = Object(cidr.status).conditions;
  assert.deepEqual([condition.type, condition.status], ['Ready', 'True']);
});

test('the ServiceCIDR kubernetes comes back when somebody deletes it', async () => {
  const old = ok(await lab.send('GET', `${networking}/servicecidrs/kubernetes`));
  ok(await lab.send('DELETE', `${networking}/servicecidrs/kubernetes`));
  const now = ok(await lab.send('GET', `${networking}/servicecidrs/kubernetes`));
  assert.notEqual(Object(now.metadata).uid, Object(old.metadata).uid);
  assert.equal(Object(now.status).conditions[0].status, 'True');
});

test('each cluster address is an IPAddress that names its Service, as long as that has it', async () => {
  const address = addressOf(await createService('owner'));
  const object = ok(await lab.send('GET', `${networking}/ipaddresses/${address}`));
  assert.deepEqual(Object(object.spec).parentRef, {
    group: '',
    resource: 'services',
    namespace: 'default',
    name: 'owner',
  });
  assert.equal(Object(object.metadata).labels['ipaddress.kubernetes.io/managed-by'], 'ipallocator.k8s.io');
  const { out } = await lab.kubectl('get', 'ip');
  assert.match(out, /^NAME +PARENTREF\n/);
  assert.match(out, new RegExp(`^${address} +services/default/owner$`, 'm'));
  assert.match(out, /^10\.96\.0\.1 +services\/default\/kubernetes$/m);
  const body = { metadata: { name: 'owner' }, spec: { type: 'ExternalName', externalName: 'example.com' } };
  ok(await lab.send('PUT', `${services}/owner`, { body }));
  assert.equal((await lab.send('GET', `${networking}/ipaddresses/${address}`)).code, 404);
});

test('an address that somebody else has by an IPAddress is given to no Service', async () => {
  const parentRef = { group: 'gateway.networking.k8s.io', resource: 'gateways', namespace: 'default', name: 'g' };
  const body = { metadata: { name: '10.96.0.9' }, spec: { parentRef } };
  ok(await lab.send('POST', `${networking}/ipaddresses`, { body }));
  assert.match(faultOf(await createService('rival', { clusterIP: '10.96.0.9' })), /provided IP is already allocated/);
  ok(await lab.send('DELETE', `${networking}/ipaddresses/10.96.0.9`));
  addressOf(await createService('rival', { clusterIP: '10.96.0.9' }));
});

test('an added ServiceCIDR gives room on a running cluster once it is ready, and none when it is being deleted', async () => {
  let full: Answer;
  let count = 0;
  do full = await createService(`fill-${count++}`);
  while (full.code < 300);
  assert.match(faultOf(full), /range is full/);
  ok(await createCidr('more', '10.97.0.0/24'));
  assert.match(faultOf(await createService('waits')), /range is full/);
  ok(await setReady('more', 'True'));
  const address = addressOf(await createService('has-room'));
  assert.match(address, /^10\.97\.0\.\d+$/);
  assert.ok(Number(address.split('.')[3]) > 16, 'automatic addresses begin after the band for chosen ones');
  addressOf(await createService('chosen', { clusterIP: '10.97.0.5' }));
  ok(
    await lab.send('PATCH', `${networking}/servicecidrs/more`, {
      headers: { 'content-type': 'application/merge-patch+json' },
      body: { metadata: { finalizers: ['example.com/wait'] } },
    }),
  );
  ok(await lab.send('DELETE', `${networking}/servicecidrs/more`));
  assert.match(faultOf(await createService('too-late')), /range is full/);
});

test('a ServiceCIDR is checked, and its ranges stay but for a second family', async () => {
  assert.match(faultOf(await createCidr('none')), /spec.cidrs: Required value: at least one CIDR required/);
  assert.match(faultOf(await createCidr('one', '10.1.0.1/24')), /must be in canonical form \("10.1.0.0\/24"\)/);
  assert.match(
    faultOf(await createCidr('two', '10.1.0.0/24', '10.2.0.0/24')),
    /no more than one IP for each IP family/,
  );
  assert.match(faultOf(await createCidr('bad', 'here')), /must be a valid CIDR value/);
  ok(await createCidr('plain', '10.1.0.0/24'));
  const replace = (...cidrs: string[]): Promise<Answer> =>
    lab.send('PUT', `${networking}/servicecidrs/plain`, { body: { metadata: { name: 'plain' }, spec: { cidrs } } });
  assert.match(faultOf(await replace('10.2.0.0/24')), /spec.cidrs\[0\]: .*field is immutable/);
  ok(await replace('10.1.0.0/24', 'fd00:1::/112'));
  assert.match(faultOf(await replace('10.1.0.0/24')), /spec.cidrs: .*field is immutable/);
});

test('an IPAddress has its address as its name, in canonical form, and keeps its parent', async () => {
  const create = (name: string, parentRef: object): Promise<Answer> =>
    lab.send('POST', `${networking}/ipaddresses`, { body: { metadata: { name }, spec: { parentRef } } });
  const parent = { resource: 'things', name: 'a' };
  assert.match(faultOf(await create('fd00:0::1', parent)), /must be in canonical form \("fd00::1"\)/);
  assert.match(faultOf(await create('here', parent)), /must be a valid IP address/);
  assert.match(faultOf(await create('fd00::1', { name: 'a' })), /spec.parentRef.resource: Required value/);
  ok(await create('fd00::1', parent));
  const body = { metadata: { name: 'fd00::1' }, spec: { parentRef: { ...parent, name: 'b' } } };
  assert.match(faultOf(await lab.send('PUT', `${networking}/ipaddresses/fd00::1`, { body })), /field is immutable/);
});

const beta = '/apis/networking.k8s.io/v1beta1';

test('v1beta1 is served beside v1, which is preferred', async () => {
  const group = ok(await lab.send('GET', '/apis/networking.k8s.io'));
  assert.deepEqual(
    Object(group.versions).map(({ version }: { version: string }) => version),
    ['v1', 'v1beta1'],
  );
  assert.equal(Object(group.preferredVersion).version, 'v1');
  const { resources } = ok(await lab.send('GET', beta));
  assert.deepEqual(
    Object(resources).map(({ name }: { name: string }) => name),
    ['ipaddresses', 'servicecidrs', 'servicecidrs/status'],
  );
  const document = ok(await lab.send('GET', `/openapi/v3${beta}`));
  const { schemas } = Object(document.components);
  assert.deepEqual(schemas['io.k8s.api.networking.v1beta1.ServiceCIDR']['x-kubernetes-group-version-kind'], [
    { group: 'networking.k8s.io', version: 'v1beta1', kind: 'ServiceCIDR' },
  ]);
});

test('an object is the same in v1beta1 and v1, whichever it was written by', async () => {
  const apiVersion = 'networking.k8s.io/v1beta1';
  const body = { apiVersion, kind: 'ServiceCIDR', metadata: { name: 'old' }, spec: { cidrs: ['10.98.0.0/28'] } };
  const made = ok(await lab.send('POST', `${beta}/servicecidrs`, { body }));
  assert.equal(made.apiVersion, apiVersion);
  const now = ok(await lab.send('GET', `${networking}/servicecidrs/old`));
  assert.equal(now.apiVersion, 'networking.k8s.io/v1');
  const { apiVersion: _, ...rest } = now;
  assert.deepEqual({ ...rest, apiVersion }, ok(await lab.send('GET', `${beta}/servicecidrs/old`)));
  ok(await setReady('old', 'True'));
  const list = ok(await lab.send('GET', `${beta}/servicecidrs`));
  assert.equal(list.apiVersion, apiVersion);
  const old = Object(list.items).find(({ metadata }: { metadata: { name: string } }) => metadata.name === 'old');
  assert.equal(old.status.conditions[0].status, 'True');
  const watch = `${beta}/servicecidrs?watch=true&timeoutSeconds=1&fieldSelector=metadata.name=old`;
  const [first = ''] = (await lab.send('GET', watch)).text.split('\n');
  assert.equal(JSON.parse(first).object.apiVersion, apiVersion);
  ok(await lab.send('DELETE', `${beta}/servicecidrs/old`));
  assert.equal((await lab.send('GET', `${networking}/servicecidrs/old`)).code, 404);
});

test('the rules of v1 hold in v1beta1', async () => {
  const wrong = { metadata: { name: 'wrong' }, spec: { cidrs: ['10.98.0.1/28'] } };
  assert.match(faultOf(await lab.send('POST', `${beta}/servicecidrs`, { body: wrong })), /spec\.cidrs\[0\]/);
  const address = { metadata: { name: '10.98.0.01' }, spec: {} };
  assert.match(faultOf(await lab.send('POST', `${beta}/ipaddresses`, { body: address })), /metadata\.name/);
  const current = ok(await lab.send('GET', `${beta}/servicecidrs/kubernetes`));
  const body = { ...current, spec: { cidrs: ['10.99.0.0/16'] } };
  assert.match(faultOf(await lab.send('PUT', `${beta}/servicecidrs/kubernetes`, { body })), /spec\.cidrs/);
});

test('kubectl describes a ServiceCIDR and an IPAddress, in whichever version it asks', async (t) => {
  // Before 1.31 kubectl knew neither, or asked for v1alpha1, which Kubernetes 1.36 does not serve either.
  const client = JSON.parse((await lab.kubectl('version', '--client', '-o', 'json')).out);
  if (Number.parseInt(client.clientVersion.minor, 10) < 31) return t.skip('kubectl is older than 1.31');
  const range = await lab.kubectl('describe', 'servicecidr', 'kubernetes');
  assert.match(range.out, /^Name: +kubernetes\n(?:.*\n)*CIDRs: +10\.96\.0\.0\/28$/m, range.err);
  const address = await lab.kubectl('describe', 'ipaddress', '10.96.0.1');
  assert.match(address.out, /^Name: +10\.96\.0\.1\n/, address.err);
  const explained = await lab.kubectl('explain', 'servicecidr.spec', '--api-version=networking.k8s.io/v1beta1');
  assert.match(explained.out, /cidrs/, explained.err);
});
