import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { Storage } from '../../src/apiserver/storage.ts';

/** Writes objects as fast as it can, and prints each revision when the write has returned. */
const writer = `
  const { Storage } = await import(process.argv[1]);
  const { writeSync } = await import('node:fs');
  const storage = new Storage(process.argv[2]);
  for (;;) {
    const { metadata } = storage.put('/configmaps', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'x' + (storage.revision % 50), namespace: 'n' } });
    writeSync(1, metadata.resourceVersion + '\\n');
  }
`;

async function linesOf(child: ChildProcess, count: number): Promise<string[]> {
  let text = '';
  for await (const chunk of child.stdout ?? []) {
    text += String(chunk);
    if (text.split('\n').length > count) child.kill('SIGKILL');
  }
  return text.split('\n').slice(0, -1);
}

test('every write that was confirmed before kill -9 is there afterwards', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'wt-killed-'));
  const file = join(folder, 'data.db');
  try {
    const module = new URL('../../src/apiserver/storage.ts', import.meta.url).href;
    const child = spawn(process.execPath, ['--input-type=module', '-e', writer, module, file], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ended = once(child, 'exit');
    const confirmed = Number((await linesOf(child, 300)).at(-1));
    await ended;
    const storage = new Storage(file);
    assert.ok(confirmed >= 300);
    assert.ok(storage.revision >= confirmed);
    const newest = Math.max(...storage.list('/configmaps').map((one) => Number(one.metadata.resourceVersion)));
    assert.equal(newest, storage.revision);
    assert.equal(storage.changesSince('/configmaps', 0).length, storage.revision);
    storage.close();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
