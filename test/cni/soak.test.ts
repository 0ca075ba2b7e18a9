// Random calls through the daemon and the kernel, with kills: the short form of bench/cni-soak.ts.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { test } from 'node:test';

test('over random ADD, DEL, CHECK and GC with kills nothing is doubled, nothing is lost, nothing is left', () => {
  const root = join(import.meta.dirname, '../..');
  const argv = [join(root, 'bench/cni-soak.ts'), '1500'];
  const { status, stdout, stderr } = spawnSync(join(root, 'scripts/node'), argv, { encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /nothing doubled, nothing lost, nothing left/);
});
