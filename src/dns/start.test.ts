import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createCache } from '../k8s/cache.ts';
import { createFakeClient } from '../k8s/fake-client.ts';
import { endpointSlices, namespaces, services } from '../k8s/resources.ts';
import { onLoopback } from './fixtures.ts';
import { framed } from './forward/stream.ts';
import { type } from './records.ts';
import { type DnsOptions, startDns } from './start.ts';
import { questionEnd, readHeader, readRecords, writeQuery } from './wire.ts';

process.env.WEFT_LOG = 'silent';
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function start(more: Partial<DnsOptions> = {}) {
  const client = createFakeClient();
  const dns = await startDns({ client, ...onLoopback(), ...more });
  ends.push(
    () => client.close(),
    () => dns.stop(),
  );
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
  const resolver = new Resolver({ timeout: 1000, tries: 2 });
  resolver.setServers([`127.0.0.1:${dns.port}`]);
  const add = (name: string, clusterIP: string) =>
    client.create(services, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'default' },
      spec: { clusterIP, ports: [{ port: 80 }] },
    });
  return { dns, client, resolver, add };
}

/** One query over UDP to 127.0.0.1, and the answer's octets. */
async function exchange(port: number, query: Buffer): Promise<Buffer> {
  const socket = createSocket('udp4');
  try {
    socket.send(query, port, '127.0.0.1');
    const [answer]: Buffer[] = await once(socket, 'message');
    return answer ?? assert.fail('no answer');
  } finally {
    socket.close();
  }
}

/** An upstream that answers every question with this address and counts them. */
async function upstream(
  ip: readonly [number, number, number, number],
): Promise<{ port: number; asked: number; socket: Socket }> {
  const socket = createSocket('udp4');
  const state = { port: 0, asked: 0, socket };
  socket.on('message', (query, from) => {
    state.asked++;
    const end = questionEnd(query);
    const answer = Buffer.concat([
      query.subarray(0, end),
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...ip]),
    ]);
    answer.writeUInt16BE(0x8180, 2);
    for (const [at, count] of [
      [6, 1],
      [10, 0],
    ] as const)
      answer.writeUInt16BE(count, at);
    socket.send(answer, from.port, from.address);
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  state.port = socket.address().port;
  ends.push(() => socket.close());
  return state;
}

test('a Service answers by name from the moment that it is there until it goes', async () => {
  const { resolver, add, client } = await start();
  await add('web', '10.96.0.1');
  assert.deepEqual(await resolver.resolve4('web.default.svc.cluster.local'), ['10.96.0.1']);
  assert.deepEqual(await resolver.reverse('10.96.0.1'), ['web.default.svc.cluster.local']);
  await client.delete(services, { name: 'web', namespace: 'default' });
  await assert.rejects(resolver.resolve4('web.default.svc.cluster.local'), { code: 'ENOTFOUND' });
});

test('a namespace is there from its first moment, though its absence was just answered', async () => {
  const { resolver, client } = await start();
  await assert.rejects(resolver.resolve4('new.svc.cluster.local'), { code: 'ENOTFOUND' });
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'new' }, spec: {} });
  await assert.rejects(resolver.resolve4('new.svc.cluster.local'), { code: 'ENODATA' });
});

