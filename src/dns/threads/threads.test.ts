import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from '../../k8s/client.ts';
import { createFakeClient } from '../../k8s/fake-client.ts';
import { configMaps, namespaces, services } from '../../k8s/resources.ts';
import type { ConfigMap } from '../../k8s/types.generated.ts';
import { openDatagramSocket } from '../../linux/datagrams.ts';
import { createLog } from '../../log/log.ts';
import { asIp } from '../../net/address.ts';
import { onLoopback } from '../fixtures.ts';
import { type } from '../records.ts';
import { type Dns, startDns } from '../start.ts';
import { questionEnd, readHeader, readRecords, writeQuery } from '../wire.ts';
import { Feed, type FeedMessage } from './feed.ts';
import { AnsweringThreads } from './threads.ts';

process.env.WEFT_LOG = 'silent';
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const corefile = (line: string) => `.:53 {
  kubernetes cluster.local in-addr.arpa
  hosts {
    192.0.2.7 printer.office
    fallthrough
  }
  loadbalance
  ${line}
}`;

const configMap = (line: string): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: 'coredns', namespace: 'kube-system' },
  data: { Corefile: corefile(line) },
});

async function start(line: string): Promise<{ dns: Dns; client: Client; configure(line: string): Promise<unknown> }> {
  const client = createFakeClient();
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
  await client.create(configMaps, configMap(line));
  await setAddress(client, '10.96.0.1');
  const dns = await startDns({
    client,
    ...onLoopback(),
  });
  ends.push(
    () => client.close(),
    () => dns.stop(),
  );
  const configure = async (next: string) => {
    const { metadata } = await client.get(configMaps, { name: 'coredns', namespace: 'kube-system' });
    return client.update(configMaps, { ...configMap(next), metadata });
  };
  return { dns, client, configure };
}

async function setAddress(client: Client, clusterIP: string): Promise<void> {
  const place = { name: 'web', namespace: 'default' };
  await client.delete(services, place).catch(() => {});
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: place,
    spec: { clusterIP, ports: [{ name: 'http', port: 80 }] },
  });
}

/** What is answered at all is answered within this on a machine with much else to do, in ms. */
const patience = 20_000;

/** Asks from many sockets; the kernel spreads them over the threads. */
class Askers {
  readonly #sockets: Socket[] = [];
  readonly #waiting = new Map<number, (answer: string) => void>();
  #id = 0;

  static async open(count: number): Promise<Askers> {
    const askers = new Askers();
    for (let index = 0; index < count; index++) {
      const socket = createSocket('udp4').bind(0, '127.0.0.1');
      await once(socket, 'listening');
      socket.on('message', (message) => askers.#take(message));
      ends.push(() => socket.close());
      askers.#sockets.push(socket);
    }
    return askers;
  }

  /** The address, or the code; rejects where there is no answer in time. */
  ask(port: number, name: string, qtype: number = type.A): Promise<string> {
    const id = ++this.#id & 0xffff;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const late = setTimeout(() => reject(new Error(`${name} is not answered`)), patience);
    this.#waiting.set(id, (answer) => {
      clearTimeout(late);
      resolve(answer);
    });
    this.#sockets[id % this.#sockets.length]?.send(writeQuery(id, name, qtype), port, '127.0.0.1');
    return promise;
  }

  #take(message: Buffer): void {
    const header = readHeader(message);
    if (header === undefined) return;
    const [record] = header.answers === 0 ? [] : readRecords(message, questionEnd(message), 1);
    this.#waiting.get(header.id)?.(record?.data.join('.') ?? `code ${header.flags & 0xf}`);
    this.#waiting.delete(header.id);
  }
}

const web = 'web.default.svc.cluster.local';

async function until(holds: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + patience; !(await holds()); await delay(5))
    assert.ok(performance.now() < end, `not in time: ${holds}`);
}

