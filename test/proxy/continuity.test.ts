// What is under way goes on: while Services change, while the proxy is away, and when it comes back.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
const web = service('web', { clusterIP: '10.96.0.1' });
const stickies = [
  service('sticky', { clusterIP: '10.96.0.2', sessionAffinity: 'ClientIP' }),
  slice('sticky', [a, b, c]),
  service('sticky6', { clusterIP: 'fd96::2', clusterIPs: ['fd96::2'], sessionAffinity: 'ClientIP' }),
  slice('sticky6', [{ ip: 'fd44:1::2' }, { ip: 'fd44:1::3' }]),
];

describe('while the proxy works', { timeout: 60_000 }, () => {
  let network: Network;
  let proxy: ProxyProcess;

  before(async () => {
    network = new Network();
    await Promise.all([
      network.serve('a', 'a'),
      network.serve('b', 'b'),
      network.serve('a', 'a', 8080, 'fd44:1::2'),
      network.serve('b', 'b', 8080, 'fd44:1::3'),
      network.serve('remote', 'c', 8080, '10.244.2.2'),
    ]);
    proxy = new ProxyProcess(network);
    await proxy.start(web, slice('web', [a, b, c]), ...stickies);
  });
  after(() => network.remove());

  /** A connection that stays: the name of the endpoint that took it, and a line that has to come back on it. */
  async function converse(from: string, address: string) {
    const { stdin, stdout } = network.spawn(from, 'perl', '-e', lineClient, address, '80');
    if (stdin === null || stdout === null) throw new Error('the client has no pipes');
    const lines = stdout.setEncoding('utf8');
    const [greeting]: string[] = await once(lines, 'data');
    const name = greeting?.split(' ')[0] ?? assert.fail(`nobody greets at ${address}`);
    const echo = async (word: string): Promise<void> => {
      stdin.write(`${word}\n`);
      assert.deepEqual(await once(lines, 'data', { signal: AbortSignal.timeout(5000) }), [`${name} ${word}\n`]);
    };
    return { name, echo };
  }

  test('no connection is lost while endpoints and other Services change', async () => {
    let changing = true;
    const asked = (async () => {
      const answers: string[] = [];
      while (changing) answers.push(await network.ask('b', 'tcp', '10.96.0.1', 80));
      return answers;
    })();
    for (let round = 1; round <= 30; round++) {
      // b always stays: whoever is chosen at the moment of a change still answers.
      await proxy.put(slice('web', [b, ...[a, c].slice(0, round % 3)]));
      await proxy.put(service(`other-${round}`, { clusterIP: `10.96.1.${round}` }), slice(`other-${round}`, [a, b]));
    }
    changing = false;
    const answers = await asked;
    assert.ok(answers.length > 5);
    assert.deepEqual(
      answers.filter((answer) => !/^[abc] /.test(answer)),
      [],
    );
  });

  test("the node's own way to Services is there again after its link was down, and after someone deleted it", async () => {
    const node = network.ns('node');
    for (const damage of [
      ['ip', 'link', 'set', 'eth0', 'down'],
      ['ip', 'route', 'delete', '10.96.0.0/16'],
    ]) {
      network.run('node', ...damage);
      network.run('node', 'ip', 'link', 'set', 'eth0', 'up');
      // A link that goes down loses its addresses of IPv6.
      network.run('node', 'ip', 'addr', 'replace', 'fd18::2/64', 'dev', 'eth0', 'nodad');
      for (const end = performance.now() + 2000; !network.run('node', 'ip', 'route').includes('10.96.0.0/16'); )
        assert.ok(performance.now() < end, `no route in ${node} 2 s after ${damage.join(' ')}`);
    }
    network.run('node', 'ip', 'route', 'replace', '10.244.2.0/24', 'via', '172.18.0.3');
    assert.match(await network.ask('node', 'tcp', '10.96.0.1', 80), /^[abc] /);
  });

  test("the node's own connections to Services live on when the link that they leave by was down", async () => {
    await proxy.put(service('afar', { clusterIP: '10.96.0.3' }), slice('afar', [c]));
    const { echo } = await converse('node', '10.96.0.3');
    await echo('before');
    network.run('node', 'ip', 'link', 'set', 'eth0', 'down');
    network.run('node', 'ip', 'link', 'set', 'eth0', 'up');
    network.run('node', 'ip', 'addr', 'replace', 'fd18::2/64', 'dev', 'eth0', 'nodad');
    network.run('node', 'ip', 'route', 'replace', '10.244.2.0/24', 'via', '172.18.0.3');
    await echo('after');
  });

  test('a connection that was made goes on, new ones work, and affinity is kept, over a kill and a restart', async () => {
    const { name, echo } = await converse('b', '10.96.0.1');
    assert.match(name, /^[abc]$/);
    await echo('before');
    const friend = await network.ask('outside', 'tcp', '10.96.0.2', 80);
    const friend6 = await network.ask('outside', 'tcp', 'fd96::2', 80);
    assert.match(friend6, /^[ab] /);
    await proxy.end(true);
    await echo('without');
    assert.match(await network.ask('a', 'tcp', '10.96.0.1', 80), /^[abc] /);
    proxy = new ProxyProcess(network);
    await proxy.start(web, slice('web', [a, b, c]), ...stickies);
    await echo('after');
    for (let attempt = 0; attempt < 6; attempt++)
      assert.equal(await network.ask('outside', 'tcp', '10.96.0.2', 80), friend);
    for (let attempt = 0; attempt < 6; attempt++)
      assert.equal(await network.ask('outside', 'tcp', 'fd96::2', 80), friend6);
  });
});

/** Prints what the server says, and sends it what comes on standard input. */
const lineClient = `
  use IO::Socket::IP;
  $| = 1;
  my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) or die;
  print scalar <$socket>;
  while (my $line = <STDIN>) { $socket->print($line); print scalar <$socket> }
`;
