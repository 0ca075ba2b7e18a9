// Runs a DNS server with one Service `default/who` in the namespace that it is started in, for tests. Arguments: the
// address of `who`, by which answers tell who gave them, the node's own address, and how many threads answer; further ones
// are the addresses of the Service of a node's server. Prints `listening`; ends as a pod does, at SIGTERM.
import { serveOnNode } from '../../src/dns/node/serve.ts';
import { startDns } from '../../src/dns/start.ts';
import { createFakeClient } from '../../src/k8s/fake-client.ts';
import { configMaps, namespaces, services } from '../../src/k8s/resources.ts';
import { createLog } from '../../src/log/log.ts';
import { asIp } from '../../src/net/address.ts';

const [who = '', own = '', threads = '0', ...serviceAddresses] = process.argv.slice(2);
const client = createFakeClient();
await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
const corefile = `.:53 {\n kubernetes cluster.local in-addr.arpa ip6.arpa\n loadbalance\n multisocket ${threads}\n}`;
if (threads !== '0')
  await client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'coredns', namespace: 'kube-system' },
    data: { Corefile: corefile },
  });
await client.create(services, {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'who', namespace: 'default' },
  spec: { clusterIP: who, ports: [{ port: 80 }] },
});
const common = { client, zone: 'cluster.local', port: 53, upstreams: [], log: createLog('dns') };
const end =
  serviceAddresses.length > 0
    ? await serveOnNode({ ...common, nodeAddresses: [own], serviceAddresses: serviceAddresses.map(asIp) }).then(
        (server) => () => server.end({ noticeMs: 100, lameduckMs: 400 }),
      )
    : await startDns({ ...common, addresses: [own] }).then((dns) => () => dns.stop());
console.log('listening');
process.once('SIGTERM', () => void end().then(() => process.exit(0)));