async function counted({ metricsPort }: Dns): Promise<{ requests: number; sizes: number }> {
  const page = await (await fetch(`http://127.0.0.1:${metricsPort}/metrics`)).text();
  const sum = (pattern: RegExp) => [...page.matchAll(pattern)].reduce((total, [, value]) => total + Number(value), 0);
  return {
    requests: sum(/^coredns_dns_requests_total\{.* (\d+)$/gm),
    sizes: sum(/^coredns_dns_response_size_bytes_count\{.* (\d+)$/gm),
  };
}

test('threads answer with what is known, leave the rest to the main thread, and everything is counted', async () => {
  const { dns } = await start('multisocket 3');
  const askers = await Askers.open(24);
  await until(async () => (await askers.ask(dns.port, web)) === '10.96.0.1');
  const before = await counted(dns);
  const all = Array.from({ length: 60 }, () => [
    askers.ask(dns.port, web),
    askers.ask(dns.port, `none.default.svc.cluster.local`),
    askers.ask(dns.port, 'printer.office'),
    askers.ask(dns.port, '1.0.96.10.in-addr.arpa', type.A),
  ]);
  for (const group of all) assert.deepEqual(await Promise.all(group), ['10.96.0.1', 'code 3', '192.0.2.7', 'code 0']);
  const after = await counted(dns);
  assert.deepEqual([after.requests - before.requests, after.sizes - before.sizes], [240, 240]);
});

test('a change of a Service is in the answers of all threads', async () => {
  const { dns, client } = await start('multisocket 2');
  const askers = await Askers.open(16);
  for (const ip of ['10.96.0.5', '10.96.0.6']) {
    await setAddress(client, ip);
    await until(async () => {
      const all = await Promise.all(Array.from({ length: 16 }, () => askers.ask(dns.port, web)));
      return all.every((given) => given === ip);
    });
  }
});

test('the number of threads changes while questions come, and none is lost', async () => {
  const { dns, configure } = await start('errors');
  const askers = await Askers.open(20);
  let isOver = false;
  let asked = 0;
  const asking = (async () => {
    const all: Promise<string>[] = [];
    while (!isOver) {
      for (let index = 0; index < 10; index++, asked++) all.push(askers.ask(dns.port, web));
      await delay(2);
    }
    return new Set(await Promise.all(all));
  })();
  const page = async () => (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text();
  for (const line of ['multisocket 3', 'multisocket 1', 'errors', 'multisocket 2']) {
    await configure(line);
    const [plugin = ''] = line.split(' ');
    await until(async () => (await page()).includes(`name="${plugin}"`));
    await delay(150);
  }
  isOver = true;
  assert.deepEqual(await asking, new Set(['10.96.0.1']));
  assert.ok(asked > 200);
});

/** What the main thread does about sockets while threads fail. */
function watched(socket: number) {
  const done: string[] = [];
  const listener = {
    family: 1 as const,
    sockets: () => [socket],
    read: async () => {
      done.push('read');
    },
    pause: () => {
      done.push('pause');
    },
    answerHanded: () => {},
  };
  return { done, listener };
}

const silent = { ...createLog('dns'), info: () => {}, error: () => {} };

test('where a thread cannot begin, the main thread reads on', async () => {
  // What is no socket cannot be waited for.
  const file = openSync('/dev/null', 'r');
  const { done, listener } = watched(file);
  const feed = new Feed(() => ({ isOn: true, recursionAvailable: false, completedNamespaces: [] }));
  const threads = new AnsweringThreads({
    listeners: [listener],
    feed,
    clientRanges: [],
    count: () => () => {},
    log: silent,
  });
  await threads.follow(1);
  assert.deepEqual(done, ['read']);
  await threads.close();
  closeSync(file);
});

test('when a thread fails, the main thread reads in its place', async () => {
  const socket = openDatagramSocket({ address: asIp('127.0.0.1'), port: 0 });
  const { done, listener } = watched(socket);
  const told: ((message: FeedMessage) => void)[] = [];
  const feed = {
    follow: (follower: (message: FeedMessage) => void) => {
      told.push(follower);
      follower({ kind: 'begin' });
      return () => {};
    },
  };
  const ended = Promise.withResolvers<void>();
  const threads = new AnsweringThreads({
    listeners: [listener],
    feed,
    clientRanges: [],
    count: () => ended.resolve,
    log: silent,
  });
  await threads.follow(1);
  assert.deepEqual(done, ['pause']);
  // A name that is no text cannot be put into the table.
  const wrong = { kind: 'zone', zone: 'x'.repeat(70), ttl: 0, serial: 0 } as const;
  for (const follower of told) follower(wrong);
  await ended.promise;
  await until(async () => done.includes('read'));
  await threads.close();
  closeSync(socket);
});
