import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { kubeadmCorefile } from '../fixtures.ts';
import type { ServerBlock } from './config.ts';
import { readCorefile } from './corefile.ts';

async function blocks(text: string, environment = {}): Promise<readonly ServerBlock[]> {
  const reading = await readCorefile(text, { environment, readFile: (path) => `content of ${path}` });
  if (reading.config === undefined) assert.fail(JSON.stringify(reading.problems));
  return reading.config.blocks;
}

async function problems(text: string): Promise<string[]> {
  const reading = await readCorefile(text);
  return reading.config === undefined ? reading.problems.map((one) => `${one.line}: ${one.text}`) : [];
}

test("kubeadm's own Corefile is read without a problem or a warning", async () => {
  const reading = await readCorefile(kubeadmCorefile);
  assert.deepEqual(reading.warnings, []);
  const [block] = reading.config?.blocks ?? [];
  assert.deepEqual([block?.zones, block?.port, block?.loop, block?.loadbalance], [[''], 53, true, true]);
  assert.deepEqual(block?.kubernetes?.zones, ['cluster.local', 'in-addr.arpa', 'ip6.arpa']);
  assert.deepEqual([block?.kubernetes?.pods, block?.kubernetes?.ttl], ['insecure', 30]);
  assert.deepEqual(block?.kubernetes?.fallthrough, ['in-addr.arpa', 'ip6.arpa']);
  assert.deepEqual(block?.forwards[0]?.to, [{ kind: 'file', path: '/etc/resolv.conf' }]);
  assert.equal(block?.forwards[0]?.maxConcurrent, 1000);
  assert.deepEqual([block?.cache?.success.maxTtl, block?.cache?.denial.maxTtl], [30, 30]);
  assert.deepEqual(block?.cache?.disableSuccess, ['cluster.local']);
  assert.deepEqual(block?.health, { address: { port: 8080 }, lameduckMs: 5000 });
  assert.deepEqual([block?.ready?.port, block?.prometheus?.port], [8181, 9153]);
});

test('server blocks: zones, ports, ranges as reverse zones, commas, several ports', async () => {
  const found = await blocks('Example.ORG:1053, sub.example.net {\n whoami\n}\n10.0.0.0/15 fd00::/16 {\n whoami\n}');
  assert.deepEqual(
    found.map(({ zones, port }) => [zones, port]),
    [
      [['example.org'], 1053],
      [['sub.example.net'], 53],
      [['0.10.in-addr.arpa', '1.10.in-addr.arpa', '0.0.d.f.ip6.arpa'], 53],
    ],
  );
});

test('a file without braces is one block', async () => {
  const [block] = await blocks('example.org\nwhoami\nany\n');
  assert.deepEqual([block?.zones, block?.whoami, block?.any], [['example.org'], true, true]);
});

test('snippets are imported, also into one another and twice in succession', async () => {
  const [block] = await blocks(`
(upstream) {
  forward one.example 10.0.0.1
}
(both) {
  import upstream
  import upstream
}
. {
  import both
  errors
}`);
  assert.deepEqual(
    block?.forwards.map(({ from }) => from),
    ['one.example', 'one.example'],
  );
  assert.equal(block?.errors, true);
});

test('quotes, comments and environment variables', async () => {
  const [block] = await blocks(
    '. { # {\n  log . "{type} \\"{name}\\""\n  forward . {$DNS}:{%PORT%} # the office\n  errors{$NONE}\n}',
    { DNS: '10.0.0.53', PORT: '5353' },
  );
  assert.equal(block?.logs[0]?.format, '{type} "{name}"');
  assert.deepEqual(block?.forwards[0]?.to, [{ kind: 'server', protocol: 'dns', address: '10.0.0.53', port: 5353 }]);
});

