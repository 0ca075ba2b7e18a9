import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Endpoint, EndpointSlice, Pod, PodStatus, Service, ServiceSpec } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import type { ProxyNode } from '../proxy/service-port.ts';
import { findingsOf } from './service-findings.ts';
import { viewService } from './service-view.ts';

const addresses = [asIp('172.18.0.2')];
const node: ProxyNode = { name: 'here', addresses, nodePortAddresses: addresses, podCidrs: [] };
const service = (spec: ServiceSpec, name = 'web'): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: {
    ...{ clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ipFamilies: ['IPv4'], selector: { app: 'web' } },
    ...{ ports: [{ port: 80, targetPort: 'http', nodePort: 30080 }], ...spec },
  },
});
const readiness = (status: string): PodStatus => ({ phase: 'Running', conditions: [{ type: 'Ready', status }] });
const pod = (name: string, part: Partial<Pod> = {}, labels: Record<string, string> = { app: 'web' }): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default', labels },
  spec: { nodeName: 'here', containers: [{ name: 'web', ports: [{ name: 'http', containerPort: 8080 }] }] },
  status: readiness('True'),
  ...part,
});
const endpoint = (last: number, nodeName: string, part: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [`10.244.0.${last}`],
  nodeName,
  ...part,
});

interface Case {
  readonly spec?: ServiceSpec;
  readonly pods?: readonly Pod[];
  readonly endpoints?: Endpoint[];
  readonly others?: readonly Service[];
  readonly warning?: string;
  readonly annotations?: Record<string, string>;
}

/** What is told of a Service with one ready pod on this node, but for what the case says. */
function told({ spec = {}, pods = [pod('web-1')], endpoints, others = [], warning, annotations = {} }: Case): string[] {
  const plain = service(spec);
  const of: Service = { ...plain, metadata: { ...plain.metadata, annotations } };
  const slice: EndpointSlice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1' },
    addressType: 'IPv4',
    ports: [{ port: 8080, protocol: 'TCP' }],
    endpoints: endpoints ?? [endpoint(1, 'here')],
  };
  const options = { slices: [slice], externalIps: spec.type !== 'NodePort' };
  const { view } = viewService({ service: of, node, services: [of, ...others], mode: 'nftables', ...options });
  const known = warning === undefined ? {} : { warning };
  return findingsOf({ service: of, view, pods, node: 'here', ...options, ...known }).map(
    ({ reason, text }) => `${reason}: ${text}`,
  );
}

test('nothing is told of a Service that answers', () => {
  assert.deepEqual(told({}), []);
  assert.deepEqual(told({ spec: { type: 'ExternalName', externalName: 'example.org' }, pods: [] }), []);
});

test('no endpoints: it says whether nothing is selected, and what there is to select', () => {
  const endpoints: Endpoint[] = [];
  assert.deepEqual(told({ spec: { selector: {} }, endpoints }), [
    'NoSelector: The Service has no selector: its EndpointSlices are yours to write, and they name no endpoint yet.',
  ]);
  const nothing = 'SelectorMatchesNothing: The selector app=wbe matches no pod in the namespace default:';
  const spec = { selector: { app: 'wbe' } };
  assert.deepEqual(told({ spec, endpoints }), [`${nothing} pods have app=web.`]);
  assert.deepEqual(told({ spec, endpoints, pods: [] }), [`${nothing} there are none.`]);
  assert.deepEqual(told({ spec, endpoints, pods: [pod('x', {}, {})] }), [`${nothing} no pod has such a label.`]);
  assert.deepEqual(told({ endpoints, pods: [pod('web-1', { status: { phase: 'Failed' } })] }), [
    'PodsEnded: All 1 pods that the selector app=web matches in the namespace default have ended.',
  ]);
});

test('pods that are not ready are named, with what keeps them', () => {
  const waiting = (reason: string): PodStatus => ({
    ...readiness('False'),
    containerStatuses: [
      { name: 'web', image: '', imageID: '', ready: false, restartCount: 1, state: { waiting: { reason } } },
    ],
  });
  const running: PodStatus = {
    ...readiness('False'),
    containerStatuses: [{ name: 'web', image: '', imageID: '', ready: false, restartCount: 0, state: { running: {} } }],
  };
  const probed = {
    nodeName: 'here',
    containers: [{ name: 'web', readinessProbe: {}, ports: [{ name: 'http', containerPort: 8080 }] }],
  };
  const unscheduled: PodStatus = {
    phase: 'Pending',
    conditions: [{ type: 'PodScheduled', status: 'False', message: '0/3 nodes are available' }],
  };
  const down: PodStatus = {
    phase: 'Running',
    conditions: [
      { type: 'Ready', status: 'False' },
      { type: 'ContainersReady', status: 'True' },
    ],
  };
  const one = (part: Partial<Pod>): string =>
    told({ pods: [pod('web-1', part)], endpoints: [endpoint(1, 'here', { conditions: { ready: false } })] }).join();
  const none = 'NoPodReady: None of the pods that match is ready: web-1';
  assert.equal(one({ status: waiting('ImagePullBackOff') }), `${none} (container web: ImagePullBackOff).`);
  assert.equal(one({ status: running, spec: probed }), `${none} (container web: its readiness probe does not pass).`);
  assert.equal(one({ status: unscheduled }), `${none} (it has no node: 0/3 nodes are available).`);
  assert.equal(one({ status: down }), `${none} (its node here is not Ready).`);
  const some = ['2', '3', '4', '5'].map((name) => pod(`web-${name}`, { status: waiting('CrashLoopBackOff') }));
  const why = 'container web: CrashLoopBackOff';
  assert.deepEqual(told({ pods: [pod('web-1'), ...some] }), [
    `PodsNotReady: 4 of 5 pods get no connections: web-2 (${why}), web-3 (${why}), web-4 (${why}) and 1 more.`,
  ]);
});

