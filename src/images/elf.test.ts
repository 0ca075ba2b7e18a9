import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { loadablePart } from './elf.ts';

test('the loadable part of a program is smaller and runs as the whole does', () => {
  const folder = mkdtempSync(join(tmpdir(), 'weft-elf-'));
  try {
    const whole = readFileSync(realpathSync('/bin/sh'));
    const part = loadablePart(whole);
    assert.ok(part.length < whole.length);
    const file = join(folder, 'sh');
    writeFileSync(file, part, { mode: 0o755 });
    assert.equal(execFileSync(file, ['-c', 'echo $((6 * 7))'], { encoding: 'utf8' }), '42\n');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what is no program, or a broken one, stays as it is', () => {
  const broken = Buffer.from(readFileSync(realpathSync('/bin/sh')).subarray(0, 100));
  for (const bytes of [Buffer.alloc(0), Buffer.from('#!/bin/sh\n'), Buffer.alloc(200), broken])
    assert.equal(loadablePart(bytes), bytes);
});
