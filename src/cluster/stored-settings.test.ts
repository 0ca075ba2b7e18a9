// What is said of clusters that cannot be read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isMissing } from './stored-settings.ts';

const failed = (code: string): Error => Object.assign(new Error(`${code}: …`), { code });

test('a cluster that is not there is none; one that this user may not see is not taken for none', () => {
  assert.equal(isMissing(failed('ENOENT')), true);
  assert.equal(isMissing(failed('ENOTDIR')), true);
  assert.equal(isMissing(failed('EIO')), false);
  for (const code of ['EACCES', 'EPERM']) assert.throws(() => isMissing(failed(code)), /belong to root.*: try sudo$/);
});