test('forward: addresses, DNS over TLS with names and files, and every option', async () => {
  const [block] = await blocks(`. {
  forward example.org fd00::53 [fd00::54]:5353 tls://9.9.9.9%dns.quad9.net:8853 tls://9.9.9.9 {
    except internal.example.org 10.0.0.0/8
    policy sequential
    force_tcp
    prefer_udp
    max_fails 3
    expire 1m30s
    health_check 250ms no_rec domain example.org
    next NXDOMAIN
    failover SERVFAIL REFUSED
    failfast_all_unhealthy_upstreams
    tls cert.pem key.pem ca.pem
  }
}`);
  const [forward] = block?.forwards ?? [];
  assert.deepEqual(
    forward?.to.map((to) => (to.kind === 'server' ? [to.protocol, to.address, to.port, to.serverName] : to)),
    [
      ['dns', 'fd00::53', 53, undefined],
      ['dns', 'fd00::54', 5353, undefined],
      ['tls', '9.9.9.9', 8853, 'dns.quad9.net'],
      ['tls', '9.9.9.9', 853, undefined],
    ],
  );
  assert.deepEqual(
    [forward?.except, forward?.policy, forward?.forceTcp, forward?.maxFails, forward?.expireMs, forward?.healthCheckMs],
    [['internal.example.org', '10.in-addr.arpa'], 'sequential', true, 3, 90_000, 250],
  );
  assert.deepEqual([forward?.next, forward?.failover, forward?.failFast], [[3], [2, 5], true]);
  assert.equal(forward?.tls.ca, 'content of ca.pem');
});

test('cache: limits, prefetch, stale answers, and what is not kept', async () => {
  const [block] = await blocks(`. {
  cache 300 example.org {
    success 2000 60 10
    denial 100
    prefetch 5 2m 20%
    serve_stale 2h verify
    servfail 1s
    disable denial
    keepttl
  }
}`);
  const cache = block?.cache;
  assert.deepEqual(cache?.success, { capacity: 2000, maxTtl: 60, minTtl: 10 });
  assert.deepEqual(cache?.denial, { capacity: 1024, maxTtl: 300, minTtl: 5 });
  assert.deepEqual(cache?.prefetch, { amount: 5, pauseMs: 120_000, percentage: 20 });
  assert.deepEqual(cache?.serveStale, { forMs: 7_200_000, mode: 'verify' });
  assert.deepEqual(
    [cache?.servfailMs, cache?.disableDenial, cache?.keepTtl, cache?.zones],
    [1000, [''], true, ['example.org']],
  );
});

test('hosts: entries of the Corefile itself, and options', async () => {
  const [block] = await blocks(
    '. {\n hosts custom.hosts example.org {\n 10.0.0.1 One.example.org two.example.org.\n ttl 60\n no_reverse\n fallthrough\n }\n}',
  );
  assert.deepEqual(block?.hosts?.entries, [{ address: '10.0.0.1', names: ['one.example.org', 'two.example.org'] }]);
  assert.deepEqual([block?.hosts?.file, block?.hosts?.ttl, block?.hosts?.reverse], ['custom.hosts', 60, false]);
});

test('rewrite: each kind of rule, on a line or in braces', async () => {
  const [block] = await blocks(`. {
  rewrite name foo.example.com web.default.svc.cluster.local
  rewrite continue name suffix .old.example .new.example answer auto
  rewrite stop {
    name regex (.*)-(us-west-1)\\.example\\.org {1}.service.{2}.consul
    answer name (.*)\\.service\\.(us-west-1)\\.consul {1}-{2}.example.org
  }
  rewrite type ANY HINFO
  rewrite class CH IN
  rewrite ttl suffix example.org 10-60
  rewrite rcode regex (.*) NXDOMAIN SERVFAIL
}`);
  const rules = block?.rewrites ?? [];
  assert.deepEqual(
    rules.map(({ kind, next }) => [kind, next]),
    [
      ['name', 'stop'],
      ['name', 'continue'],
      ['name', 'stop'],
      ['type', 'stop'],
      ['class', 'stop'],
      ['ttl', 'stop'],
      ['rcode', 'stop'],
    ],
  );
  const [first, , third, , , ttl] = rules;
  assert.deepEqual(first?.kind === 'name' && first.match, { kind: 'exact', text: 'foo.example.com.' });
  assert.ok(third?.kind === 'name' && third.match.kind === 'regex' && third.answer !== 'auto');
  assert.deepEqual(third.match.pattern.match('ftp-us-west-1.example.org.')?.slice(1), ['ftp', 'us-west-1']);
  assert.deepEqual(ttl?.kind === 'ttl' && [ttl.least, ttl.most], [10, 60]);
});

