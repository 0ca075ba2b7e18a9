// Tests of names, addresses, mounts and certificates of a cluster.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { containerdEnvironment, nodeFiles } from './containerd-config.ts';
import { certificatesOf, identity } from './identities.ts';
import { dnsAddresses, kubernetesAddress, layoutOf } from './layout.ts';
import { planMounts } from './node-mounts.ts';
import { nodeAddressFor, wantedPorts } from './node-ports.ts';
import { identify, isAlive } from './process-file.ts';
import { unreadyNodes } from './readiness.ts';
import { netnsOf } from './remove.ts';
import { decideSettings } from './settings.ts';

const settings = decideSettings({ name: 'x', nodes: 4 });
const layout = layoutOf(settings);

test('nodes are called and numbered as in kind', () => {
  assert.deepEqual(
    layout.nodes.map(({ name, addresses }) => [name, ...addresses]),
    [
      ['x-control-plane', '172.18.0.2'],
      ['x-worker', '172.18.0.3'],
      ['x-worker2', '172.18.0.4'],
      ['x-worker3', '172.18.0.5'],
    ],
  );
});

test('the API server and DNS have the first and the tenth Service address', () => {
  assert.equal(kubernetesAddress(settings), '10.96.0.1');
  assert.deepEqual(dnsAddresses(settings), ['10.96.0.10']);
});

test('Unix socket paths of the longest name fit the kernel', () => {
  const longest = layoutOf(decideSettings({ name: 'x'.repeat(40), nodes: 100 }));
  for (const node of longest.nodes)
    for (const path of [node.dialSocket, `${node.containerdRun}/containerd.sock`]) assert.ok(path.length < 108, path);
});

test('only namespaces that Weft would make belong to a cluster', () => {
  const all = ['x-underlay', 'x-worker', 'x-worker1', 'x-worker12', 'x-y-worker', 'xx-worker', 'x-worker2', 'x-web'];
  assert.deepEqual(netnsOf('x', all), ['x-underlay', 'x-worker', 'x-worker12', 'x-worker2']);
});

test('every certificate names its user and group, and servers every address they are called by', () => {
  const certificates = certificatesOf(settings, layout);
  assert.deepEqual(certificates.get(identity.admin)?.organizations, ['system:masters']);
  const [first] = layout.nodes;
  assert.ok(first);
  assert.equal(certificates.get(identity.agent(first))?.commonName, 'system:node:x-control-plane');
  assert.deepEqual(certificates.get(identity.kubelet(first))?.usages, ['server']);
  assert.deepEqual(certificates.get(identity.apiServer)?.ips, ['127.0.0.1', '::1', '10.96.0.1', '172.18.0.2']);
});

test('whatever a node writes lies in its own folders: only overlays, kept folders and memory', () => {
  const [first] = layout.nodes;
  assert.ok(first);
  const steps = planMounts(layout, first);
  const covered = steps.flatMap((step) => (step.type === 'overlay' || step.type === 'tmpfs' ? [step.at] : []));
  for (const step of steps)
    if (step.type === 'file')
      assert.ok(
        covered.some((folder) => step.at.startsWith(`${folder}/`)),
        step.at,
      );
  for (const step of steps)
    if (step.type === 'bind')
      assert.ok(covered.some((folder) => step.at.startsWith(`${folder}/`)) || step.at === step.from, step.at);
  const order = (at: string): number => steps.findIndex((step) => 'at' in step && step.at === at);
  assert.ok(order('/run') < order(layout.run) && order('/var/lib') < order('/var/lib/kubelet'));
});

test('containerd asks the image gateway first and goes out by the proxy only', () => {
  const [first] = layout.nodes;
  assert.ok(first);
  const files = nodeFiles(layout, first);
  const text = (path: string): string => files.find((file) => file.path === path)?.text ?? '';
  assert.match(text('/etc/containerd/certs.d/_default/hosts.toml'), /http:\/\/127\.0\.0\.1:5000/);
  assert.match(text('/etc/containerd/config.toml'), /sandbox_image = "weft\.local\/pause:1"/);
  assert.match(text('/etc/hosts'), /172\.18\.0\.5 x-worker3/);
  assert.equal(containerdEnvironment.NO_PROXY, '127.0.0.1');
});

