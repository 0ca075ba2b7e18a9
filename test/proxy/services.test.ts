// Services with real packets: two nodes, pods, and a client outside of the cluster, each in a namespace of its own.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ServiceCIDR } from '../../src/k8s/types.generated.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
const dnsPorts = [
  { name: 'tcp', port: 8080, protocol: 'TCP' },
  { name: 'udp', port: 8080, protocol: 'UDP' },
];

describe('Services', { timeout: 60_000 }, () => {
  let network: Network;
  let proxy: ProxyProcess;
  const ask = (...question: Parameters<Network['ask']>): Promise<string> => network.ask(...question);
  const askMany = (count: number, ...question: Parameters<Network['ask']>): Promise<string[]> =>
    Promise.all(Array.from({ length: count }, () => ask(...question)));
  const names = (answers: readonly string[]): string[] =>
    [...new Set(answers.map((answer) => answer.split(' ')[0] ?? ''))].sort();

  before(async () => {
    network = new Network();
    await Promise.all([
      network.serve('a', 'a'),
      network.serve('b', 'b'),
      network.serve('remote', 'c', 8080, '10.244.2.2'),
    ]);
    proxy = new ProxyProcess(network);
    await proxy.start(
      service('web', { clusterIP: '10.96.0.1', type: 'NodePort', ports: [{ port: 80, nodePort: 30080 }] }),
      slice('web', [a, b, c]),
      service('empty', { clusterIP: '10.96.0.2', ports: [{ port: 80 }, { name: 'u', port: 80, protocol: 'UDP' }] }),
      service('one', {
        clusterIP: '10.96.0.3',
        ports: [
          { name: 'tcp', port: 80 },
          { name: 'udp', port: 80, protocol: 'UDP' },
        ],
      }),
      slice('one', [a], dnsPorts),
    );
  });
  after(() => network.remove());

  test('a ClusterIP balances over all endpoints', async () => {
    assert.deepEqual(names(await askMany(24, 'a', 'tcp', '10.96.0.1', 80)), ['a', 'b', 'c']);
  });

  test('a pod keeps its own address on the way to a ClusterIP', async () => {
    assert.equal(await ask('b', 'tcp', '10.96.0.3', 80), 'a 10.244.1.3');
    assert.equal(await ask('b', 'udp', '10.96.0.3', 80), 'a 10.244.1.3');
  });

  test('a pod reaches itself through its Service', async () => {
    assert.equal(await ask('a', 'tcp', '10.96.0.3', 80), 'a 10.244.1.1');
    assert.equal(await ask('a', 'udp', '10.96.0.3', 80), 'a 10.244.1.1');
  });

  test('the node and the outside reach a ClusterIP', async () => {
    assert.equal(await ask('node', 'tcp', '10.96.0.3', 80), 'a 10.244.1.1');
    assert.equal(await ask('outside', 'tcp', '10.96.0.3', 80), 'a 10.244.1.1');
  });

  test('a NodePort answers from outside, from the node itself and from a pod, on every endpoint', async () => {
    for (const from of ['outside', 'node', 'b'])
      assert.deepEqual(names(await askMany(24, from, 'tcp', '172.18.0.2', 30_080)), ['a', 'b', 'c'], from);
  });

  test('a Service without endpoints refuses at once, as do ports that a ClusterIP does not have', async () => {
    for (const from of ['a', 'node', 'outside'])
      for (const [address, port] of [
        ['10.96.0.2', 80],
        ['10.96.0.1', 81],
      ] as const) {
        assert.equal(await ask(from, 'tcp', address, port), 'refused', `${from} ${address}:${port}`);
      }
    assert.equal(await ask('a', 'udp', '10.96.0.2', 80), 'refused');
    assert.equal(await ask('a', 'udp', '10.96.0.1', 81), 'refused');
  });

  test('session affinity keeps a client on its endpoint while others come and go, and over a restart', async () => {
    const sticky = service('sticky', { clusterIP: '10.96.0.4', sessionAffinity: 'ClientIP' });
    await proxy.put(sticky, slice('sticky', [a, b, c]));
    const first = names(await askMany(12, 'outside', 'tcp', '10.96.0.4', 80));
    assert.equal(first.length, 1);
    const mine = { a, b, c }[first[0] ?? ''];
    assert.ok(mine);
    const others = [a, b, c].filter((endpoint) => endpoint !== mine);
    for (const endpoints of [[mine, ...others.slice(1)], [mine], [...others, mine]]) {
      await proxy.put(slice('sticky', endpoints));
      assert.deepEqual(names(await askMany(6, 'outside', 'tcp', '10.96.0.4', 80)), first);
    }
    await proxy.put(slice('sticky', others));
    assert.notDeepEqual(names(await askMany(6, 'outside', 'tcp', '10.96.0.4', 80)), first);
  });

  test('externalTrafficPolicy Local shows the true client address and uses local endpoints only', async () => {
    const local = service('local', {
      clusterIP: '10.96.0.5',
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ports: [{ port: 80, nodePort: 30_081 }],
    });
    await proxy.put(local, slice('local', [a, c]));
    assert.deepEqual([...new Set(await askMany(8, 'outside', 'tcp', '172.18.0.2', 30_081))], ['a 172.18.0.9']);
    assert.deepEqual(names(await askMany(16, 'node', 'tcp', '172.18.0.2', 30_081)), ['a', 'c']);
    await proxy.put(slice('local', [c]));
    assert.equal(await ask('outside', 'tcp', '172.18.0.2', 30_081), 'timeout');
    assert.match(await ask('node', 'tcp', '172.18.0.2', 30_081), /^c /);
  });

  test('terminating endpoints serve while no other is ready', async () => {
    const terminating = { ready: false, serving: true, terminating: true };
    const name = service('ending', { clusterIP: '10.96.0.6' });
    await proxy.put(
      name,
      slice('ending', [
        { ...a, ...terminating },
        { ...b, ready: false },
      ]),
    );
    assert.match(await ask('b', 'tcp', '10.96.0.6', 80), /^a /);
    await proxy.put(slice('ending', [{ ...a, ...terminating }, b]));
    assert.deepEqual(names(await askMany(6, 'a', 'tcp', '10.96.0.6', 80)), ['b']);
  });

  test('a load balancer address answers the ranges it is for, and nobody else', async () => {
    const status = { loadBalancer: { ingress: [{ ip: '10.96.200.1' }] } };
    const spec = {
      clusterIP: '10.96.0.7',
      type: 'LoadBalancer',
      loadBalancerSourceRanges: ['10.244.0.0/16', '10.244.1.0/24'],
    };
    await proxy.put(service('balanced', spec, status), slice('balanced', [b]));
    assert.match(await ask('a', 'tcp', '10.96.200.1', 80), /^b /);
    assert.equal(await ask('outside', 'tcp', '10.96.200.1', 80), 'timeout');
    await proxy.delete(slice('balanced', []), service('balanced', spec));
  });

  test('a UDP client is moved when its endpoint goes', async () => {
    const udp = service('udp', { clusterIP: '10.96.0.8', ports: [{ name: 'udp', port: 80, protocol: 'UDP' }] });
    await proxy.put(udp, slice('udp', [a], dnsPorts));
    assert.match(await ask('b', 'udp', '10.96.0.8', 80, 5000), /^a /);
    await proxy.put(slice('udp', [c], dnsPorts));
    // The old flow is forgotten after the rules are written.
    const answers = new Set<string>();
    for (let attempt = 0; attempt < 20 && ![...answers].some((answer) => answer.startsWith('c')); attempt++)
      answers.add(await ask('b', 'udp', '10.96.0.8', 80, 5000));
    assert.ok(
      [...answers].some((answer) => answer.startsWith('c')),
      [...answers].join(),
    );
  });

  test('of two Services that claim an external IP the first by name has it; nobody takes the cluster address of another', async () => {
    const claimed = ['198.51.100.9', '10.96.0.3'];
    const second = service('claim-b', { clusterIP: '10.96.0.52', externalIPs: claimed });
    await proxy.put(second, slice('claim-b', [b]));
    assert.match(await ask('outside', 'tcp', '198.51.100.9', 80), /^b /);
    assert.match(await ask('outside', 'tcp', '10.96.0.3', 80), /^a /);
    const first = service('claim-a', { clusterIP: '10.96.0.51', externalIPs: claimed });
    await proxy.put(first, slice('claim-a', [c]));
    assert.deepEqual(names(await askMany(4, 'outside', 'tcp', '198.51.100.9', 80)), ['c']);
    await proxy.delete(first);
    assert.deepEqual(names(await askMany(4, 'outside', 'tcp', '198.51.100.9', 80)), ['b']);
    await proxy.delete(second);
    assert.match(await ask('outside', 'tcp', '10.96.0.3', 80), /^a /);
  });

  test('IPv6 Services work as those of IPv4 do', async () => {
    await network.serve('b', 'b6', 8080, 'fd44:1::3');
    await proxy.put(
      service('six', { clusterIP: 'fd96::1', clusterIPs: ['fd96::1'] }),
      slice('six', [{ ip: 'fd44:1::3' }]),
    );
    assert.equal(await ask('a', 'tcp', 'fd96::1', 80), 'b6 fd44:1::2');
    assert.equal(await ask('b', 'tcp', 'fd96::1', 80), 'b6 fd44:1::1');
    assert.equal(await ask('a', 'tcp', 'fd96::1', 81), 'refused');
  });

  test('session affinity holds for clients of IPv6 too', async () => {
    await network.serve('a', 'a6', 8081, 'fd44:1::2');
    await network.serve('b', 'b6', 8081, 'fd44:1::3');
    const [first, second] = [{ ip: 'fd44:1::2' }, { ip: 'fd44:1::3' }];
    const port = [{ port: 8081, protocol: 'TCP' }];
    const sticky = service('sticky6', { clusterIP: 'fd96::4', clusterIPs: ['fd96::4'], sessionAffinity: 'ClientIP' });
    await proxy.put(sticky, slice('sticky6', [first, second], port));
    const chosen = names(await askMany(12, 'node', 'tcp', 'fd96::4', 80));
    assert.equal(chosen.length, 1);
    await proxy.put(slice('sticky6', [chosen[0] === 'a6' ? second : first], port));
    assert.notDeepEqual(names(await askMany(6, 'node', 'tcp', 'fd96::4', 80)), chosen);
  });

  test('a table that was flushed or deleted is repaired, and so is one that lost or got a single element', async () => {
    for (const command of [
      'flush table ip weft-proxy',
      'delete table ip weft-proxy',
      'delete element ip weft-proxy services { 10.96.0.3 . tcp . 80 }',
      'delete element ip weft-proxy endpoints-tcp { 10.96.0.3 . 80 . 0 }',
      'flush ruleset',
    ]) {
      network.run('node', 'nft', command);
      for (const end = performance.now() + 2000; !/^a /.test(await ask('b', 'tcp', '10.96.0.3', 80)); )
        assert.ok(performance.now() < end, command);
    }
  });

  test('an added ServiceCIDR: Services in it are reached from the node itself, its unused addresses are not', async () => {
    const added: ServiceCIDR = {
      apiVersion: 'networking.k8s.io/v1',
      kind: 'ServiceCIDR',
      metadata: { name: 'added' },
      spec: { cidrs: ['10.97.0.0/24'] },
    };
    await proxy.put(added, service('far', { clusterIP: '10.97.0.5' }), slice('far', [{ ip: '10.244.1.2' }]));
    assert.match(await network.ask('node', 'tcp', '10.97.0.5', 80), /^a /);
    assert.equal(await network.ask('a', 'tcp', '10.97.0.6', 80), 'timeout');
    assert.match(network.run('node', 'ip', 'route'), /^10\.97\.0\.0\/24 dev eth0 /m);
    await proxy.delete(service('far', {}), slice('far', []), added);
    assert.doesNotMatch(network.run('node', 'ip', 'route'), /10\.97/);
  });
});
