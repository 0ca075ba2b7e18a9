import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProxyMode } from '../k8s/network-config.ts';
import type { Endpoint, EndpointSlice, Service, ServiceSpec } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import type { ProxyNode } from '../proxy/service-port.ts';
import { viewService } from './service-view.ts';

const addresses = [asIp('172.18.0.2')];
const node: ProxyNode = { name: 'here', addresses, nodePortAddresses: addresses, podCidrs: [], zone: 'a' };
const service = (spec: ServiceSpec): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'web', namespace: 'default' },
  spec: { clusterIP: '10.96.0.1', clusterIPs: ['10.96.0.1'], ports: [{ port: 80, nodePort: 30080 }], ...spec },
});
const endpoint = (last: number, nodeName: string, part: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [`10.244.0.${last}`],
  nodeName,
  ...part,
});
const view = (spec: ServiceSpec, ...endpoints: Endpoint[]) => viewIn('nftables', spec, ...endpoints);
const viewIn = (mode: ProxyMode, spec: ServiceSpec, ...endpoints: Endpoint[]) => {
  const slice: EndpointSlice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1' },
    addressType: 'IPv4',
    ports: [{ port: 8080, protocol: 'TCP' }],
    endpoints,
  };
  return viewService({ service: service(spec), slices: [slice], node, externalIps: false, services: [], mode }).view;
};
const reasons = (spec: ServiceSpec, ...endpoints: Endpoint[]): string[] =>
  view(spec, ...endpoints).endpoints.map(({ used, why }) => `${used.join(',') || 'no'}: ${why}`);
const going = { ready: false, serving: true, terminating: true };

test('it says why an endpoint is used on the node, or is not', () => {
  assert.deepEqual(reasons({}, endpoint(1, 'here'), endpoint(2, 'there', { conditions: { ready: false } })), [
    'Cluster: ready',
    'no: not ready',
  ]);
  assert.deepEqual(reasons({}, endpoint(1, 'here'), endpoint(2, 'here', { conditions: going })), [
    'Cluster: ready',
    'no: terminating, and others are ready',
  ]);
  assert.deepEqual(reasons({}, endpoint(1, 'here', { conditions: going })), [
    'Cluster: terminating, but no endpoint is ready',
  ]);
  assert.deepEqual(
    reasons({ internalTrafficPolicy: 'Local', ports: [{ port: 80 }] }, endpoint(1, 'here'), endpoint(2, 'there')),
    ['Local: ready', 'no: it runs on another node, and the traffic policy is Local'],
  );
  const hints = (...zones: string[]) => ({ hints: { forZones: zones.map((name) => ({ name })) } });
  assert.deepEqual(reasons({}, endpoint(1, 'here', hints('a')), endpoint(2, 'there', hints('b'))), [
    'Cluster: ready, and for the zone a',
    'no: it is for the zone b, and this node has nearer ones',
  ]);
  assert.deepEqual(reasons({ clusterIP: 'None' }, endpoint(1, 'here')), [
    'no: the Service has no cluster address: its DNS name leads here',
  ]);
});

test('the addresses are in the order of the chain from the load balancer to the cluster address', () => {
  const { entrances } = view({ type: 'NodePort', externalTrafficPolicy: 'Local' }, endpoint(1, 'there'));
  assert.deepEqual(
    entrances.map(({ kind, port, clients, outsiders }) => [kind, port, clients.to, outsiders?.to]),
    [
      ['NodePort', 30080, 'endpoints', 'drop'],
      ['ClusterIP', 80, 'endpoints', undefined],
    ],
  );
  assert.equal(view({}).entrances.at(-1)?.clients.to, 'reject');
});

test('in the mode ipvs all clients get the endpoints of the node, while there are any', () => {
  const spec: ServiceSpec = { type: 'NodePort', externalTrafficPolicy: 'Local' };
  const nodePort = (...endpoints: Endpoint[]) => {
    const { clients, outsiders } = viewIn('ipvs', spec, ...endpoints).entrances[0] ?? {};
    return [clients?.endpoints, outsiders?.to];
  };
  assert.deepEqual(nodePort(endpoint(1, 'here'), endpoint(2, 'there')), [['10.244.0.1:8080'], undefined]);
  assert.deepEqual(nodePort(endpoint(2, 'there')), [['10.244.0.2:8080'], 'drop']);
  assert.deepEqual(nodePort(), [[], 'reject']);
});