test('a pattern that makes other engines search for ever is matched in a moment', async () => {
  const [block] = await blocks('. {\n rewrite name regex (a*)*(a*)*(a*)*b$ x.example\n}');
  const [rule] = block?.rewrites ?? [];
  assert.ok(rule?.kind === 'name' && rule.match.kind === 'regex');
  const before = performance.now();
  assert.equal(rule.match.pattern.match(`${'a'.repeat(253)}.`), undefined);
  assert.ok(performance.now() - before < 500);
});

for (const [what, text, expected] of [
  ['a plugin that is not supported', '. {\n errors\n etcd skydns.local\n}', ['3: the plugin etcd is not supported']],
  [
    'each of several problems',
    '. {\n etcd\n cache 30 {\n  shards 5\n }\n}',
    ['2: the plugin etcd is not supported', '4: cache: the option shards is not supported'],
  ],
  ['a brace that is not closed', '. {\n errors\n', ["1: '{' is opened here and never closed"]],
  ['a brace too many', '. {\n errors\n}\n}', ["4: '}' closes nothing that was opened"]],
  ['a quote that is not closed', '. {\n log . "{name}\n}', ['2: a quote is opened here and never closed']],
  [
    'a snippet that is not there',
    '. {\n import nothing\n}',
    [
      "2: import nothing: there is no snippet '(nothing)' above, and files are imported from the ConfigMaps coredns (/etc/coredns/) and coredns-custom (/etc/coredns/custom/) alone",
    ],
  ],
  [
    'snippets in a circle',
    '(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}',
    ['5: imports go round in a circle'],
  ],
  ['a zone twice', '. {\n whoami\n}\n. {\n whoami\n}', ['4: .:53 is served by the block of line 1 already']],
  ['a plugin twice', '. {\n cache\n cache\n}', ['3: cache stands twice in one server block']],
  [
    'an encrypted server',
    'tls://. {\n whoami\n}',
    ['1: tls://.: a server for tls:// is not supported; only plain DNS is'],
  ],
  [
    'an upstream that is no address',
    '. {\n forward . dns.example\n}',
    [
      "2: forward: 'dns.example' is no address of a DNS server such as 10.0.0.53, [fd00::53]:5353 or tls://10.0.0.53, and no file",
    ],
  ],
  [
    'a TTL beyond its limit',
    '. {\n kubernetes cluster.local {\n  ttl 7200\n }\n}',
    ["3: ttl: '7200' must be a whole number from 0 to 3600"],
  ],
  [
    'a pattern that is none',
    '. {\n rewrite name regex (a x.example\n}',
    ['2: rewrite name: error parsing regexp: missing closing ): `(a`'],
  ],
  ['nothing at all', '# empty\n', ['1: there is no server block']],
] as const)
  test(`a problem is named with its line: ${what}`, async () => {
    assert.deepEqual(await problems(text), expected);
  });

test('multisocket: a number of sockets, or as many as there are processors', async () => {
  const read = async (line: string) => (await blocks(`.:53 {\n ${line}\n}`))[0]?.multisocket;
  assert.deepEqual(await read('multisocket 4'), { sockets: 4 });
  assert.deepEqual(await read('multisocket'), {});
  assert.equal(await read('errors'), undefined);
  for (const number of ['0', '1025', 'many'])
    assert.deepEqual(await problems(`.:53 {\n multisocket ${number}\n}`), [
      `2: multisocket: '${number}' is no number of sockets from 1 to 1024`,
    ]);
});

test('what has no effect here is named and does no harm', async () => {
  const reading = await readCorefile('. {\n bind 10.0.0.1\n import custom/*.override\n whoami\n}');
  assert.equal(reading.config?.blocks.length, 1);
  assert.deepEqual(
    reading.warnings.map(({ line }) => line),
    [3, 2],
  );
});

test('no text makes the reader fail in another way than by naming a line', async () => {
  const word = fc.oneof(
    fc.constantFrom(
      '{',
      '}',
      '"',
      '#',
      '\n',
      '.',
      'import',
      '(a)',
      'a',
      'cache',
      'rewrite',
      'forward',
      'hosts',
      'kubernetes',
      'log',
      '{$A}',
      '10.0.0.0/9',
      'name',
      'regex',
      'answer',
      '30',
      '%',
      ':53',
    ),
    fc.string({ maxLength: 6 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 25 }), async (words) => {
      const reading = await readCorefile(words.join(' '));
      assert.ok(reading.config !== undefined || reading.problems.every(({ line }) => line >= 1));
    }),
    { numRuns: 500 },
  );
});
