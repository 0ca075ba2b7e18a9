// Container logs: the runtime's format, the options of `kubectl logs`, following and rotation.
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { createLogFormatter, type LogOptions, parseLogEntry, parseLogOptions } from './log-lines.ts';
import { streamLog } from './log-stream.ts';

const folder = mkdtempSync(join(tmpdir(), 'wt-logs-'));
after(() => rmSync(folder, { recursive: true }));

const none: LogOptions = { follow: false, timestamps: false };
const at = (second: number, text: string, tags = 'stdout F'): string =>
  `2026-11-21T06:00:0${second}.123456789Z ${tags} ${text}\n`;
const format = (text: string, options: Partial<LogOptions> = {}): string =>
  createLogFormatter({ ...none, ...options })
    .format(Buffer.from(text))
    .toString();

test('an entry has a time, a stream, a tag and the rest of the line', () => {
  const entry = parseLogEntry(Buffer.from('2026-11-21T06:00:01Z stderr P a  b '));
  assert.deepEqual(
    [entry?.time, entry?.stream, entry?.partial, entry?.content.toString()],
    ['2026-11-21T06:00:01Z', 'stderr', true, 'a  b '],
  );
  assert.equal(parseLogEntry(Buffer.from('2026-11-21T06:00:01Z stdout F'))?.content.length, 0);
  assert.equal(parseLogEntry(Buffer.from('garbage')), undefined);
});

test('pieces of a line are joined, with one time before them', () => {
  const log = at(1, 'long ', 'stdout P') + at(2, 'line') + at(3, 'next');
  assert.equal(format(log), 'long line\nnext\n');
  assert.equal(
    format(log, { timestamps: true }),
    '2026-11-21T06:00:01.123456789Z long line\n2026-11-21T06:00:03.123456789Z next\n',
  );
});

test('since, stream and limitBytes select', () => {
  const log = at(1, 'a') + at(2, 'b', 'stderr F') + at(3, 'c');
  assert.equal(format(log, { since: new Date('2026-11-21T06:00:02Z') }), 'b\nc\n');
  assert.equal(format(log, { stream: 'stderr' }), 'b\n');
  const limited = createLogFormatter({ ...none, limitBytes: 3 });
  assert.equal(limited.format(Buffer.from(log)).toString(), 'a\nb');
  assert.ok(limited.done);
});

test('the output does not depend on how the file is cut', () => {
  const log = Buffer.from(at(1, 'ä', 'stdout P') + at(2, '') + at(3, 'c'));
  fc.assert(
    fc.property(fc.array(fc.nat(log.length), { maxLength: 5 }), (cuts) => {
      const formatter = createLogFormatter({ ...none, timestamps: true });
      const ends = [...cuts].sort((a, b) => a - b).concat(log.length);
      const parts = ends.map((end, i) => formatter.format(log.subarray(ends[i - 1] ?? 0, end)));
      assert.deepEqual(Buffer.concat(parts), createLogFormatter({ ...none, timestamps: true }).format(log));
    }),
  );
});

test('wrong options are refused with their name', () => {
  const parse = (query: string) => parseLogOptions(new URLSearchParams(query), new Date(10_000));
  assert.deepEqual(parse('tailLines=-1'), {
    error: 'tailLines: Invalid value: "-1": must be an integer of at least 0',
  });
  assert.match(JSON.stringify(parse('sinceSeconds=1&sinceTime=2026-11-21T06:00:00Z')), /at most one of/);
  assert.match(JSON.stringify(parse('sinceTime=yesterday')), /must be an RFC 3339 time/);
  assert.match(JSON.stringify(parse('stream=x')), /Unsupported value/);
  assert.deepEqual(parse('sinceSeconds=4&follow=true'), {
    follow: true,
    timestamps: false,
    tailLines: undefined,
    limitBytes: undefined,
    since: new Date(6000),
    stream: undefined,
  });
});

let files = 0;
function logFile(text: string): string {
  const path = join(folder, `${files++}.log`);
  writeFileSync(path, text);
  return path;
}

async function read(path: string, options: Partial<LogOptions>): Promise<string> {
  const output = new PassThrough();
  const text = output.setEncoding('utf8').toArray();
  await streamLog({ path, isRunning: () => false }, { ...none, ...options }, output);
  output.end();
  return (await text).join('');
}

test('tailLines counts the lines from the end', async () => {
  const path = logFile(at(1, 'a') + at(2, 'b') + at(3, 'c'));
  assert.equal(await read(path, { tailLines: 2 }), 'b\nc\n');
  assert.equal(await read(path, { tailLines: 0 }), '');
  assert.equal(await read(path, { tailLines: 99 }), 'a\nb\nc\n');
  const long = logFile(Array.from({ length: 20_000 }, (_, i) => at(1, `line ${i}`)).join(''));
  assert.equal(
    await read(long, { tailLines: 10_000 }),
    Array.from({ length: 10_000 }, (_, i) => `line ${i + 10_000}\n`).join(''),
  );
});

test('following ends with what was written before the container ended', async () => {
  const path = logFile(at(1, 'a'));
  let running = true;
  const output = new PassThrough();
  const done = streamLog({ path, isRunning: () => running }, { ...none, follow: true }, output);
  output.setEncoding('utf8');
  const next = async (): Promise<string> => {
    const ready: string | null = output.read();
    return ready ?? new Promise((resolve) => output.once('readable', () => resolve(output.read())));
  };
  assert.equal(await next(), 'a\n');
  appendFileSync(path, at(2, 'b'));
  assert.equal(await next(), 'b\n');
  // A rotation: the old file gets a new name, and the runtime opens another one.
  appendFileSync(path, at(3, 'c'));
  renameSync(path, `${path}.old`);
  writeFileSync(path, at(4, 'd'));
  assert.equal((await next()) + (output.readableLength > 0 ? output.read() : await next()), 'c\nd\n');
  appendFileSync(path, at(5, 'e'));
  running = false;
  await done;
  assert.equal(output.read(), 'e\n');
});

test('following ends when the client goes', async () => {
  const path = logFile(at(1, 'a'));
  const output = new PassThrough();
  const done = streamLog({ path, isRunning: () => true }, { ...none, follow: true }, output);
  output.once('readable', () => output.destroy());
  await done;
});