test('a targetPort that the pods do not have is told, with those that they have', () => {
  const ports = (port: object) => ({ spec: { ports: [{ port: 80, ...port }] } });
  assert.deepEqual(told(ports({ targetPort: 'htpp' })), [
    "TargetPortNotFound: Port 80 leads to the port 'htpp', which no container of the pods has: their TCP ports are called http.",
  ]);
  assert.deepEqual(told(ports({ targetPort: 'http', protocol: 'UDP' })), [
    "TargetPortNotFound: Port 80 leads to the port 'http', which no container of the pods has: their port of that name is TCP, not UDP.",
  ]);
  assert.deepEqual(told(ports({ targetPort: 8081 })), [
    'TargetPortNotDeclared: Port 80 leads to 8081/TCP, but the pods declare 8080: perhaps nobody listens there.',
  ]);
  assert.deepEqual(told({ spec: { clusterIP: 'None', clusterIPs: ['None'] } }), [
    'HeadlessPort: The Service is headless: its name leads to the pods themselves, so ask port 8080; nothing leads there from port 80.',
  ]);
});

test('a policy Local without an endpoint on the node is told, with the nodes that have one', () => {
  const endpoints = [endpoint(1, 'there'), endpoint(2, 'yonder')];
  assert.deepEqual(told({ spec: { type: 'NodePort', externalTrafficPolicy: 'Local' }, endpoints }), [
    'NoLocalEndpointForOutside: externalTrafficPolicy is Local and here has no endpoint: who comes from outside to this node gets no answer. There are endpoints on there, yonder.',
  ]);
  assert.deepEqual(told({ spec: { internalTrafficPolicy: 'Local' }, endpoints }), [
    'NoLocalEndpoint: internalTrafficPolicy is Local and here has no endpoint: who asks from this node gets no answer. There are endpoints on there, yonder.',
  ]);
});

test('addresses that lead nowhere, or elsewhere, are told', () => {
  const externalIPs = ['192.0.2.1'];
  assert.deepEqual(told({ spec: { type: 'NodePort', externalIPs } }), [
    'ExternalIPsOff: spec.externalIPs (192.0.2.1) are not served: the cluster was made without --external-ips.',
  ]);
  const ports = [{ port: 80, targetPort: 'http' }];
  const other = service({ clusterIP: '10.96.0.2', clusterIPs: ['10.96.0.2'], externalIPs, ports }, 'first');
  assert.deepEqual(told({ spec: { externalIPs }, others: [other] }), [
    'AddressTaken: 192.0.2.1 port 80/TCP leads to default/first: of two that claim it alike, the first by namespace/name has it.',
  ]);
  assert.deepEqual(told({ spec: { externalIPs: ['10.96.0.2'] }, others: [other] }), [
    'AddressTaken: 10.96.0.2 port 80/TCP leads to default/first: it is a cluster address there, which comes before an external IP.',
  ]);
  const balancer: ServiceSpec = { type: 'LoadBalancer' };
  const nobody = 'NoLoadBalancerAddress: No address for this load balancer:';
  assert.deepEqual(told({ spec: balancer }), [`${nobody} no controller has given it one.`]);
  assert.deepEqual(told({ spec: balancer, warning: 'No address for this load balancer: the pool is full' }), [
    `${nobody} the pool is full.`,
  ]);
  assert.deepEqual(told({ spec: { ipFamilies: ['IPv4', 'IPv6'] } }), [
    "FamilyWithoutEndpoints: Nobody answers at the Service's IPv6 address: no endpoint has one of its own.",
  ]);
});

test('endpoints that are ending, or have no weight, are told', () => {
  const going = { ready: false, serving: true, terminating: true };
  assert.deepEqual(told({ endpoints: [endpoint(1, 'here', { conditions: going })] }), [
    'OnlyEnding: No endpoint is ready: those that are ending answer as long as they can.',
  ]);
  assert.deepEqual(told({ annotations: { 'weft.dev/endpoint-weights': '10.244.0.1=0' } }), [
    'NoWeight: The annotation weft.dev/endpoint-weights gives every endpoint the weight 0.',
  ]);
});
