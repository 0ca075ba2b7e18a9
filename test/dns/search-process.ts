// The DNS server of a node whose pod 10.244.1.2 is in the namespace `shop`, for tests; its argument is the upstream.
import { serveOnNode } from '../../src/dns/node/serve.ts';
import { createFakeClient } from '../../src/k8s/fake-client.ts';
import { namespaces, pods, services } from '../../src/k8s/resources.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';

const client = createFakeClient();
for (const name of ['shop', 'other'])
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name }, spec: {} });
await client.create(services, {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'db', namespace: 'other' },
  spec: { clusterIP: '10.96.0.7', ports: [{ port: 80 }] },
});
await client.create(pods, {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'client', namespace: 'shop', uid: 'client-uid' },
  spec: { nodeName: 'node', containers: [{ name: 'c', image: 'i' }] },
  status: { phase: 'Running', podIPs: [{ ip: '10.244.1.2' }] },
});
await serveOnNode({
  client,
  zone: 'cluster.local',
  port: 53,
  upstreams: [process.argv[2] ?? ''],
  log: createLog('dns'),
  nodeName: 'node',
  nodeAddresses: ['172.18.0.2'],
  serviceAddresses: [asIp('10.96.0.10')],
});
console.log('listening');
