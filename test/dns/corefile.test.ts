import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type DecodedPacket, decode } from 'dns-packet';
import { typeNames } from '../../src/dns/corefile/values.ts';
import { onLoopback } from '../../src/dns/fixtures.ts';
import { type DnsOptions, startDns } from '../../src/dns/start.ts';
import { writeQuery } from '../../src/dns/wire.ts';
import { createFakeClient } from '../../src/k8s/fake-client.ts';
import { configMaps, events, namespaces, services } from '../../src/k8s/resources.ts';
import type { ConfigMap } from '../../src/k8s/types.generated.ts';
import { createLog } from '../../src/log/log.ts';
import { addressed, type Behaviour, denied, startUpstream, type TestUpstream } from './upstream.ts';

process.env.WEFT_LOG = 'silent';
const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

const key = { namespace: 'kube-system', name: 'coredns' };

const configMap = (data: Record<string, string>): ConfigMap => ({
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { ...key },
  data,
});

async function upstream(behaviour: Behaviour): Promise<TestUpstream & { readonly at: string }> {
  const started = await startUpstream(behaviour);
  ends.push(() => started.stop());
  return Object.assign(started, { at: `127.0.0.1:${started.port}` });
}

/** A server with this Corefile beside a Service `web` in the namespace default. */
async function start(
  corefile: string,
  more: Record<string, string> = {},
  options: Partial<Omit<DnsOptions, 'addresses'>> = {},
) {
  const client = createFakeClient();
  for (const name of ['default', 'kube-system'])
    await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name, uid: name }, spec: {} });
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', labels: { app: 'web' } },
    spec: { clusterIP: '10.96.0.1', ports: [{ name: 'http', port: 80 }] },
  });
  await client.create(configMaps, configMap({ Corefile: corefile, ...more }));
  const dns = await startDns({
    client,
    ...onLoopback(),
    ...options,
  });
  ends.push(
    () => client.close(),
    () => dns.stop(),
  );
  const change = (data: Record<string, string>) => client.update(configMaps, configMap(data));
  const ask = (name: string, type = 'A') => exchange(dns.port, name, type);
  /** Asks until the answer is this one: a change is in force after a moment. */
  const becomes = async (name: string, expected: string): Promise<void> => {
    for (let round = 0; round < 100; round++) {
      if ((await ask(name)).text === expected) return;
      await delay(20);
    }
    assert.equal((await ask(name)).text, expected);
  };
  return { dns, client, ask, change, becomes };
}

/** A further server of the same cluster. */
async function serveAlso(client: ReturnType<typeof createFakeClient>): Promise<void> {
  const ports = { port: 0, metricsPort: 0, healthPort: 0, readyPort: 0, queryPort: 0 };
  const common = { client, zone: 'cluster.local', upstreams: [], log: createLog('dns') };
  const dns = await startDns({ ...common, ...ports, addresses: ['127.0.0.1'] });
  ends.push(() => dns.stop());
}

interface Seen {
  readonly packet: DecodedPacket;
  /** The code, and what the answers hold. */
  readonly text: string;
  /** The extended error's text. */
  readonly why: string;
}

async function exchange(port: number, name: string, type: string): Promise<Seen> {
  const socket = createSocket('udp4');
  try {
    socket.send(writeQuery(5, name, typeNames[type] ?? 1), port, '127.0.0.1');
    const [message]: Buffer[] = await once(socket, 'message', { signal: AbortSignal.timeout(8000) });
    const packet = decode(message ?? assert.fail());
    const answers = (packet.answers ?? []).map(
      (answer) => `${answer.name} ${answer.type} ${'data' in answer ? flat(answer.data) : ''}`,
    );
    const raw = message?.toString('latin1') ?? '';
    return { packet, text: [rcodeOf(packet), ...answers].join(' | '), why: /[\x20-\x7e]{12,}$/.exec(raw)?.[0] ?? '' };
  } finally {
    socket.close();
  }
}

const ttlOf = ({ answers = [] }: DecodedPacket): number | undefined =>
  answers.map((answer) => ('ttl' in answer ? answer.ttl : undefined))[0];
const rcodeOf = (packet: DecodedPacket): string => ('rcode' in packet ? String(packet.rcode) : '');
const flat = (data: unknown): string => (typeof data === 'string' ? data : JSON.stringify(data));

