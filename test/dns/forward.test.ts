import assert from 'node:assert/strict';
import { afterEach, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { ForwardOptions } from '../../src/dns/corefile/config.ts';
import { readCorefile } from '../../src/dns/corefile/corefile.ts';
import { forwardMetrics } from '../../src/dns/forward/forward-metrics.ts';
import { Forwarder, type Outcome } from '../../src/dns/forward/forwarder.ts';
import { readResolvConf } from '../../src/dns/forward/resolv-conf.ts';
import type { ServerTarget } from '../../src/dns/forward/upstream.ts';
import { Registry } from '../../src/dns/metrics/registry.ts';
import { readAllAddresses } from './answers.ts';
import { certificateFor } from './certificates.ts';
import { addressed, type Behaviour, denied, startUpstream, type TestUpstream } from './upstream.ts';

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function upstream(
  behaviour: Behaviour,
  options: Parameters<typeof startUpstream>[1] = {},
): Promise<TestUpstream> {
  const started = await startUpstream(behaviour, options);
  ends.push(() => started.stop());
  return started;
}

/** A forwarder to `targets` with the options as a Corefile has them. */
async function forwarder(targets: readonly string[], ...lines: string[]) {
  const text = `. {\n forward . ${targets.join(' ')} {\n${lines.join('\n')}\n}\n}`;
  const files: Record<string, string> = { 'ca.pem': ca };
  const reading = await readCorefile(text, { readFile: (path) => files[path] ?? '' });
  const options: ForwardOptions | undefined = reading.config?.blocks[0]?.forwards[0];
  assert.ok(options !== undefined, JSON.stringify(reading));
  const registry = new Registry();
  const servers = options.to.filter((to): to is ServerTarget => to.kind === 'server');
  const made = new Forwarder(options, servers, forwardMetrics(registry));
  ends.push(() => made.close());
  return { made, registry };
}

let ca = '';

const question = (name: string, type = 1) => ({
  name,
  type,
  class: 1,
  dnssecOk: false,
  checkingDisabled: false,
});

const at = ({ port }: TestUpstream): string => `127.0.0.1:${port}`;

function addresses(outcome: Outcome): string[] {
  return outcome.answer === undefined ? [outcome.reason] : readAllAddresses(outcome.answer.message);
}

test('equal questions that are on their way are asked once', async () => {
  const one = await upstream(async ({ name }) => {
    await delay(20);
    return { answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.1' }] };
  });
  const { made } = await forwarder([at(one)]);
  const outcomes = await Promise.all(Array.from({ length: 20 }, () => made.ask(question('example.org'), 'udp')));
  assert.deepEqual(new Set(outcomes.flatMap(addresses)), new Set(['192.0.2.1']));
  assert.equal(one.asked.length, 1);
});

test('no question is lost when one of two upstreams has died, and it is left alone but for checks', async () => {
  const dead = await upstream(() => 'silence');
  const live = await upstream(addressed('192.0.2.2'));
  const { made } = await forwarder([at(dead), at(live)], 'policy sequential', 'health_check 50ms');
  const first = performance.now();
  const outcomes = await Promise.all(
    Array.from({ length: 50 }, (_, index) => made.ask(question(`n${index}.example.org`), 'udp')),
  );
  assert.deepEqual(new Set(outcomes.flatMap(addresses)), new Set(['192.0.2.2']));
  // The patience with an upstream that nothing is known of yet is 400 ms; clients wait for 5 s.
  assert.ok(performance.now() - first < 2000);
  const before = dead.asked.length;
  const second = performance.now();
  assert.deepEqual(addresses(await made.ask(question('later.example.org'), 'udp')), ['192.0.2.2']);
  assert.ok(performance.now() - second < 300);
  assert.equal(dead.asked.length, before);
  assert.ok(dead.checks.length >= 1);
});

test('an upstream that comes back is asked again', async () => {
  const lame = await upstream(() => 'silence');
  const live = await upstream(addressed('192.0.2.2'));
  const { made } = await forwarder([at(lame), at(live)], 'policy sequential', 'health_check 20ms');
  await made.ask(question('a.example.org'), 'udp');
  lame.behaviour = addressed('192.0.2.1');
  let last: string[] = [];
  for (let round = 0; round < 200 && last[0] !== '192.0.2.1'; round++) {
    await delay(20);
    last = addresses(await made.ask(question(`${round}.example.org`), 'udp'));
  }
  assert.deepEqual(last, ['192.0.2.1']);
  assert.ok(!made.upstreams.some(({ down, suspect }) => down || suspect));
});

test('without an error there are no checks', async () => {
  const one = await upstream(addressed('192.0.2.1'));
  const { made } = await forwarder([at(one)], 'health_check 10ms');
  for (let index = 0; index < 5; index++) await made.ask(question(`n${index}.example.org`), 'udp');
  await delay(50);
  assert.deepEqual(one.checks, []);
});

test('policies: in order, in turn, at random', async () => {
  const pair = [await upstream(addressed('192.0.2.1')), await upstream(addressed('192.0.2.2'))] as const;
  const counts = async (policy: string): Promise<number[]> => {
    for (const one of pair) one.asked.length = 0;
    const { made } = await forwarder(pair.map(at), `policy ${policy}`);
    for (let index = 0; index < 40; index++) await made.ask(question(`n${index}.example.org`), 'udp');
    return pair.map(({ asked }) => asked.length);
  };
  assert.deepEqual(await counts('sequential'), [40, 0]);
  assert.deepEqual(await counts('round_robin'), [20, 20]);
  const random = await counts('random');
  assert.ok(random.every((count) => count > 0) && random[0] !== undefined && random[0] < 40, `${random}`);
});

test('failover goes on to another upstream after the codes that it names', async () => {
  const failing = await upstream(denied('SERVFAIL'));
  const live = await upstream(addressed('192.0.2.2'));
  const plain = await forwarder([at(failing), at(live)], 'policy sequential');
  assert.equal((await plain.made.ask(question('example.org'), 'udp')).answer?.rcode, 2);
  const over = await forwarder([at(failing), at(live)], 'policy sequential', 'failover SERVFAIL');
  assert.deepEqual(addresses(await over.made.ask(question('example.org'), 'udp')), ['192.0.2.2']);
});

test('more questions than max_concurrent are refused at once, and counted', async () => {
  const slow = await upstream(async ({ name }) => {
    await delay(100);
    return { answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.1' }] };
  });
  const { made, registry } = await forwarder([at(slow)], 'max_concurrent 2');
  const outcomes = await Promise.all(['a', 'b', 'c'].map((name) => made.ask(question(`${name}.example.org`), 'udp')));
  assert.deepEqual(outcomes.flatMap(addresses), ['192.0.2.1', '192.0.2.1', 'too-many']);
  assert.match(registry.page(), /^coredns_forward_max_concurrent_rejects_total 1$/m);
});

test('all upstreams down: a failure within the patience of a client, at once where that is wanted', async () => {
  const dead = await upstream(() => 'silence');
  const { made } = await forwarder([at(dead)], 'health_check 10ms', 'max_fails 1', 'failfast_all_unhealthy_upstreams');
  const begin = performance.now();
  assert.deepEqual(addresses(await made.ask(question('example.org'), 'udp')), ['no-answer']);
  assert.ok(performance.now() - begin < 4800);
  assert.ok(made.upstreams[0]?.down);
  const again = performance.now();
  assert.deepEqual(addresses(await made.ask(question('example.net'), 'udp')), ['no-answer']);
  assert.ok(performance.now() - again < 100);
});

test('one connection of TCP serves many questions, and one that is hung up loses none', async () => {
  const one = await upstream(addressed('192.0.2.1'));
  const { made, registry } = await forwarder([at(one)], 'force_tcp');
  await Promise.all(Array.from({ length: 30 }, (_, index) => made.ask(question(`n${index}.example.org`), 'udp')));
  assert.deepEqual([one.connections, new Set(one.asked.map(({ transport }) => transport))], [1, new Set(['tcp'])]);
  one.hangUp();
  assert.deepEqual(addresses(await made.ask(question('later.example.org'), 'udp')), ['192.0.2.1']);
  assert.match(registry.page(), /conn_cache_hits_total\{proxy_name="forward",to="[^"]+",proto="tcp"\} (29|30)$/m);
});

test('a question of TCP that prefer_udp asks over UDP is asked over TCP when its answer is cut', async () => {
  const one = await upstream(({ name, transport }) =>
    transport === 'udp' ? { flags: 0x0200 } : { answers: [{ name, type: 'A', ttl: 60, data: '192.0.2.1' }] },
  );
  const { made } = await forwarder([at(one)], 'prefer_udp');
  assert.deepEqual(addresses(await made.ask(question('example.org'), 'tcp')), ['192.0.2.1']);
  assert.deepEqual(
    one.asked.map(({ transport }) => transport),
    ['udp', 'tcp'],
  );
});

test('DNS over TLS: the certificate must have the name, and one connection is used again', async () => {
  const made = await certificateFor('dns.example');
  ca = made.ca;
  const one = await upstream(addressed('192.0.2.1'), { tls: made });
  const right = await forwarder([`tls://127.0.0.1:${one.port}`], 'tls ca.pem', 'tls_servername dns.example');
  await Promise.all(Array.from({ length: 10 }, (_, index) => right.made.ask(question(`n${index}.example.org`), 'udp')));
  assert.deepEqual([one.asked.length, one.connections], [10, 1]);
  const wrong = await forwarder(
    [`tls://127.0.0.1%other.example:${one.port}`],
    'tls ca.pem',
    'max_fails 1',
    'health_check 10ms',
  );
  assert.deepEqual(addresses(await wrong.made.ask(question('example.org'), 'udp')), ['no-answer']);
  assert.equal(one.asked.length, 10);
});

test('the servers of resolv.conf; those behind the stub of systemd-resolved in its place', () => {
  const files: Record<string, string> = {
    '/etc/resolv.conf': '# comment\nnameserver 127.0.0.53\noptions edns0\n nameserver fe80::1%eth0\n',
    '/run/systemd/resolve/resolv.conf': 'nameserver 10.0.0.53\nnameserver fd00::53\nnameserver 10.0.0.53\n',
  };
  const read = (path: string): string => files[path] ?? assert.fail(`${path} was not expected`);
  assert.deepEqual(
    readResolvConf('/etc/resolv.conf', read).map(({ address }) => address),
    ['10.0.0.53', 'fd00::53', 'fe80::1'],
  );
  delete files['/run/systemd/resolve/resolv.conf'];
  const without = (path: string): string => {
    const text = files[path];
    if (text === undefined) throw new Error('ENOENT');
    return text;
  };
  assert.deepEqual(readResolvConf('/nowhere', without), []);
  assert.equal(readResolvConf('/etc/resolv.conf', without)[0]?.address, '127.0.0.53');
});
