// To the mode ipvs and from it, while clients go on; run in a virtual machine by ipvs.test.ts.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';
import { Line, Requests } from './ongoing.ts';

const [a, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.2.2', node: 'remote' }];
const web = service('web', { clusterIP: '10.96.0.1', type: 'NodePort', ports: [{ port: 80, nodePort: 30_080 }] });
const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' } };

describe('to the mode ipvs and from it', () => {
  let network: Network;
  let proxy: ProxyProcess;

  before(async () => {
    network = new Network();
    await Promise.all([network.serve('a', 'a'), network.serve('remote', 'c', 8080, '10.244.2.2')]);
    proxy = new ProxyProcess(network, 'configured');
    proxy.configure('iptables');
    await proxy.start(node, web, slice('web', [a, c]));
    await proxy.inPlace('iptables');
  });
  after(() => network.remove());

  test('no request fails, connections go on, and nothing of the former mode is left', async () => {
    const clients = [
      // The machine is slow, and has other things to do too.
      new Requests(network, 'b', '10.96.0.1', 80, 0.15),
      new Requests(network, 'outside', '172.18.0.2', 30_080, 0.15),
    ];
    const line = new Line(network, 'outside', '172.18.0.2', 30_080);
    await line.say('before');
    // These two share the names of chains; with nftables there is nothing that both write.
    for (const mode of ['ipvs', 'iptables'] as const) {
      proxy.configure(mode);
      await proxy.inPlace(mode);
      await line.say(mode);
      for (const client of clients) await client.more(10);
      assert.deepEqual(traces(network), tracesOf[mode]);
    }
    for (const client of clients) assert.equal((await client.end()).failed, 0);
  });
});

/** What only one mode has. */
const tracesOf = { iptables: ['KUBE-NODEPORTS'], ipvs: ['KUBE-NODE-PORT'] };

function traces(network: Network): string[] {
  const all = network.run('node', 'nft', 'list', 'chains');
  return ['weft-proxy', 'KUBE-NODEPORTS', 'KUBE-NODE-PORT'].filter((name) => new RegExp(`${name}\\b`).test(all));
}
