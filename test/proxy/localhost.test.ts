// NodePorts on 127.0.0.1 make the kernel let such packets pass links: nobody else may use that.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Node } from '../../src/k8s/types.generated.ts';
import { netnsPath, sysctl } from '../../src/linux/netns.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

describe('127.0.0.1 of a node', { timeout: 60_000 }, () => {
  let network: Network;
  let proxy: ProxyProcess;

  before(async () => {
    network = new Network();
    await Promise.all([network.serve('a', 'a'), network.serve('node', 'secret', 7000, '127.0.0.1')]);
    // A neighbour that sends what is for 127.0.0.1 to the node.
    sysctl(netnsPath(network.ns('outside')), 'net.ipv4.conf.all.route_localnet', '1');
    network.run('outside', 'ip', 'route', 'delete', 'local', '127.0.0.0/8', 'dev', 'lo', 'table', 'local');
    network.run('outside', 'ip', 'route', 'delete', 'local', '127.0.0.1', 'dev', 'lo', 'table', 'local');
    network.run('outside', 'ip', 'route', 'add', '127.0.0.0/8', 'via', '172.18.0.2');
    proxy = new ProxyProcess(network);
    const node: Node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' }, spec: {} };
    await proxy.start(
      node,
      service('web', { clusterIP: '10.96.0.1', type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] }),
      slice('web', [{ ip: '10.244.1.2' }]),
    );
  });
  after(() => network.remove());

  test('a NodePort answers there, and to nobody but the node itself', async () => {
    await proxy.inPlace('nftables');
    const [inside, beside] = await Promise.all(
      ['node', 'outside'].map((from) => network.ask(from, 'tcp', '127.0.0.1', 30_080)),
    );
    assert.match(inside ?? '', /^a /);
    assert.equal(beside, 'timeout');
  });

  test('what listens there is reached by the node alone, though packets of others come to it', async () => {
    const packets = 'iifname eth0 ip daddr 127.0.0.1 tcp dport 7000 counter';
    for (const [hook, priority] of [
      ['prerouting', -301],
      ['input', 0],
    ] as const) {
      network.run(
        'node',
        'nft',
        `add table ip seen; add chain ip seen ${hook} { type filter hook ${hook} priority ${priority}; }`,
      );
      network.run('node', 'nft', `add rule ip seen ${hook} ${packets}`);
    }
    const seen = (hook: string): number =>
      Number(/counter packets (\d+)/.exec(network.run('node', 'nft', 'list', 'chain', 'ip', 'seen', hook))?.[1]);
    assert.match(await network.ask('node', 'tcp', '127.0.0.1', 7000), /^secret /);
    assert.equal(await network.ask('outside', 'tcp', '127.0.0.1', 7000), 'timeout');
    assert.ok(seen('prerouting') > 0);
    assert.equal(seen('input'), 0);
  });
});
