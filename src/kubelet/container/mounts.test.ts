import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import type { VolumeMount } from '../../k8s/types.generated.ts';
import { containerMounts } from './mounts.ts';

let folder = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-mounts-'));
  mkdirSync(join(folder, 'volume'));
  chmodSync(join(folder, 'volume'), 0o2777);
});
afterEach(() => rmSync(folder, { recursive: true }));

const mountsOf = (mount: Omit<VolumeMount, 'name' | 'mountPath'>) =>
  containerMounts({
    container: { name: 'c', volumeMounts: [{ name: 'v', mountPath: '/v', ...mount }] },
    volumes: new Map([['v', join(folder, 'volume')]]),
    environment: [{ key: 'WHO', value: 'me' }],
    etcHosts: join(folder, 'hosts'),
    terminationLog: join(folder, 'containers/c/0'),
  });
const modeOf = (path: string): number => statSync(join(folder, path)).mode & 0o7777;

test('missing folders of a subPath can be written to by whoever may write to the volume', async () => {
  const [mount] = await mountsOf({ subPathExpr: 'deep/$(WHO)' });
  assert.equal(mount?.hostPath, join(folder, 'volume/deep/me'));
  assert.equal(modeOf('volume/deep'), 0o2777);
  assert.equal(modeOf('volume/deep/me'), 0o2777);
});

test('a folder that is there keeps its mode', async () => {
  mkdirSync(join(folder, 'volume/deep'));
  chmodSync(join(folder, 'volume/deep'), 0o700);
  await mountsOf({ subPath: 'deep' });
  assert.equal(modeOf('volume/deep'), 0o700);
});

test('a subPath does not lead out of its volume', async () => {
  symlinkSync('/', join(folder, 'volume/out'));
  for (const subPath of ['../x', '/etc', 'out/etc', 'out']) await assert.rejects(mountsOf({ subPath }), /subPath/);
});

test('any user of the container may write its last words', async () => {
  await mountsOf({});
  assert.equal(modeOf('containers/c/0'), 0o666);
});
