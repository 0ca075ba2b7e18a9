// A plan as BIRD's configuration; that BIRD reads it is tested in test/bgp.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../../net/address.ts';
import { birdConfig } from './bird-config.ts';
import type { BgpPlan, BgpSession } from './decide.ts';

const files = { logFile: '/run/weft/bird/bird.log' };

const session: BgpSession = {
  name: 'node:weft-worker',
  owner: 'Node weft-worker',
  local: asIp('172.18.0.2'),
  neighbor: asIp('172.18.0.3'),
  neighborAs: 64512,
  advertise: 'own',
  acceptExactly: [asCidr('10.244.1.0/24')],
  acceptWithin: [],
  acceptOutside: [],
  balancers: [],
};

const plan: BgpPlan = {
  routerId: asIp('172.18.0.2'),
  asNumber: 64512,
  holdTime: 9,
  restartTime: 60,
  ownRanges: [asCidr('10.244.0.0/24')],
  balancerRanges: [],
  podRanges: [asCidr('10.244.0.0/16')],
  sessions: [session],
};

const condition = (word: 'import' | 'export', change: Partial<BgpSession>): string => {
  const text = birdConfig({ ...plan, sessions: [{ ...session, ...change }] }, files);
  const session1 = text.slice(text.indexOf('protocol bgp'));
  return new RegExp(`${word} where (.*);`).exec(session1)?.[1] ?? '';
};

test('a mesh session, whole', () => {
  const text = birdConfig(plan, files);
  assert.equal(
    text.slice(text.indexOf('protocol bgp')),
    `protocol bgp 'node:weft-worker' {
  local 172.18.0.2 as 64512;
  neighbor 172.18.0.3 as 64512;
  debug { states };
  hold time 9;
  keepalive time 3;
  connect delay time 1;
  connect retry time 3;
  error wait time 1, 10;
  graceful restart on;
  graceful restart time 60;
  ipv4 {
    import where (net ~ [ 10.244.1.0/24 ]) && !(net ~ [ 10.244.0.0/24+ ]) && !(net ~ [ 0.0.0.0/8{8,32}, 127.0.0.0/8+, 169.254.0.0/16+, 224.0.0.0/3+ ]);
    export where proto = "own4";
  };
}
`,
  );
  assert.doesNotMatch(text, /ipv6|kernel6/);
});

test('what is taken: exactly these, these with all within, and from outside nothing of the pods', () => {
  assert.equal(condition('import', { acceptExactly: [] }), 'false');
  assert.match(
    condition('import', { acceptWithin: [asCidr('10.244.0.0/16')] }),
    /^\(net ~ \[ 10\.244\.1\.0\/24 \] \|\| net ~ \[ 10\.244\.0\.0\/16\+ \]\) &&/,
  );
  assert.match(
    condition('import', { acceptExactly: [], acceptOutside: [asCidr('0.0.0.0/0')] }),
    /^\(\(net ~ \[ 0\.0\.0\.0\/0\+ \] && !\(net ~ \[ 10\.244\.0\.0\/16\+ \]\)\)\) &&/,
  );
});

test('what is told: the own ranges, or with them what nodes of the own AS have told', () => {
  assert.equal(condition('export', {}), 'proto = "own4"');
  assert.equal(
    condition('export', { advertise: 'cluster' }),
    'proto = "own4" || (source = RTS_BGP && bgp_path.len = 0 && net ~ [ 10.244.0.0/16+ ])',
  );
});

test('a reflector, a distant router and a password are said', () => {
  const text = birdConfig(
    { ...plan, sessions: [{ ...session, reflectAs: asIp('10.0.0.1'), multihop: 3, password: "it's #1" }] },
    files,
  );
  for (const line of ['rr client;', 'rr cluster id 10.0.0.1;', 'multihop 3;', `password "it's #1";`])
    assert.ok(text.includes(`  ${line}\n`), line);
});

test('BFD is there for the sessions that ask for it', () => {
  const bfd = { receiveInterval: 50, transmitInterval: 60, detectMultiplier: 4 };
  const text = birdConfig({ ...plan, sessions: [session, { ...session, name: 'lb:tor', bfd }] }, files);
  assert.equal(text.match(/^protocol bfd liveness \{\}$/gm)?.length, 1);
  assert.deepEqual(text.match(/ {2}bfd .*/g), [
    '  bfd { min rx interval 50 ms; min tx interval 60 ms; multiplier 4; passive off; };',
  ]);
  assert.doesNotMatch(birdConfig(plan, files), /bfd/);
  const wrong = { ...bfd, transmitInterval: 0.5 };
  assert.throws(() => birdConfig({ ...plan, sessions: [{ ...session, bfd: wrong }] }, files), RangeError);
});

test('what could end a string or a name is never written', () => {
  for (const change of [{ name: "a' {" }, { name: 'A' }, { name: '' }, { password: 'a"b' }, { password: 'a\nb' }])
    assert.throws(() => birdConfig({ ...plan, sessions: [{ ...session, ...change }] }, files), RangeError);
  assert.throws(() => birdConfig(plan, { logFile: '/tmp/a"b' }), RangeError);
});
