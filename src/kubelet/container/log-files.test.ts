import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { containerLogLink, linkLog, removeLogs, rotateLog } from './log-files.ts';

const limits = { maxBytes: 10, maxFiles: 3 };
let folder = '';
let log = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'weft-logs-'));
  log = join(folder, '0.log');
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (second: number): Date => new Date(Date.UTC(2026, 0, 2, 3, 4, second));
const reopen = async (): Promise<void> => writeFileSync(log, '');

test('a log that is small enough stays', async () => {
  writeFileSync(log, 'short');
  assert.equal(await rotateLog(log, limits, () => assert.fail(), at(0)), false);
  assert.deepEqual(readdirSync(folder), ['0.log']);
});

test('a large log is put aside, the one before is compressed, and not more files stay than wanted', async () => {
  for (const second of [0, 1, 2, 3]) {
    writeFileSync(log, `log of second ${second}`);
    assert.equal(await rotateLog(log, limits, reopen, at(second)), true);
  }
  assert.deepEqual(readdirSync(folder).sort(), ['0.log', '0.log.20260102-030402.gz', '0.log.20260102-030403']);
  assert.equal(gunzipSync(readFileSync(join(folder, '0.log.20260102-030402.gz'))).toString(), 'log of second 2');
  assert.equal(readFileSync(join(folder, '0.log.20260102-030403'), 'utf8'), 'log of second 3');
});

test('what the runtime refuses to reopen is put back', async () => {
  writeFileSync(log, 'a long log line');
  await assert.rejects(
    rotateLog(log, limits, () => Promise.reject(new Error('no')), at(0)),
    /no/,
  );
  assert.deepEqual(readdirSync(folder), ['0.log']);
});

test('the logs of one instance are removed, those of another stay', async () => {
  for (const name of ['0.log', '0.log.20260102-030402.gz', '1.log', '10.log']) writeFileSync(join(folder, name), '');
  await removeLogs(log);
  assert.deepEqual(readdirSync(folder).sort(), ['1.log', '10.log']);
});

test('a collector finds the log by pod, namespace, container and id', async () => {
  const pods = join(folder, 'pods');
  const link = containerLogLink(pods, { pod: 'web-1', namespace: 'shop', container: 'php', id: 'abc' });
  assert.equal(link, join(folder, 'containers/web-1_shop_php-abc.log'));
  await linkLog(link, log);
  await linkLog(link, log);
  assert.equal(readlinkSync(link), log);
});
