// What others do to nftables beside a proxy: it repairs its own table and says so; nobody else's work concerns it.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

const [a, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.2.2', node: 'remote' }];
const repaired = 'ServiceRulesRepaired';

describe('a proxy beside others on one machine', { timeout: 60_000 }, () => {
  let network: Network;
  let own: ProxyProcess;
  let other: ProxyProcess;
  /** A table with the handles of its rules, which are new when it is written anew. */
  const table = (node: string): string =>
    network.run(node, 'nft', '--handle', '--terse', 'list', 'table', 'ip', 'weft-proxy');

  before(async () => {
    network = new Network();
    await Promise.all([network.serve('a', 'a'), network.serve('remote', 'c', 8080, '10.244.2.2')]);
    const objects = [service('web', { clusterIP: '10.96.0.1' }), slice('web', [a, c])];
    own = new ProxyProcess(network, 'nftables');
    other = new ProxyProcess(network, 'nftables', 'remote');
    await Promise.all([own.start(...objects), other.start(...objects)]);
  });
  after(() => network.remove());

  test('a table that is flushed is repaired within 5 s, with an Event, and the proxy of another node is not concerned', async () => {
    const before = table('remote');
    const commands = ['flush table ip weft-proxy', 'delete table ip6 weft-proxy', 'flush ruleset'];
    for (const [round, command] of commands.entries()) {
      network.run('node', 'nft', command);
      const flushed = performance.now();
      await own.event(repaired, round + 1);
      assert.ok(performance.now() - flushed < 5000, command);
      assert.match(await network.ask('node', 'tcp', '10.96.0.1', 80), /^[ac] /, command);
    }
    await other.put(service('more', { clusterIP: '10.96.0.2' }));
    assert.deepEqual(other.events, []);
    assert.equal(table('remote'), before);
    assert.match(own.events.at(-1) ?? '', /^ServiceRulesRepaired Someone else .*table ip weft-proxy/);
  });

  test('tables of others on the same node are none of its business, nor is its own theirs', async () => {
    const count = own.events.length;
    const before = table('node');
    network.run(
      'node',
      'nft',
      'table ip other { set s { type ipv4_addr; }; chain c { type filter hook forward priority 0; }; }',
    );
    for (let number = 1; number <= 20; number++) {
      network.run(
        'node',
        'nft',
        `add element ip other s { 192.0.2.${number} }; add rule ip other c ip daddr @s counter`,
      );
      await own.put(service(`beside-${number}`, { clusterIP: `10.96.3.${number}` }));
    }
    await own.put(service('last', { clusterIP: '10.96.0.3' }));
    assert.equal(own.events.length, count);
    assert.equal(table('node'), before);
    const rules = network.run('node', 'nft', 'list', 'chain', 'ip', 'other', 'c');
    assert.equal([...rules.matchAll(/daddr @s/g)].length, 20);
  });
});