test('the NodePorts of Services are wanted, and nothing of other Services', () => {
  const service = (name: string, type: string, ports: object[]) => ({
    apiVersion: 'v1' as const,
    kind: 'Service' as const,
    metadata: { name, namespace: 'd' },
    spec: { type, clusterIPs: ['10.96.1.1'], ports: ports as { port: number }[] },
  });
  const wanted = wantedPorts([
    service('a', 'NodePort', [
      { port: 80, nodePort: 30080 },
      { port: 53, nodePort: 30053, protocol: 'UDP' },
    ]),
    service('b', 'ClusterIP', [{ port: 80 }]),
    service('c', 'LoadBalancer', [
      { port: 80, nodePort: 30081 },
      { port: 9, nodePort: 30009, protocol: 'SCTP' },
    ]),
    {
      ...service('d', 'LoadBalancer', [{ port: 80 }]),
      status: { loadBalancer: { ingress: [{ ip: '172.18.250.1' }, { ip: 'fd01::1' }] } },
    },
    service('waiting', 'LoadBalancer', [{ port: 81 }]),
  ]);
  assert.deepEqual([...wanted.keys()], ['TCP/30080', 'UDP/30053', 'TCP/30081', 'TCP/172.18.250.1/80']);
  assert.deepEqual(wanted.get('TCP/172.18.250.1/80'), {
    service: 'd/d',
    protocol: 'TCP',
    nodePort: 80,
    families: ['IPv4'],
    addresses: ['172.18.250.1', 'fd01::1'],
  });
  assert.deepEqual(wanted.get('TCP/30080'), {
    service: 'd/a',
    protocol: 'TCP',
    nodePort: 30080,
    families: ['IPv4'],
  });
});

test('a client of the host comes to the address of its own family where the Service has that one', () => {
  const dual = { addresses: [asIp('172.18.0.2'), asIp('fd01::2')] } as const;
  assert.equal(nodeAddressFor('IPv6', ['IPv4', 'IPv6'], dual), 'fd01::2');
  assert.equal(nodeAddressFor('IPv6', ['IPv4'], dual), '172.18.0.2');
  assert.equal(nodeAddressFor('IPv4', ['IPv6'], dual), 'fd01::2');
});

test('both families: nodes have an address of each, and Services and certificates too', () => {
  const both = decideSettings({ name: 'x', nodes: 2, podCidr: '10.244.0.0/16,fd00:10:244::/56' });
  const places = layoutOf(both);
  const lan = both.underlay[1]?.replace('/64', '');
  assert.deepEqual(
    places.nodes.map(({ addresses }) => addresses),
    [
      ['172.18.0.2', `${lan}2`],
      ['172.18.0.3', `${lan}3`],
    ],
  );
  assert.equal(kubernetesAddress(both), '10.96.0.1');
  assert.deepEqual(dnsAddresses(both), ['10.96.0.10', 'fd00:10:96::a']);
  assert.ok(certificatesOf(both, places).get(identity.apiServer)?.ips?.includes(`${lan}2`));
});

test('a cluster is ready when each of its nodes says so', () => {
  const node = (name: string, status: string) => ({
    apiVersion: 'v1' as const,
    kind: 'Node' as const,
    metadata: { name },
    spec: {},
    status: { conditions: [{ type: 'Ready', status }] },
  });
  assert.deepEqual(unreadyNodes(['a', 'b', 'c'], [node('a', 'True'), node('b', 'False')]), ['b', 'c']);
});

test('a process is told from a later one with its number by its start time', () => {
  const own = identify(process.pid);
  assert.ok(own);
  assert.equal(isAlive(own), true);
  assert.equal(isAlive({ ...own, startTime: '1' }), false);
  assert.equal(identify(2 ** 22 + 1), undefined);
});