test('it is ready once the lists are complete, and counts what it answers', async () => {
  const { dns, resolver } = await start();
  await assert.rejects(resolver.resolve4('web.default.svc.cluster.local'));
  const ready = await fetch(`http://127.0.0.1:${dns.readyPort}/ready`);
  assert.deepEqual([ready.status, await ready.text()], [200, 'OK']);
  const metrics = await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`);
  assert.match(
    await metrics.text(),
    /^coredns_dns_responses_total\{server="dns:\/\/:53",zone="\.",view="",rcode="NXDOMAIN",plugin="kubernetes"\} 1$/m,
  );
});

test('TCP answers on the same port, several queries on one connection', async () => {
  const { dns, add } = await start();
  await add('web', '10.96.0.1');
  const socket = connect(dns.port, '127.0.0.1');
  ends.push(() => socket.destroy());
  const queries = [1, 2, 3].map((id) => framed(writeQuery(id, 'web.default.svc.cluster.local', type.A)));
  socket.write(Buffer.concat(queries));
  let received = Buffer.alloc(0);
  const ids: number[] = [];
  for await (const chunk of socket) {
    received = Buffer.concat([received, chunk]);
    while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
      ids.push(received.readUInt16BE(2));
      received = received.subarray(2 + received.readUInt16BE(0));
    }
    if (ids.length === 3) break;
  }
  assert.deepEqual(ids, [1, 2, 3]);
});

test('a client of TCP that does not read is not written to without end, and gets every answer when it does', async () => {
  const { dns, client } = await start();
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'many', namespace: 'default' },
    spec: { clusterIP: 'None', ports: [{ port: 80 }] },
  });
  await client.create(endpointSlices, {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'many-1', namespace: 'default', labels: { 'kubernetes.io/service-name': 'many' } },
    addressType: 'IPv4',
    endpoints: Array.from({ length: 100 }, (_, index) => ({ addresses: [`10.244.1.${index}`] })),
  });
  const socket = connect(dns.port, '127.0.0.1');
  ends.push(() => socket.destroy());
  socket.pause();
  const one = framed(writeQuery(1, 'many.default.svc.cluster.local', type.A));
  const answerLength = one.length + 100 * 16;
  // More than what the sockets of both sides hold: 40 MB.
  const count = 25_000;
  socket.write(Buffer.concat(Array.from({ length: count }, () => one)));
  const counted = async (): Promise<number> => {
    const page = await (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text();
    return Number(/^coredns_dns_requests_total\{.*proto="tcp".*\} (\d+)$/m.exec(page)?.[1] ?? 0);
  };
  let now = 0;
  for (let before = -1; now === 0 || now !== before; await delay(100)) {
    before = now;
    now = await counted();
  }
  assert.ok(now < count, `${now} answers were written to nobody`);
  let received = 0;
  const all = Promise.withResolvers<void>();
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length;
    if (received >= count * answerLength) all.resolve();
  });
  socket.resume();
  await all.promise;
  assert.equal(received, count * answerLength);
});

test('without an upstream, names outside of the cluster do not exist', async () => {
  const { resolver } = await start();
  await assert.rejects(resolver.resolve4('example.com'), { code: 'ENOTFOUND' });
});

test('outside names are asked upstream once and kept; the next upstream serves when the first is gone', async () => {
  const silent = createSocket('udp4');
  silent.bind(0, '127.0.0.1');
  await once(silent, 'listening');
  const gone = silent.address().port;
  silent.close();
  const live = await upstream([192, 0, 2, 1]);
  const { resolver } = await start({ upstreams: [`127.0.0.1:${gone}`, `127.0.0.1:${live.port}`] });
  assert.deepEqual(await resolver.resolve4('example.com'), ['192.0.2.1']);
  assert.deepEqual(await resolver.resolve4('EXAMPLE.com'), ['192.0.2.1']);
  assert.equal(live.asked, 1);
});

test('an alias that leads outside comes with the addresses of its target', async () => {
  const live = await upstream([192, 0, 2, 2]);
  const { resolver, client } = await start({ upstreams: [`127.0.0.1:${live.port}`] });
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'out', namespace: 'default' },
    spec: { type: 'ExternalName', externalName: 'example.com' },
  });
  assert.deepEqual(await resolver.resolve4('out.default.svc.cluster.local'), ['192.0.2.2']);
});

test('before the lists are complete, names of the cluster are a server failure and the server is not ready', async () => {
  const client = createFakeClient();
  const never = { synced: new Promise<void>(() => {}), isSynced: false };
  const slow: typeof client = { ...client, cache: (...args) => ({ ...client.cache(...args), ...never }) };
  const { dns } = await start({ client: slow });
  const answer = await exchange(dns.port, writeQuery(9, 'web.default.svc.cluster.local', type.A));
  assert.equal((readHeader(answer)?.flags ?? 0) & 0xf, 2);
  assert.equal((await fetch(`http://127.0.0.1:${dns.readyPort}/ready`)).status, 503);
  assert.equal((await fetch(`http://127.0.0.1:${dns.healthPort}/health`)).status, 200);
  await client.close();
});

