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
