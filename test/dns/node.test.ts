// The DNS server of a node, asked by its pods at the Service's address with real packets: who answers, and when nobody.
// WEFT_DNS_RATE is how many questions a second a pod asks all the while; 500 where it is absent.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Network } from '../proxy/namespaces.ts';
import { ProxyProcess, service, slice } from '../proxy/objects.ts';

const rate = Number(process.env.WEFT_DNS_RATE ?? 500);
/** What is lost is known by then. */
const patienceMs = 2600;
const here = '10.1.1.1';
const elsewhere = '10.1.1.2';
const dnsPorts = [
  { name: 'dns', port: 53, protocol: 'UDP' },
  { name: 'dns-tcp', port: 53, protocol: 'TCP' },
];
const dns = service('dns', { clusterIP: '10.96.0.10', ports: dnsPorts });
// Only the other node's server is in it: what gets an answer from here got it without the Service.
const endpoints = slice('dns', [{ ip: '172.18.0.3', node: 'remote' }], dnsPorts);

interface Asked {
  readonly lost: number;
  readonly answers: Readonly<Record<string, number>>;
}

for (const [mode, threads] of [
  ['nftables', '2'],
  ['iptables', '0'],
] as const)
  describe(`a node's server with ${threads} threads, the proxy in the mode ${mode}`, { timeout: 60_000 }, () => {
    let network: Network;
    let server: ChildProcess;
    let ask: () => Promise<Asked>;

    const node = (name: string, file: string, ...more: string[]): ChildProcess =>
      network.spawn(
        name,
        process.execPath,
        '--disable-warning=ExperimentalWarning',
        join(import.meta.dirname, file),
        ...more,
      );
    const firstLine = async (child: ChildProcess): Promise<void> => {
      if (child.stdout !== null) await once(child.stdout, 'data');
    };
    const startServer = async (): Promise<void> => {
      server = node('node', 'server-process.ts', here, '172.18.0.2', threads, '10.96.0.10');
      await firstLine(server);
    };
    const dig = (from: string, ...options: string[]): string =>
      network.run(from, 'dig', '+short', '+tries=1', '+time=2', ...options, 'who.default.svc.cluster.local').trim();
    /** Waits until questions are answered from there. */
    const answeredFrom = async (who: string, ms = 10_000): Promise<void> => {
      for (const end = performance.now() + ms; ; ) {
        const before = (await ask()).answers[who] ?? 0;
        await delay(50);
        if (((await ask()).answers[who] ?? 0) > before) return;
        assert.ok(performance.now() < end, `no answer from ${who} within ${ms} ms`);
      }
    };

    before(async () => {
      network = new Network();
      const proxy = new ProxyProcess(network, mode);
      await Promise.all([
        proxy.start(dns, endpoints),
        firstLine(node('remote', 'server-process.ts', elsewhere, '172.18.0.3')),
        startServer(),
      ]);
      const asker = node('a', 'asker.ts', '10.96.0.10', `${rate}`);
      if (asker.stdout === null) throw new Error('the asker has no output');
      const lines = createInterface({ input: asker.stdout })[Symbol.asyncIterator]();
      await lines.next();
      ask = async () => {
        asker.stdin?.write('\n');
        return JSON.parse((await lines.next()).value ?? '') as Asked;
      };
    });
    after(() => network.remove());

    test('pods and the node itself are answered by it, over UDP and TCP, at both addresses, without tracking', async () => {
      await answeredFrom(here);
      for (const address of ['10.96.0.10', '169.254.20.10'])
        for (const transport of ['+notcp', '+tcp'])
          for (const from of ['a', 'node']) assert.equal(dig(from, transport, `@${address}`), here);
      assert.doesNotMatch(network.run('node', 'cat', '/proc/net/nf_conntrack'), /dport=53 /);
    });

    test('the server of another node is reached by its own address', () => {
      assert.equal(dig('a', '@172.18.0.3'), elsewhere);
      assert.equal(dig('remote', '@172.18.0.2'), here);
    });

    test('nothing is lost when it ends, while it is away, and when it comes back', async () => {
      const before = await ask();
      const end = once(server, 'exit');
      server.kill('SIGTERM');
      await answeredFrom(elsewhere);
      await end;
      assert.equal(dig('a', '+tcp', '@10.96.0.10'), elsewhere);
      assert.equal(dig('node', '@10.96.0.10'), elsewhere);
      await startServer();
      await answeredFrom(here);
      await delay(patienceMs);
      const after = await ask();
      assert.equal(after.lost - before.lost, 0);
    });

    test('while it is killed, only what it had in its hands is lost', async () => {
      const before = await ask();
      const end = once(server, 'exit');
      const killed = performance.now();
      server.kill('SIGKILL');
      await end;
      const dying = performance.now() - killed;
      await answeredFrom(elsewhere);
      await startServer();
      await answeredFrom(here);
      await delay(patienceMs);
      const after = await ask();
      // A busy machine takes some time to end a process.
      const most = ((dying + 200) / 1000) * rate;
      assert.ok(after.lost - before.lost <= most, `${after.lost - before.lost} lost in ${dying} ms`);
    });

    test('one that hangs is left within about a second, and comes back when it goes on', async () => {
      server.kill('SIGSTOP');
      await answeredFrom(elsewhere);
      server.kill('SIGCONT');
      await answeredFrom(here);
    });

    test('where there are virtual servers, they have the address of the Service, and the server has its local one', async () => {
      network.run('node', 'ip', 'link', 'add', 'kube-ipvs0', 'type', 'bridge');
      await answeredFrom(elsewhere);
      assert.equal(dig('a', '@169.254.20.10'), here);
      network.run('node', 'ip', 'link', 'delete', 'kube-ipvs0');
      await answeredFrom(here);
    });

    test('rules and addresses that someone takes away come back', async () => {
      network.run('node', 'nft', 'delete', 'table', 'ip', 'weft-dns');
      network.run('node', 'ip', 'link', 'delete', 'weft-dns');
      await delay(100);
      await answeredFrom(here);
      assert.match(network.run('node', 'ip', 'address', 'show', 'weft-dns'), /169\.254\.20\.10/);
    });
  });