test('what it knew before a restart is answered while the API server is away, and is corrected when it is back', async () => {
  const stateFolder = mkdtempSync(join(tmpdir(), 'wt-dns-'));
  ends.push(() => rmSync(stateFolder, { recursive: true }));
  const first = await start({ stateFolder });
  await first.add('web', '10.96.0.1');
  await first.add('gone', '10.96.0.2');
  for (
    const end = performance.now() + 5000;
    readdirSync(stateFolder).every((name) => name.endsWith('.part'));
    await delay(20)
  )
    assert.ok(performance.now() < end, 'nothing is kept within 5 s');

  const client = createFakeClient();
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'default' }, spec: {} });
  const back = Promise.withResolvers<void>();
  const away: typeof client = {
    ...client,
    cache: (resource, selection, trim) =>
      createCache(
        { watch: client.watch, list: (...args) => back.promise.then(() => client.list(...args)) },
        resource,
        selection ?? {},
        { onProblem: () => {}, ...(trim && { trim }) },
      ),
  };
  const { dns, resolver } = await start({ stateFolder, client: away });
  assert.equal(dns.isReady(), true);
  assert.deepEqual(await resolver.resolve4('web.default.svc.cluster.local'), ['10.96.0.1']);
  const stale = async () =>
    /^weft_dns_stale (.)$/m.exec(await (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text())?.[1];
  assert.equal(await stale(), '1');
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { clusterIP: '10.96.0.3', ports: [{ port: 80 }] },
  });
  back.resolve();
  for (const end = performance.now() + 2000; (await stale()) === '1'; await delay(5))
    assert.ok(performance.now() < end);
  assert.deepEqual(await resolver.resolve4('web.default.svc.cluster.local'), ['10.96.0.3']);
  await assert.rejects(resolver.resolve4('gone.default.svc.cluster.local'), { code: 'ENOTFOUND' });
  await client.close();
});

test('transfers are refused, other operations are not known, answers are not answered', async () => {
  const { dns } = await start();
  const code = async (query: Buffer) => (readHeader(await exchange(dns.port, query))?.flags ?? 0) & 0xf;
  assert.equal(await code(writeQuery(1, 'cluster.local', type.AXFR)), 5);
  const notify = writeQuery(1, 'cluster.local', type.SOA);
  notify.writeUInt16BE(4 << 11, 2);
  assert.equal(await code(notify), 4);
  const two = writeQuery(1, 'cluster.local', type.SOA);
  two.writeUInt16BE(2, 4);
  assert.equal(await code(two), 1);
});

test('EDNS of a later version is told so, with the extended code in OPT', async () => {
  const { dns } = await start();
  const query = writeQuery(1, 'cluster.local', type.SOA);
  query.writeUInt8(1, query.length - 5);
  const answer = await exchange(dns.port, query);
  const opt = readRecords(answer, questionEnd(answer), 1)[0];
  assert.equal((opt?.ttl ?? 0) >>> 24, 1);
});

test('a port that is taken is an error', async () => {
  const { dns } = await start();
  await assert.rejects(start({ port: dns.port }), { code: 'EADDRINUSE' });
});

test('an upstream that is no address is refused', async () => {
  await assert.rejects(start({ upstreams: ['dns.example'] }), /'dns.example' is no address of a DNS server such as/);
});
