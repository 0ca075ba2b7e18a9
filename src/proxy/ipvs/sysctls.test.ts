// Which kernels are old enough for a setting of their own.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isAtLeast } from './sysctls.ts';

test('a release of Linux is that version or a later one', () => {
  for (const release of ['5.9.0', '5.10.0-8-amd64', '6.1.0-50-cloud-amd64'])
    assert.ok(isAtLeast(release, [5, 9]), release);
  for (const release of ['5.8.18', '4.19.0-27', 'unknown']) assert.ok(!isAtLeast(release, [5, 9]), release);
});
