// A thousand requests a second to a Service, while its pods are replaced, come and go, a node goes, and the proxy is
// killed and comes back: none may fail. Pods end as Kubernetes promises it: they serve until no proxy sends to them.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice, type TestEndpoint } from './objects.ts';

const rate = 1000;
/** The requests go on for at least so long, however fast all of it is. */
const leastMs = 2_000;
const web = service('web', { clusterIP: '10.96.0.1' });

interface Result {
  readonly sent: number;
  readonly seconds: number;
  readonly answers: Readonly<Record<string, number>>;
  readonly failures: readonly string[];
}

describe('a thousand requests a second', { timeout: 120_000 }, () => {
  let network: Network;
  let proxy: ProxyProcess;
  const servers = new Map<string, ChildProcess>();
  const node = (name: string, file: string, ...argv: string[]): ChildProcess =>
    network.spawn(name, process.execPath, join(import.meta.dirname, file), ...argv);
  const heard = async (child: ChildProcess): Promise<string> => {
    if (child.stdout === null) throw new Error('the program has no output');
    const [text]: unknown[] = await once(child.stdout, 'data');
    return String(text);
  };
  // Two ports are two generations of pods: a slice has one of them for all of its endpoints.
  const slices = (old: readonly TestEndpoint[], young: readonly TestEndpoint[]) => {
    const second = slice('web', young, [{ port: 8081, protocol: 'TCP' }]);
    return [slice('web', old), { ...second, metadata: { ...second.metadata, name: 'web-2' } }];
  };
  const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
  const ending = (pod: TestEndpoint): TestEndpoint => ({ ...pod, ready: false, serving: true, terminating: true });
  const stop = (name: string, port: number): void => void servers.get(name)?.stdin?.write(`stop ${port}\n`);

  before(async () => {
    network = new Network();
    for (const [name, host] of [
      ['a', '10.244.1.2'],
      ['b', '10.244.1.3'],
      ['remote', '10.244.2.2'],
    ] as const)
      servers.set(name, node(name, 'load-server.ts', host, '8080', '8081'));
    proxy = new ProxyProcess(network);
    await Promise.all([...servers.values()].map(heard));
    await proxy.start(web, ...slices([a, b, c], []));
  });
  after(() => network.remove());

  test('none fails while pods are replaced, are more and fewer, a node goes, and the proxy is killed', async () => {
    const client = node('outside', 'load-client.ts', '10.96.0.1', '80', String(rate));
    await heard(client);
    const begin = performance.now();
    // A rolling update: a new pod is ready before an old one begins to end.
    await proxy.put(...slices([a, b, c], [a]));
    await proxy.put(...slices([ending(a), b, c], [a]));
    await proxy.put(...slices([b, c], [a]));
    stop('a', 8080);
    await proxy.put(...slices([b, c], [a, b]));
    await proxy.put(...slices([ending(b), c], [a, b]));
    await proxy.put(...slices([c], [a, b]));
    stop('b', 8080);
    // The proxy is killed, and comes back over its own rules.
    await proxy.end(true);
    proxy = new ProxyProcess(network);
    await proxy.start(web, ...slices([c], [a, b]));
    // Scaled up, and down again; in between other Services come and go.
    await proxy.put(...slices([c], [a, b, c]));
    for (let round = 1; round <= 20 || performance.now() - begin < leastMs; round++) {
      const other = `other-${round % 250}`;
      await proxy.put(
        service(other, { clusterIP: `10.96.1.${round % 250}` }),
        slice(other, round % 2 === 0 ? [a, b] : [c]),
      );
    }
    await proxy.put(...slices([c], [a, ending(b), c]));
    await proxy.put(...slices([c], [a, c]));
    stop('b', 8081);
    // A node goes: its pods end, then it is no more.
    await proxy.put(...slices([ending(c)], [a, ending(c)]));
    await proxy.put(...slices([], [a]));
    stop('remote', 8080);
    stop('remote', 8081);
    await proxy.put(service('last', { clusterIP: '10.96.0.9' }));
    client.stdin?.end();
    const result: Result = JSON.parse(await heard(client));
    const { sent, seconds, answers, failures } = result;
    assert.deepEqual(failures, [], JSON.stringify(result));
    // A machine that is busy with other tests sends them later, not fewer of them.
    assert.ok(sent > rate, `${sent} requests in ${seconds} s`);
    for (const server of ['10.244.1.2:8081', '10.244.2.2:8080', '10.244.1.3:8081'])
      assert.ok((answers[server] ?? 0) > 0, `${server} has answered nothing: ${JSON.stringify(answers)}`);
  });
});
