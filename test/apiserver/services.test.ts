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

const faultOf = (answer: Answer): string => {
  assert.equal(answer.code, 422, answer.text);
  return String(answer.body.message);
};
const remove = (name: string): Promise<Answer> => lab.send('DELETE', `${services}/${name}`);

const shapes = {
  ClusterIP: { type: 'ClusterIP' },
  NodePort: { type: 'NodePort' },
  LoadBalancer: { type: 'LoadBalancer', externalTrafficPolicy: 'Local', loadBalancerClass: 'example.com/class' },
  ExternalName: { type: 'ExternalName', externalName: 'example.com' },
};
type Shape = keyof typeof shapes;

/** What a Service of a type has, and nothing else. */
function checkShape(shape: Shape, spec: ServiceSpec): void {
  const has = {
    clusterIP: spec.clusterIP !== undefined,
    nodePort: spec.ports?.[0]?.nodePort !== undefined,
    health: spec.healthCheckNodePort !== undefined,
    class: spec.loadBalancerClass !== undefined,
    allocate: spec.allocateLoadBalancerNodePorts !== undefined,
    policy: spec.externalTrafficPolicy !== undefined,
  };
  const balancer = shape === 'LoadBalancer';
  const external = balancer || shape === 'NodePort';
  assert.deepEqual(has, {
    clusterIP: shape !== 'ExternalName',
    nodePort: external,
    health: balancer,
    class: balancer,
    allocate: balancer,
    policy: external,
  });
}

test('each change of the type takes what the new one needs and gives back what it has not', async () => {
  const all: Shape[] = ['ClusterIP', 'NodePort', 'LoadBalancer', 'ExternalName'];
  for (const from of all)
    for (const to of all.filter((one) => one !== from)) {
      const name = `${from}-${to}`.toLowerCase();
      const before = specOf(await create(name, shapes[from]));
      checkShape(from, before);
      // A client that changes what it has read: all that was there stands in the body still.
      const patch = await lab.send('PATCH', `${services}/${name}`, {
        headers: { 'content-type': 'application/merge-patch+json' },
        body: { spec: { externalName: null, ...shapes[to] } },
      });
      checkShape(to, specOf(patch));
      if (from !== 'ExternalName' && to !== 'ExternalName') assert.equal(specOf(patch).clusterIP, before.clusterIP);
      await remove(name);
      // What was given back can be had again: nothing is held by a Service that has changed or gone.
      const { clusterIP } = before;
      const port = { port: 80, ...(before.ports?.[0]?.nodePort && { nodePort: before.ports[0].nodePort }) };
      const again = { ports: [port], ...(clusterIP !== undefined && { clusterIP }) };
      if (from !== 'ExternalName')
        specOf(await create(name, { ...again, type: port.nodePort === undefined ? 'ClusterIP' : 'NodePort' }));
      await remove(name);
    }
});

test('the address of a load balancer goes with the type', async () => {
  specOf(await create('was-balancer', { type: 'LoadBalancer' }));
  const status = { loadBalancer: { ingress: [{ ip: '192.0.2.1' }] } };
  const headers = { 'content-type': 'application/merge-patch+json' };
  await lab.send('PATCH', `${services}/was-balancer/status`, { headers, body: { status } });
  const changed = await replace('was-balancer', { type: 'ClusterIP' });
  assert.deepEqual(changed.body.status, { loadBalancer: {} });
});

test('a load balancer keeps its class and the port of its health check', async () => {
  const spec = specOf(await create('keeps-class', shapes.LoadBalancer));
  assert.ok((spec.healthCheckNodePort ?? 0) >= 30000);
  const other = await replace('keeps-class', { ...shapes.LoadBalancer, loadBalancerClass: 'example.com/other' });
  assert.match(faultOf(other), /spec.loadBalancerClass: .*may not change once set/);
  const moved = await replace('keeps-class', { ...shapes.LoadBalancer, healthCheckNodePort: 32001 });
  assert.match(faultOf(moved), /spec.healthCheckNodePort: .*field is immutable/);
  const cluster = specOf(await replace('keeps-class', { ...shapes.LoadBalancer, externalTrafficPolicy: 'Cluster' }));
  assert.equal(cluster.healthCheckNodePort, undefined);
});

test('fields of load balancers are refused on other types, and what would open the nodes on all', async () => {
  const refused: [object, RegExp][] = [
    [{ loadBalancerClass: 'example.com/a' }, /spec.loadBalancerClass: Forbidden: may only be used when `type` is/],
    [{ allocateLoadBalancerNodePorts: true }, /allocateLoadBalancerNodePorts: Forbidden/],
    [{ type: 'NodePort', healthCheckNodePort: 30999 }, /spec.healthCheckNodePort: .*may only be set when `type` is/],
    [{ type: 'LoadBalancer', ports: [{ port: 10250 }] }, /may not expose port 10250 externally/],
    [{ type: 'LoadBalancer', loadBalancerClass: 'a b' }, /spec.loadBalancerClass: Invalid value/],
    [{ externalIPs: ['127.0.0.1'] }, /may not be in the loopback range/],
  ];
  for (const [spec, message] of refused) assert.match(faultOf(await create('refused', spec)), message);
});

test('node ports of a load balancer are given back where it does without', async () => {
  const plain = specOf(await create('without', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }));
  assert.equal(plain.ports?.[0]?.nodePort, undefined);
  const taken = specOf(await replace('without', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: true }));
  assert.ok((taken.ports?.[0]?.nodePort ?? 0) >= 30000);
  const given = specOf(await replace('without', { type: 'LoadBalancer', allocateLoadBalancerNodePorts: false }));
  assert.equal(given.ports?.[0]?.nodePort, undefined);
});

test('a load balancer may have ports of several protocols', async () => {
  const ports = ['TCP', 'UDP', 'SCTP'].map((protocol, index) => ({
    name: protocol.toLowerCase(),
    port: 53 + index,
    protocol,
  }));
  assert.equal(specOf(await create('mixed', { type: 'LoadBalancer', ports })).ports?.length, 3);
});

test('the settings of session affinity go with it', async () => {
  const config = { sessionAffinityConfig: { clientIP: { timeoutSeconds: 60 } } };
  assert.deepEqual(specOf(await create('sticky', { sessionAffinity: 'ClientIP' })).sessionAffinityConfig, {
    clientIP: { timeoutSeconds: 10800 },
  });
  const loose = specOf(await replace('sticky', { sessionAffinity: 'None', ...config }));
  assert.equal(loose.sessionAffinityConfig, undefined);
});

test('a port that changes its number keeps its node port', async () => {
  const before = specOf(await create('renumbered', { type: 'NodePort' }));
  const after = specOf(await replace('renumbered', { type: 'NodePort', ports: [{ port: 8080 }] }));
  assert.equal(after.ports?.[0]?.nodePort, before.ports?.[0]?.nodePort);
});
