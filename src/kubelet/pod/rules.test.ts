import assert from 'node:assert/strict';
import { test } from 'node:test';
import { credentialsFor, registryOf } from '../image/credentials.ts';
import { withTag } from '../image/images.ts';
import { nextResult } from '../probe/prober.ts';
import { safePath } from '../volume/payload.ts';
import { renewalTime } from '../volume/tokens.ts';
import { createBackOff } from './back-off.ts';
import { exitedOf, instanceOf, runtimeOf, sandboxOf } from './fixtures.ts';
import { garbageOf } from './garbage.ts';
import { messageFromLog } from './termination-message.ts';

test('pauses double from the first failure after a restart, up to the longest, and start anew after a long good time', () => {
  const backOff = createBackOff({ initialMs: 10_000, maxMs: 300_000 });
  assert.equal(backOff.remaining('k', 0, 0), 0);
  backOff.next('k', 0, 0);
  assert.equal(backOff.remaining('k', 1000, 2000), 9000);
  backOff.next('k', 1000, 11_000);
  assert.equal(backOff.pause('k'), 20_000);
  for (let i = 0; i < 10; i++) backOff.next('k', 11_000, 11_000);
  assert.equal(backOff.pause('k'), 300_000);
  assert.equal(backOff.remaining('k', 700_000, 700_000), 0);
});

test('one dead instance of each container is kept, and the sandbox it belongs to', () => {
  const runtime = runtimeOf(
    [
      instanceOf('a', { attempt: 3, sandboxId: 's1' }),
      exitedOf('a', 1, { attempt: 2, sandboxId: 's1' }),
      exitedOf('a', 1, { attempt: 1 }),
      exitedOf('a', 1, { attempt: 0 }),
    ],
    [sandboxOf({ id: 's1', attempt: 1 }), sandboxOf({ ready: false })],
  );
  const garbage = garbageOf(runtime);
  assert.deepEqual(
    garbage.containers.map(({ id }) => id),
    ['a-1', 'a-0'],
  );
  assert.deepEqual(garbage.sandboxes, ['s0']);
});

test('a probe changes its result after as many equal runs as the thresholds say', () => {
  const state = {
    probe: { failureThreshold: 2, successThreshold: 2 },
    result: 'success' as const,
    successes: 0,
    failures: 0,
  };
  assert.equal(nextResult(state, false), 'success');
  assert.equal(nextResult(state, false), 'failure');
  const failed = { ...state, result: 'failure' as const, failures: 0 };
  assert.equal(nextResult(failed, true), 'failure');
  assert.equal(nextResult(failed, true), 'success');
});

test('registries and tags of image names', () => {
  assert.equal(registryOf('busybox'), 'docker.io');
  assert.equal(registryOf('me/app:1'), 'docker.io');
  assert.equal(registryOf('localhost:5000/app'), 'localhost:5000');
  assert.equal(withTag('a.b/c'), 'a.b/c:latest');
  assert.equal(withTag('a.b:1/c@sha256:0'), 'a.b:1/c@sha256:0');
});

test('credentials of a pull secret are found by the registry of the image', () => {
  const config = { auths: { 'https://index.docker.io/v1/': { auth: Buffer.from('me:pw:1').toString('base64') } } };
  const data = { '.dockerconfigjson': Buffer.from(JSON.stringify(config)).toString('base64') };
  const secret = { apiVersion: 'v1' as const, kind: 'Secret' as const, metadata: {}, data };
  assert.equal(credentialsFor('busybox', [secret])[0]?.username, 'me');
  assert.equal(credentialsFor('busybox', [secret])[0]?.password, 'pw:1');
  assert.deepEqual(credentialsFor('quay.io/x/y', [secret]), []);
});

test('tokens are renewed at 80 % of their life, at the latest after a day', () => {
  assert.equal(renewalTime(0, 3_600_000), 2_880_000);
  assert.equal(renewalTime(0, 365 * 86_400_000), 86_400_000);
});

test('paths that lead out of a volume are refused', () => {
  assert.equal(safePath('a/b'), 'a/b');
  for (const path of ['', '/a', 'a/../b', '..', '..data', 'a//b']) assert.throws(() => safePath(path), /invalid path/);
});

test('the last lines of a log are the message of a container that left none', () => {
  const log = [
    '2026-01-01T00:00:00Z stdout F one',
    '2026-01-01T00:00:00Z stderr P tw',
    '2026-01-01T00:00:00Z stderr F o',
    '',
  ];
  assert.equal(messageFromLog(log.join('\n')), 'one\ntwo\n');
});
