// Runs the kubelet's tests against a real containerd, each file in mount, network and process namespaces of its own:
// whatever happens there, nothing of it is left.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const root = join(import.meta.dirname, '../..');
const missing =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/usr/bin/containerd') ? false : 'needs the package containerd';

for (const file of ['pods.inside.ts', 'lifecycle.inside.ts']) {
  test(`kubelet with containerd: ${file}`, { skip: missing, timeout: 180_000 }, async () => {
    const name = `wt-${randomBytes(4).toString('hex')}`;
    const folder = mkdtempSync(`/var/tmp/${name}-`);
    try {
      const { code, output } = await run(file, folder, name);
      assert.equal(code, 0, output);
    } finally {
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
      for (const hierarchy of readdirSync('/sys/fs/cgroup')) removeGroups(join('/sys/fs/cgroup', hierarchy, name));
    }
  });
}

function run(file: string, folder: string, cgroup: string): Promise<{ code: number | null; output: string }> {
  const inner = [join(root, 'scripts/node'), '--test', '--test-reporter=spec', join(import.meta.dirname, file)];
  const child = spawn(
    'unshare',
    ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc', '--propagation', 'private', '--', ...inner],
    {
      env: { ...process.env, NODE_TEST_CONTEXT: undefined, WEFT_TEST_FOLDER: folder, WEFT_TEST_CGROUP: cgroup },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  return new Promise((resolve) => child.on('close', (code) => resolve({ code, output })));
}

function removeGroups(folder: string): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    const path = join(folder, name);
    if (statSync(path).isDirectory()) removeGroups(path);
  }
  rmdirSync(folder);
}