test('a stub domain goes to its own servers, the cluster stays with the cluster, all else goes to the others', async () => {
  const stub = await upstream(addressed('192.0.2.1'));
  const rest = await upstream(addressed('192.0.2.2'));
  const { ask } = await start(`
.:53 {
  kubernetes cluster.local in-addr.arpa ip6.arpa
  forward . ${rest.at}
}
corp.example {
  forward . ${stub.at}
}`);
  assert.equal(
    (await ask('web.default.svc.cluster.local')).text,
    'NOERROR | web.default.svc.cluster.local A 10.96.0.1',
  );
  assert.equal((await ask('host.corp.example')).text, 'NOERROR | host.corp.example A 192.0.2.1');
  assert.equal((await ask('example.org')).text, 'NOERROR | example.org A 192.0.2.2');
  assert.deepEqual(
    [stub.asked, rest.asked].map((asked) => asked.map(({ name }) => name)),
    [['host.corp.example'], ['example.org']],
  );
});

test('a changed ConfigMap is in force at once; a broken one changes nothing and is told as an Event with its line', async () => {
  const stub = await upstream(addressed('192.0.2.1'));
  const { change, client, ask, becomes, dns } = await start('. {\n kubernetes cluster.local\n}');
  assert.equal((await ask('host.corp.example')).text, 'NXDOMAIN');
  await change({ Corefile: `. {\n kubernetes cluster.local\n}\ncorp.example {\n forward . ${stub.at}\n}` });
  await becomes('host.corp.example', 'NOERROR | host.corp.example A 192.0.2.1');
  await change({ Corefile: '. {\n kubernetes cluster.local\n etcd skydns\n}' });
  let told: string[] = [];
  for (let round = 0; round < 100 && told.length === 0; round++) {
    await delay(20);
    const { items } = await client.list(events, { namespace: 'kube-system' });
    told = items.filter(({ reason }) => reason === 'CorefileRefused').map(({ message }) => message ?? '');
  }
  assert.deepEqual(told, ['Corefile:3: the plugin etcd is not supported. The last good configuration stays in force.']);
  assert.equal((await ask('other.corp.example')).text, 'NOERROR | other.corp.example A 192.0.2.1');
  const metrics = await (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text();
  assert.match(metrics, /^coredns_reload_failed_total 1$/m);
});

test('several servers tell of a change of the Corefile by one Event, and of the next change by another one', async () => {
  const { change, client } = await start('. {\n kubernetes cluster.local\n}');
  const others = await Promise.all([serveAlso(client), serveAlso(client)]);
  const told = async (count: number): Promise<string[]> => {
    let found: string[] = [];
    for (let round = 0; round < 100 && found.length < count; round++) {
      await delay(20);
      const { items } = await client.list(events, { namespace: 'kube-system' });
      found = items.map(({ reason, count: times }) => `${reason} ${times}`);
    }
    // Each server has said all that it has to say by then.
    await delay(200);
    return found;
  };
  await change({ Corefile: '. {\n etcd skydns\n}' });
  assert.deepEqual(await told(1), ['CorefileRefused 1']);
  await change({ Corefile: '. {\n kubernetes cluster.local\n errors\n}' });
  assert.deepEqual(await told(2), ['CorefileRefused 1', 'CorefileLoaded 1']);
  assert.equal(others.length, 2);
});

test('files of the ConfigMap coredns-custom: blocks, lines and hosts, in force as soon as they change', async () => {
  const behind = await upstream(addressed('192.0.2.1'));
  const custom = (data: Record<string, string>): ConfigMap => ({
    ...configMap(data),
    metadata: { ...key, name: 'coredns-custom' },
  });
  const { client, ask, becomes, change } = await start(
    `. {
  kubernetes cluster.local
  hosts custom/names {
    fallthrough
  }
  import custom/*.override
}
import /etc/coredns/custom/*.server`,
  );
  assert.equal((await ask('printer.office')).text, 'NXDOMAIN');
  await client.create(configMaps, custom({ names: '192.0.2.7 printer.office' }));
  await becomes('printer.office', 'NOERROR | printer.office A 192.0.2.7');
  await client.update(
    configMaps,
    custom({
      'shop.override': 'rewrite name shop.example web.default.svc.cluster.local',
      'corp.server': `corp.example {\n forward . ${behind.at}\n}`,
    }),
  );
  await becomes('host.corp.example', 'NOERROR | host.corp.example A 192.0.2.1');
  assert.equal((await ask('shop.example')).text, 'NOERROR | shop.example A 10.96.0.1');
  assert.equal((await ask('printer.office')).text, 'NXDOMAIN');
  // What is wrong in one of them is told with its name, and changes nothing.
  await client.update(configMaps, custom({ 'bad.override': 'log\netcd skydns' }));
  let told: string[] = [];
  for (let round = 0; round < 100 && told.length === 0; round++) {
    await delay(20);
    const { items } = await client.list(events, { namespace: 'kube-system' });
    told = items.filter(({ reason }) => reason === 'CorefileRefused').map(({ message }) => message ?? '');
  }
  assert.match(told[0] ?? '', /^Corefile:6: the plugin etcd is not supported \(custom\/bad\.override:2\)\. The last/);
  assert.equal((await ask('shop.example')).text, 'NOERROR | shop.example A 10.96.0.1');
  await change({ Corefile: '. {\n kubernetes cluster.local\n}' });
  await becomes('shop.example', 'NXDOMAIN');
});

test('chaos: which server it is, in the class CH alone', async () => {
  const { dns } = await start('. {\n kubernetes cluster.local\n}\nbind {\n chaos Weft-1 "A B" C\n}');
  const dig = promisify(execFile);
  const texts = async (...args: string[]): Promise<string> =>
    (await dig('dig', ['+short', '-p', `${dns.port}`, '@127.0.0.1', ...args])).stdout.trim();
  assert.equal(await texts('CH', 'TXT', 'version.bind'), '"Weft-1"');
  assert.equal(await texts('CH', 'TXT', 'hostname.bind'), `"${hostname()}"`);
  assert.deepEqual((await texts('CH', 'TXT', 'authors.bind')).split('\n').sort(), ['"A B"', '"C"']);
  assert.equal(await texts('IN', 'TXT', 'version.bind'), '');
});

test('hosts: entries of the Corefile and of another key of the ConfigMap, forwards and back', async () => {
  const { ask } = await start(
    '. {\n hosts NodeHosts {\n 192.0.2.9 inline.example\n ttl 60\n fallthrough\n }\n kubernetes cluster.local\n}',
    { NodeHosts: '192.0.2.8 node1 node1.example\n192.0.2.7 inline.example\n' },
  );
  assert.equal((await ask('inline.example')).text, 'NOERROR | inline.example A 192.0.2.9');
  assert.equal((await ask('node1.example')).text, 'NOERROR | node1.example A 192.0.2.8');
  assert.equal((await ask('node1.example', 'AAAA')).text, 'NOERROR');
  assert.equal((await ask('8.2.0.192.in-addr.arpa', 'PTR')).text.split(' | ').length, 3);
  assert.equal(
    (await ask('web.default.svc.cluster.local')).text,
    'NOERROR | web.default.svc.cluster.local A 10.96.0.1',
  );
});

test('rewrite: a name of its own for a Service, also in answers of upstreams and in names that they lead to', async () => {
  const behind = await upstream(({ name, type }) =>
    type === 'A'
      ? {
          answers: [
            { name, type: 'CNAME', ttl: 60, data: `a.${name}` },
            { name: `a.${name}`, type: 'A', ttl: 60, data: '192.0.2.3' },
          ],
        }
      : { answers: [{ name, type: 'MX', ttl: 60, data: { preference: 5, exchange: `mail.${name}` } }] },
  );
  const { ask } = await start(`. {
  rewrite name shop.example.com web.default.svc.cluster.local
  rewrite name suffix .old.example .new.example answer auto
  rewrite stop {
    name regex (.*)\\.pattern\\.example {1}.default.svc.cluster.local
    answer name (.*)\\.default\\.svc\\.cluster\\.local {1}.pattern.example
  }
  kubernetes cluster.local
  forward . ${behind.at}
}`);
  assert.equal((await ask('Shop.Example.com')).text, 'NOERROR | Shop.Example.com A 10.96.0.1');
  assert.equal((await ask('web.pattern.example')).text, 'NOERROR | web.pattern.example A 10.96.0.1');
  assert.equal(
    (await ask('x.old.example')).text,
    'NOERROR | x.old.example CNAME a.x.old.example | a.x.old.example A 192.0.2.3',
  );
  assert.match((await ask('x.old.example', 'MX')).text, /MX {"preference":5,"exchange":"mail\.x\.old\.example"}/);
  assert.deepEqual(
    behind.asked.map(({ name }) => name),
    ['x.new.example', 'x.new.example'],
  );
});

test('rewrite of codes and TTLs', async () => {
  const behind = await upstream(denied('NXDOMAIN'));
  const { ask } = await start(`. {
  rewrite continue ttl suffix cluster.local 7
  rewrite rcode suffix example NXDOMAIN REFUSED
  kubernetes cluster.local
  forward . ${behind.at}
}`);
  assert.equal((await ask('x.example')).text, 'REFUSED');
  const { packet } = await ask('web.default.svc.cluster.local');
  assert.equal(ttlOf(packet), 7);
});

test('kubernetes: several zones, its own TTL, and names that fall through to an upstream', async () => {
  const behind = await upstream(addressed('192.0.2.4'));
  const { ask } = await start(`. {
  kubernetes cluster.local k8s.example in-addr.arpa {
    ttl 11
    fallthrough k8s.example in-addr.arpa
  }
  forward . ${behind.at}
}`);
  const { packet, text } = await ask('web.default.svc.k8s.example');
  assert.equal(text, 'NOERROR | web.default.svc.k8s.example A 10.96.0.1');
  assert.equal(ttlOf(packet), 11);
  assert.equal((await ask('other.k8s.example')).text, 'NOERROR | other.k8s.example A 192.0.2.4');
  assert.equal((await ask('other.cluster.local')).text, 'NXDOMAIN');
  assert.equal(
    (await ask('1.0.96.10.in-addr.arpa', 'PTR')).text,
    'NOERROR | 1.0.96.10.in-addr.arpa PTR web.default.svc.cluster.local',
  );
});

test('kubernetes: only some namespaces, only some Services', async () => {
  const closed = await start('. {\n kubernetes cluster.local {\n namespaces other\n }\n}');
  assert.equal((await closed.ask('web.default.svc.cluster.local')).text, 'NXDOMAIN');
  const labelled = await start('. {\n kubernetes cluster.local {\n labels app=other\n }\n}');
  assert.equal((await labelled.ask('web.default.svc.cluster.local')).text, 'NXDOMAIN');
  const open = await start('. {\n kubernetes cluster.local {\n namespaces default\n labels app in (web, shop)\n }\n}');
  assert.equal(
    (await open.ask('web.default.svc.cluster.local')).text,
    'NOERROR | web.default.svc.cluster.local A 10.96.0.1',
  );
});

test('next goes on with the following forward; names that except excludes are failures with a reason', async () => {
  const first = await upstream(denied('NXDOMAIN'));
  const second = await upstream(addressed('192.0.2.5'));
  const { ask } = await start(`. {
  forward . ${first.at} {
    next NXDOMAIN
    except closed.example
  }
  forward . ${second.at} {
    except closed.example
  }
}`);
  assert.equal((await ask('example.org')).text, 'NOERROR | example.org A 192.0.2.5');
  const refused = await ask('x.closed.example');
  assert.deepEqual([refused.text, refused.why], ['SERVFAIL', 'no plugin of the Corefile answers for this name']);
});

test('a name of no server block is refused; another port is served while the Corefile has it', async () => {
  const { ask } = await start('example.org {\n whoami\n any\n}');
  assert.equal((await ask('example.net')).text, 'REFUSED');
  assert.equal((await ask('example.org')).packet.additionals?.[0]?.type, 'A');
  assert.match((await ask('example.org', 'ANY')).text, /HINFO/);
});

test('an upstream that leads back to the cluster is left out with a warning, and the others answer', async () => {
  const other = await upstream(addressed('192.0.2.6'));
  let port = 0;
  // It asks who asks it, as a resolver of the machine does whose own resolver is the cluster's DNS.
  const back = await upstream(async ({ name, type }) => {
    if (port === 0) return {};
    const { packet } = await exchange(port, name, type === 'TXT' ? 'TXT' : 'A');
    return { answers: packet.answers ?? [] };
  });
  const { ask, dns } = await start(`. {\n loop\n forward . ${back.at} ${other.at} {\n policy sequential\n }\n}`);
  port = dns.port;
  await fetchUntilExcluded(dns.metricsPort);
  assert.equal((await ask('example.org')).text, 'NOERROR | example.org A 192.0.2.6');
});

async function fetchUntilExcluded(port: number): Promise<void> {
  for (let round = 0; round < 200; round++) {
    const page = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    if (/^weft_dns_upstreams_excluded 1$/m.test(page)) return;
    await delay(20);
  }
  assert.fail('the upstream that leads back was not found');
}

test('what an upstream has said goes on while it is gone, with the reason for people', async () => {
  const one = await upstream(addressed('192.0.2.7', 1));
  const { ask } = await start(`. {\n forward . ${one.at}\n cache 1 {\n serve_stale\n }\n}`);
  assert.equal((await ask('example.org')).text, 'NOERROR | example.org A 192.0.2.7');
  await one.stop();
  // Its answer is kept for a second; after that it is stale.
  let stale = await ask('example.org');
  for (let round = 0; round < 100 && stale.why === ''; round++) {
    await delay(50);
    stale = await ask('example.org');
  }
  assert.equal(stale.text, 'NOERROR | example.org A 192.0.2.7');
  assert.equal(ttlOf(stale.packet), 1);
  assert.match(stale.why, /the DNS upstream does not answer; this is what it said before/);
});

test('addresses of upstreams take turns in being the first', async () => {
  const addresses = ['192.0.2.1', '192.0.2.2', '192.0.2.3'];
  const many = await upstream(({ name }) => ({
    answers: addresses.map((data) => ({ name, type: 'A', ttl: 60, data }) as const),
  }));
  const { ask } = await start(`. {\n loadbalance\n cache\n forward . ${many.at}\n}`);
  const firsts = new Set<string>();
  for (let round = 0; round < 3; round++) {
    const { text } = await ask('example.org');
    assert.deepEqual(text.match(/192\.0\.2\.\d/g)?.toSorted(), addresses);
    firsts.add(/192\.0\.2\.\d/.exec(text)?.[0] ?? '');
  }
  assert.equal(firsts.size, 3);
});

test('an answer larger than the client takes is cut over UDP and whole over TCP', async () => {
  const large = await upstream(({ name }) => ({
    answers: Array.from(
      { length: 40 },
      (_, index) => ({ name, type: 'A', ttl: 60, data: `192.0.2.${index}` }) as const,
    ),
  }));
  const { ask, dns } = await start(`. {\n cache\n forward . ${large.at}\n}`);
  const overTcp = new Resolver({ timeout: 2000, tries: 1 });
  overTcp.setServers([`127.0.0.1:${dns.port}`]);
  const { packet } = await ask('example.org');
  assert.equal(packet.flag_tc, false);
  assert.equal(packet.answers?.length, 40);
  const plain = createSocket('udp4');
  try {
    // Without EDNS, 512 octets are the limit.
    const query = writeQuery(6, 'example.org', 1).subarray(0, -11);
    query.writeUInt16BE(0, 10);
    plain.send(query, dns.port, '127.0.0.1');
    const [message]: Buffer[] = await once(plain, 'message', { signal: AbortSignal.timeout(8000) });
    assert.ok(message !== undefined && message.length <= 512 && decode(message).flag_tc);
  } finally {
    plain.close();
  }
  // The resolver of Node.js asks again over TCP where an answer was cut.
  assert.equal((await overTcp.resolve4('example.org')).length, 40);
});

test('no question is lost while one of two upstreams ends', async () => {
  const one = await upstream(addressed('192.0.2.1'));
  const other = await upstream(addressed('192.0.2.1'));
  const { dns } = await start(`. {\n forward . ${one.at} ${other.at} {\n policy round_robin\n }\n}`);
  const asked: Promise<Seen>[] = [];
  for (let index = 0; index < 300; index++) {
    asked.push(exchange(dns.port, `n${index}.example.org`, 'A'));
    if (index === 100) await one.stop();
    await delay(2);
  }
  const answers = await Promise.all(asked);
  assert.deepEqual(new Set(answers.map(({ text }) => text.split(' ').at(-1))), new Set(['192.0.2.1']));
});

test('a server that starts while the API server is away has the Corefile from before', async () => {
  const stub = await upstream(addressed('192.0.2.1'));
  const stateFolder = mkdtempSync(join(tmpdir(), 'weft-dns-'));
  ends.push(() => rmSync(stateFolder, { recursive: true, force: true }));
  const before = await start(`corp.example {\n forward . ${stub.at}\n}`, {}, { stateFolder });
  await before.dns.stop();
  const client = createFakeClient();
  ends.push(() => client.close());
  const never = { synced: new Promise<void>(() => {}), isSynced: false };
  const away: typeof client = { ...client, cache: (...args) => ({ ...client.cache(...args), ...never }) };
  const dns = await startDns({
    client: away,
    ...onLoopback(),
    stateFolder,
  });
  ends.push(() => dns.stop());
  assert.equal((await exchange(dns.port, 'host.corp.example', 'A')).text, 'NOERROR | host.corp.example A 192.0.2.1');
});

/** What the dashboard and the alerts of coredns-mixin (which kube-prometheus-stack has too) ask for, and Grafana's 14981. */
const dashboard = [
  ...['coredns_build_info', 'coredns_panics_total', 'coredns_plugin_enabled'],
  ...['coredns_dns_requests_total', 'coredns_dns_responses_total', 'coredns_dns_request_duration_seconds_bucket'],
  ...[
    'coredns_dns_request_size_bytes_bucket',
    'coredns_dns_response_size_bytes_bucket',
    'coredns_dns_do_requests_total',
  ],
  ...[
    'coredns_cache_entries',
    'coredns_cache_hits_total',
    'coredns_cache_misses_total',
    'coredns_cache_requests_total',
  ],
  ...['coredns_cache_drops_total', 'coredns_cache_prefetch_total', 'coredns_cache_served_stale_total'],
  ...['coredns_forward_requests_total', 'coredns_forward_responses_total'],
  ...['coredns_forward_request_duration_seconds_bucket', 'coredns_forward_healthcheck_failures_total'],
  ...['coredns_forward_healthcheck_broken_total', 'coredns_forward_max_concurrent_rejects_total'],
  ...['coredns_proxy_request_duration_seconds_bucket', 'coredns_proxy_healthcheck_failures_total'],
  ...['coredns_health_request_duration_seconds_count', 'coredns_health_request_failures_total'],
  ...['coredns_hosts_entries', 'coredns_hosts_reload_timestamp_seconds', 'coredns_reload_failed_total'],
  ...['process_resident_memory_bytes', 'process_cpu_seconds_total', 'process_open_fds', 'process_start_time_seconds'],
  'go_goroutines',
];

test('every metric that the well-known dashboards and alerts ask for is there, and counts what has happened', async () => {
  const behind = await upstream(({ name, type }) =>
    type === 'A' ? { answers: [{ name, type: 'A', ttl: 2, data: '192.0.2.1' }] } : {},
  );
  const dead = await upstream(() => 'silence');
  await dead.stop();
  const { ask, dns } = await start(
    `. {
  health
  kubernetes cluster.local
  hosts {
    192.0.2.9 inline.example
    fallthrough
  }
  cache 1 {
    prefetch 1
    serve_stale
  }
  forward dead.example ${dead.at}
  forward . ${behind.at}
}`,
  );
  const page = async (): Promise<string> => (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text();
  for (const name of ['web.default.svc.cluster.local', 'a.example', 'a.example', 'inline.example', 'x.dead.example'])
    await ask(name);
  const dig = promisify(execFile);
  await dig('dig', ['+dnssec', '-p', `${dns.port}`, '@127.0.0.1', 'a.example']);
  // Stale, and asked again behind the answer.
  await delay(1100);
  await ask('a.example');
  const text = await page();
  for (const name of dashboard) assert.match(text, new RegExp(`^${name}(\\{[^}]*\\})? [0-9.e+-]+$`, 'm'), name);
  const value = (name: string): number => Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
  assert.ok(value('process_resident_memory_bytes') > 10e6);
  assert.ok(value('process_cpu_seconds_total') > 0.01);
  assert.ok(value('go_goroutines') >= 1);
  assert.ok(value(`coredns_forward_responses_total\\{to="${behind.at}",rcode="NOERROR"\\}`) >= 2);
  assert.match(text, /^coredns_cache_served_stale_total\{.*\} 1$/m);
});

test('an answer to something else than was asked is thrown away and counted', async () => {
  const socket = createSocket('udp4');
  ends.push(() => socket.close());
  socket.on('message', (message, from) => {
    const forged = Buffer.from(message);
    forged.writeUInt16BE(message.readUInt16BE(0) ^ 1);
    for (const reply of [forged, message]) {
      reply.writeUInt16BE(0x8180, 2);
      socket.send(reply, from.port, from.address);
    }
  });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { ask, dns } = await start(`. {\n cache\n forward . 127.0.0.1:${socket.address().port}\n}`);
  assert.equal((await ask('a.example')).text, 'NOERROR');
  const text = await (await fetch(`http://127.0.0.1:${dns.metricsPort}/metrics`)).text();
  assert.match(text, /^coredns_cache_drops_total\{.*\} 1$/m);
});
