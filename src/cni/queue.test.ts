// Queued calls: each handled once, in order; a failing one holds no other back and stays.
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { encodeCall } from './frame.ts';
import { drainQueue } from './queue.ts';

const dir = mkdtempSync('/tmp/wt-queue-');
after(() => rmSync(dir, { recursive: true, force: true }));

test('calls are handled in order, a failing one stays, what is unreadable or in writing is left out', async () => {
  const put = (name: string, content: Buffer | string): void => writeFileSync(join(dir, name), content);
  for (const id of ['b', 'a', 'c']) put(`${id}.call`, encodeCall({ env: { CNI_CONTAINERID: id }, stdin: '' }));
  put('broken.call', 'no end');
  put('d.new', encodeCall({ env: { CNI_CONTAINERID: 'd' }, stdin: '' }));
  const seen: (string | undefined)[] = [];
  const drain = drainQueue(dir, async ({ env }) => {
    seen.push(env.CNI_CONTAINERID);
    if (env.CNI_CONTAINERID === 'b') throw new Error('not now');
  });
  await assert.rejects(drain, /not now/);
  assert.deepEqual(seen, ['a', 'b', 'c']);
  assert.deepEqual(readdirSync(dir).sort(), ['b.call', 'd.new']);
});
