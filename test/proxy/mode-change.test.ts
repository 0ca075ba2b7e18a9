// The proxy mode changes on a running node: no request fails, no connection ends, and nothing of the former mode is left.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { installedBackends } from '../../src/linux/iptables-run.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

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
    assert.equal(network.run('node', 'sysctl', '-n', 'net.ipv4.conf.all.route_localnet').trim(), '0');
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

/** Some 100 requests a second, each a connection of its own. */
class Requests {
  readonly #child: ChildProcess;
  #answered = 0;
  #failed = 0;
  #told: () => void = () => {};

  constructor(network: Network, from: string, address: string, port: number) {
    this.#child = network.spawn(from, 'perl', '-e', requests, address, String(port));
    this.#child.stdout?.on('data', (data) => {
      for (const letter of String(data)) {
        if (letter === '.') this.#answered++;
        else this.#failed++;
      }
      this.#told();
    });
  }

  /** Resolves after so many more requests. */
  async more(count: number): Promise<void> {
    const until = this.#answered + this.#failed + count;
    while (this.#answered + this.#failed < until)
      await new Promise<void>((resolve) => {
        this.#told = resolve;
      });
  }

  async end(): Promise<{ answered: number; failed: number }> {
    this.#child.stdin?.end();
    await once(this.#child, 'close');
    return { answered: this.#answered, failed: this.#failed };
  }
}

const requests = `
  use IO::Select; use IO::Socket::IP;
  $| = 1;
  my $end = IO::Select->new(\\*STDIN);
  until ($end->can_read(0.008)) {
    my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 3);
    print $socket && IO::Select->new($socket)->can_read(3) && defined <$socket> ? '.' : '!';
  }
`;

/** A connection that goes on: what is said in it comes back from the same endpoint. */
class Line {
  readonly #child: ChildProcess;
  #name: string | undefined;

  constructor(network: Network, from: string, address: string, port: number) {
    this.#child = network.spawn(from, 'perl', '-e', line, address, String(port));
    this.#child.stdout?.setEncoding('utf8');
  }

  async say(word: string): Promise<void> {
    const { stdin, stdout } = this.#child;
    if (stdin === null || stdout === null) throw new Error('the client has no pipes');
    if (this.#name === undefined) {
      const [greeting]: string[] = await once(stdout, 'data');
      this.#name = greeting?.split(' ')[0];
    }
    stdin.write(`${word}\n`);
    assert.deepEqual(await once(stdout, 'data'), [`${this.#name} ${word}\n`]);
  }

  end(): void {
    this.#child.stdin?.end();
  }
}

const line = `
  use IO::Socket::IP;
  $| = 1;
  my $socket = IO::Socket::IP->new(PeerHost => $ARGV[0], PeerPort => $ARGV[1], Timeout => 5) or die;
  print scalar <$socket>;
  while (my $line = <STDIN>) { $socket->print($line); print scalar <$socket> }
`;
