// The proxy mode changes on a running node: no request fails, no connection ends, and nothing of the former mode is left.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { installedBackends } from '../../src/linux/iptables-run.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';
import { Line, Requests } from './ongoing.ts';

const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
const web = service('web', { clusterIP: '10.96.0.1', type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] });
const lonely = service('lonely', { clusterIP: '10.96.0.2' });
const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' } };
const skip = installedBackends().length === 0 && 'iptables is not installed';

describe('the proxy mode changes', { timeout: 60_000, skip }, () => {
  let network: Network;
  let proxy: ProxyProcess;
  const ask = (from: string, address: string, port: number): Promise<string> => network.ask(from, 'tcp', address, port);
  const ruleset = (): string => network.run('node', 'nft', 'list', 'ruleset');
  const change = async (mode: 'nftables' | 'iptables'): Promise<void> => {
    proxy.configure(mode);
    await proxy.inPlace(mode);
  };

  before(async () => {
    network = new Network();
    await Promise.all([
      network.serve('a', 'a'),
      network.serve('b', 'b'),
      network.serve('remote', 'c', 8080, '10.244.2.2'),
    ]);
    network.run('node', 'iptables', '-A', 'FORWARD', '-s', '192.0.2.1', '-j', 'DROP');
    proxy = new ProxyProcess(network, 'configured');
    await proxy.start(node, web, slice('web', [a, b, c]), lonely, slice('lonely', [a]));
    await proxy.inPlace('nftables');
  });
  after(() => network.remove());

  test('without a failed request, over ClusterIP and NodePort, and with connections that go on', async () => {
    const clients = [
      new Requests(network, 'b', '10.96.0.1', 80),
      new Requests(network, 'outside', '172.18.0.2', 30_080),
    ];
    const line = new Line(network, 'outside', '172.18.0.2', 30_080);
    await line.say('before');
    for (const mode of ['iptables', 'nftables', 'iptables', 'nftables'] as const) {
      await change(mode);
      await line.say(mode);
      for (const client of clients) await client.more(20);
    }
    for (const client of clients) {
      const { answered, failed } = await client.end();
      assert.equal(failed, 0);
      assert.ok(answered >= 80, `${answered} requests`);
    }
    line.end();
  });

  test('and nothing of the former mode is left, while foreign rules stay', async () => {
    await change('iptables');
    assert.match(ruleset(), /chain KUBE-SERVICES/);
    assert.doesNotMatch(ruleset(), /weft-proxy/);
    assert.match(await ask('node', '127.0.0.1', 30_080), /^[abc] /);
    await change('nftables');
    assert.doesNotMatch(ruleset(), /KUBE-/);
    assert.match(ruleset(), /weft-proxy/);
    assert.match(network.run('node', 'iptables-save'), /-A FORWARD -s 192\.0\.2\.1\/32 -j DROP/);
    assert.match(await ask('node', '127.0.0.1', 30_080), /^[abc] /);
  });

  test('and Services that changed meanwhile are as they should be', async () => {
    proxy.configure('iptables');
    await proxy.put(slice('lonely', [b]));
    await proxy.put(service('new', { clusterIP: '10.96.0.3' }), slice('new', [c]));
    await change('iptables');
    assert.match(await ask('a', '10.96.0.2', 80), /^b /);
    assert.match(await ask('a', '10.96.0.3', 80), /^c /);
    await proxy.delete(service('new', {}), slice('new', []));
    assert.doesNotMatch(ruleset(), /default\/new/);
    await change('nftables');
  });

  test('a mode that there is not leaves the one that is in place', async () => {
    proxy.configure('eBPF');
    await proxy.put(slice('lonely', [c]));
    assert.match(await ask('a', '10.96.0.2', 80), /^c /);
    assert.match(ruleset(), /weft-proxy/);
  });

  test('an agent that starts with another mode takes away what was left', async () => {
    await proxy.end(true);
    proxy = new ProxyProcess(network, 'configured');
    proxy.configure('iptables');
    await proxy.start(node, web, slice('web', [a]));
    await proxy.inPlace('iptables');
    assert.doesNotMatch(ruleset(), /weft-proxy/);
    assert.match(await ask('b', '10.96.0.1', 80), /^a /);
  });
});
