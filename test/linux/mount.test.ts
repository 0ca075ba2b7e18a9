// Mounts and pinned mount namespaces against the real kernel.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import {
  bindMount,
  createPinnedMountNamespace,
  deletePinnedNamespace,
  listMounts,
  mountFilesystem,
  setPropagation,
  unmount,
} from '../../src/linux/mount.ts';
import { nsenterCommand } from '../../src/linux/netns.ts';

const dir = mkdtempSync('/tmp/wt-mount-');
afterEach(() => {
  for (const { target } of listMounts().reverse()) if (target.startsWith(`${dir}/`)) unmount(target, { lazy: true });
  rmSync(dir, { recursive: true, force: true });
});

const folder = (name: string): string => {
  const path = join(dir, name);
  mkdirSync(path, { recursive: true });
  return path;
};

test('a tmpfs can be mounted, bound elsewhere and unmounted', () => {
  const [tmp, other] = [folder('tmp'), folder('other')];
  mountFilesystem('tmpfs', tmp, { type: 'tmpfs', data: 'size=1m', flags: ['noSuid', 'noDev'] });
  writeFileSync(join(tmp, 'x'), '');
  bindMount(tmp, other);
  assert.ok(existsSync(join(other, 'x')));
  assert.equal(listMounts().find(({ target }) => target === tmp)?.type, 'tmpfs');
  assert.deepEqual([unmount(other), unmount(other), unmount(tmp)], [true, false, true]);
  assert.throws(() => mountFilesystem('tmpfs', join(dir, 'none'), { type: 'tmpfs' }), /none.*ENOENT/);
});

test('what is mounted in a pinned mount namespace is seen there alone, and stays without a process', () => {
  const [pins, target] = [folder('pins'), folder('target')];
  mountFilesystem('tmpfs', pins, { type: 'tmpfs' });
  setPropagation(pins, 'private');
  const pin = join(pins, 'node');
  createPinnedMountNamespace(pin);
  const run = (...argv: string[]): ReturnType<typeof spawnSync> => {
    const [command = '', ...args] = nsenterCommand({ mnt: pin }, argv);
    return spawnSync(command, args);
  };
  assert.equal(run('mount', '-t', 'tmpfs', 'tmpfs', target).status, 0);
  assert.equal(run('mountpoint', '-q', target).status, 0);
  assert.ok(!listMounts().some((entry) => entry.target === target));
  deletePinnedNamespace(pin);
  assert.ok(!existsSync(pin));
  deletePinnedNamespace(pin);
});
