// Names of namespaces, and commands that run in them.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { netnsPath, nsenterCommand, writeSysctl } from './netns.ts';

test('a name that would leave the folder of namespaces is refused', () => {
  for (const name of ['', '.', '..', '../x', 'a/b', '-x', 'a b', 'x'.repeat(64)])
    assert.throws(() => netnsPath(name), RangeError, name);
  assert.equal(netnsPath('weft-worker2'), '/run/netns/weft-worker2');
});

test('nsenter gets each namespace as one argument and the command behind the double dash', () => {
  assert.deepEqual(nsenterCommand({ net: '/n', mnt: '/m', uts: '/u' }, ['ls', '-l']), [
    'nsenter',
    '--net=/n',
    '--mount=/m',
    '--uts=/u',
    '--',
    'ls',
    '-l',
  ]);
  assert.deepEqual(nsenterCommand({ cwd: '/var' }, ['pwd']), ['nsenter', '--', 'env', '--chdir=/var', 'pwd']);
});

test('only sysctls that belong to a network namespace can be set', () => {
  assert.throws(() => writeSysctl('kernel.hostname', 'x'), RangeError);
  assert.throws(() => writeSysctl('net/../kernel/hostname', 'x'), RangeError);
});
