// The table of mounts as the kernel writes it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseMountInfo } from './mount.ts';

test('a line of mountinfo gives target, type and source, with escaped blanks', () => {
  const line = '36 35 98:0 /mnt1 /mnt/a\\040b rw,noatime master:1 - ext4 /dev/root rw,errors=continue';
  assert.deepEqual(parseMountInfo(line), [{ target: '/mnt/a b', type: 'ext4', source: '/dev/root' }]);
});

test('what is no line of mountinfo gives nothing', () => {
  assert.deepEqual(parseMountInfo(''), []);
  assert.deepEqual(parseMountInfo('a b c'), []);
});
