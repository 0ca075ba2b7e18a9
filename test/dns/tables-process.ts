// The DNS server of a node with one Service of each kind, in the namespace that it is started in, for tests.
import { serveOnNode } from '../../src/dns/node/serve.ts';
import { createFakeClient } from '../../src/k8s/fake-client.ts';
import { endpointSlices, namespaces, services } from '../../src/k8s/resources.ts';
import type { EndpointSlice, ServiceSpec } from '../../src/k8s/types.generated.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';

const client = createFakeClient();
await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'kube-system' }, spec: {} });

const service = (name: string, spec: ServiceSpec, namespace = 'default') =>
  client.create(services, { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec });
type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];
const slice = (name: string, addressType: 'IPv4' | 'IPv6', endpoints: readonly Endpoint[]) =>
  client.create(endpointSlices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${name}-${addressType.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': name },
    },
    addressType,
    ports: [{ name: 'sql', port: 3306, protocol: 'TCP' }],
    endpoints: [...endpoints],
  });
const endpoint = (ip: string, more: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [ip],
  conditions: { ready: true },
  ...more,
});

await service('web', {
  clusterIP: '10.96.0.1',
  ports: [
    { name: 'http', port: 80 },
    { port: 81, protocol: 'UDP' },
  ],
});
const both = ['10.96.0.2', 'fd96::2'];
await service('dual', { clusterIP: '10.96.0.2', clusterIPs: both, ports: [{ name: 'http', port: 80 }] });
await service('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 3306 }] });
await slice('db', 'IPv4', [
  endpoint('10.244.1.2', { hostname: 'db-0' }),
  endpoint('10.244.1.3'),
  endpoint('10.244.1.4', { conditions: { ready: false } }),
]);
await slice('db', 'IPv6', [endpoint('fd44:1::2', { hostname: 'db-0' })]);
await service('idle', { clusterIP: 'None' });
await slice('idle', 'IPv4', [endpoint('10.244.1.9', { conditions: { ready: false } })]);
// What publishNotReadyAddresses makes of an endpoint that is not ready: the controller says that it is.
await service('early', { clusterIP: 'None', publishNotReadyAddresses: true });
await slice('early', 'IPv4', [endpoint('10.244.1.8', { conditions: { ready: true, serving: false } })]);
await service('many', { clusterIP: 'None' });
await slice(
  'many',
  'IPv4',
  Array.from({ length: 100 }, (_, index) => endpoint(`10.244.2.${index + 1}`)),
);
await service('out', { type: 'ExternalName', externalName: 'Example.COM.' });
await service('alias', { type: 'ExternalName', externalName: 'dual.default.svc.cluster.local' });
await service('1st', { clusterIP: '10.96.0.5', ports: [{ port: 80 }] });
await service('kube-dns', { clusterIP: '10.96.0.10', ports: [{ port: 53 }] }, 'kube-system');

await serveOnNode({
  client,
  zone: 'cluster.local',
  port: 53,
  upstreams: [],
  log: createLog('dns'),
  nodeAddresses: ['172.18.0.2'],
  serviceAddresses: ['10.96.0.10', 'fd96::a'].map(asIp),
});
console.log('listening');
