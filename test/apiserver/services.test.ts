import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ServiceSpec } from '../../src/k8s/types.generated.ts';
import { type Answer, type Lab, startLab } from './lab.ts';

let lab: Lab;
let dual: Lab;
before(async () => {
  [lab, dual] = await Promise.all([startLab(), startLab(['10.96.0.0/16', 'fd00:96::/112'])]);
});
after(() => Promise.all([lab.stop(), dual.stop()]));

const services = '/api/v1/namespaces/default/services';
const specOf = (answer: Answer): ServiceSpec => {
  assert.ok(answer.code < 300, answer.text);
  return Object(answer.body.spec);
};
const create = (name: string, spec: object, on = lab): Promise<Answer> =>
  on.send('POST', services, { body: { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } } });
const replace = (name: string, spec: object, on = lab): Promise<Answer> =>
  on.send('PUT', `${services}/${name}`, { body: { metadata: { name }, spec: { ports: [{ port: 80 }], ...spec } } });

test('a Service gets an address of the range and the defaults of its kind', async () => {
  const spec = specOf(await create('plain', { selector: { a: 'b' } }));
  assert.match(spec.clusterIP ?? '', /^10\.96\.\d+\.\d+$/);
  assert.deepEqual(spec.clusterIPs, [spec.clusterIP]);
  assert.deepEqual([spec.type, spec.ipFamilyPolicy, spec.ipFamilies], ['ClusterIP', 'SingleStack', ['IPv4']]);
  assert.deepEqual(spec.ports, [{ port: 80, protocol: 'TCP', targetPort: 80 }]);
  assert.deepEqual([spec.sessionAffinity, spec.internalTrafficPolicy], ['None', 'Cluster']);
});

test('an update need not repeat what was allocated, and cannot change it', async () => {
  const before = specOf(await create('keeps', { type: 'NodePort' }));
  const after = specOf(await replace('keeps', { type: 'NodePort', selector: { x: 'y' } }));
  assert.deepEqual([after.clusterIP, after.ports], [before.clusterIP, before.ports]);
  const changed = await replace('keeps', { type: 'NodePort', clusterIP: '10.96.0.77' });
  assert.equal(changed.code, 422);
  assert.match(String(changed.body.message), /field is immutable|may not change once set/);
});

test('node ports come and go with the type', async () => {
  const nodePort = specOf(await create('types', { type: 'NodePort' })).ports?.[0]?.nodePort ?? 0;
  assert.ok(nodePort >= 30000 && nodePort <= 32767);
  assert.equal(specOf(await replace('types', { type: 'ClusterIP' })).ports?.[0]?.nodePort, undefined);
  const taker = specOf(await create('taker', { type: 'NodePort', ports: [{ port: 80, nodePort }] }));
  assert.equal(taker.ports?.[0]?.nodePort, nodePort, 'a port that was given back can be had again');
});

test('TCP and UDP of one number share a node port', async () => {
  const ports = [
    { name: 'tcp', port: 53, protocol: 'TCP' },
    { name: 'udp', port: 53, protocol: 'UDP' },
  ];
  const spec = specOf(await create('both', { type: 'NodePort', ports }));
  assert.equal(spec.ports?.[0]?.nodePort, spec.ports?.[1]?.nodePort);
});

test('a chosen address must be free and in the range', async () => {
  specOf(await create('chosen', { clusterIP: '10.96.0.10' }));
  const taken = await create('rival', { clusterIP: '10.96.0.10' });
  assert.equal(taken.code, 422);
  assert.match(String(taken.body.message), /failed to allocate IP 10\.96\.0\.10: provided IP is already allocated/);
  const outside = await create('outside', { clusterIP: '10.97.0.10' });
  assert.match(String(outside.body.message), /the provided IP \(10\.97\.0\.10\) is not in the valid range/);
  await lab.send('DELETE', `${services}/chosen`);
  specOf(await create('rival', { clusterIP: '10.96.0.10' }));
});

test('headless and external-name Services have no addresses', async () => {
  const headless = specOf(await create('headless', { clusterIP: 'None', selector: { a: 'b' } }));
  assert.deepEqual([headless.clusterIP, headless.clusterIPs, headless.ipFamilies], ['None', ['None'], ['IPv4']]);
  const external = specOf(await create('external', { type: 'ExternalName', externalName: 'example.com' }));
  assert.deepEqual([external.clusterIP, external.clusterIPs, external.ipFamilies], [undefined, undefined, undefined]);
  const becomes = specOf(await replace('external', { type: 'ClusterIP' }));
  assert.match(becomes.clusterIP ?? '', /^10\.96\./);
  const back = specOf(await replace('external', { type: 'ExternalName', externalName: 'example.com' }));
  assert.equal(back.clusterIP, undefined);
});

test('two families where the cluster has two', async () => {
  const spec = specOf(await create('dual', { ipFamilyPolicy: 'PreferDualStack' }, dual));
  assert.deepEqual(spec.ipFamilies, ['IPv4', 'IPv6']);
  assert.match(spec.clusterIPs?.[1] ?? '', /^fd00:96::/);
  const six = specOf(await create('six', { ipFamilies: ['IPv6'] }, dual));
  assert.match(six.clusterIP ?? '', /^fd00:96::/);
  const upgraded = specOf(await create('upgraded', {}, dual));
  assert.equal(upgraded.clusterIPs?.length, 1);
  const more = specOf(await replace('upgraded', { ipFamilyPolicy: 'RequireDualStack' }, dual));
  assert.equal(more.clusterIPs?.length, 2);
  assert.equal(more.clusterIPs?.[0], upgraded.clusterIP);
});

test('two families are preferred, but not required, where the cluster has one', async () => {
  const preferred = specOf(await create('preferred', { ipFamilyPolicy: 'PreferDualStack' }));
  assert.deepEqual(preferred.ipFamilies, ['IPv4']);
  const required = await create('required', { ipFamilyPolicy: 'RequireDualStack' });
  assert.equal(required.code, 422);
  assert.match(String(required.body.message), /this cluster is not configured for dual-stack services/);
});

test('the kubernetes Service leads to the API server', async () => {
  assert.equal(specOf(await lab.send('GET', `${services}/kubernetes`)).clusterIP, '10.96.0.1');
  const slice = await lab.send('GET', '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes');
  assert.deepEqual(Object(slice.body.endpoints)[0].addresses, ['172.18.0.2']);
});
