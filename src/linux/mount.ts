// Mounts in the calling process's mount namespace, the table of them, and mount namespaces pinned to files.
import { spawnSync } from 'node:child_process';
import { closeSync, openSync, readFileSync, rmSync } from 'node:fs';
import { cpus } from 'node:os';
import * as libc from './libc.ts';

const flagBits = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  bind: 4096,
  recursive: 16384,
} as const;

export interface MountOptions {
  readonly type?: string;
  /** The file system's own options, such as `size=64m,mode=0755` for tmpfs. */
  readonly data?: string;
  readonly flags?: readonly (keyof typeof flagBits)[];
}

/** Mounts a file system: `mountFilesystem('tmpfs', '/run/x', { type: 'tmpfs' })`. Throws SystemCallError. */
export function mountFilesystem(source: string, target: string, options: MountOptions = {}): void {
  const flags = (options.flags ?? []).reduce((bits, flag) => bits | flagBits[flag], 0);
  libc.mount(source, target, options.type ?? 'none', flags, options.data ?? '');
}

/** Makes a file or folder (with the mounts under it where `recursive`) appear at another, existing place. */
export function bindMount(source: string, target: string, options: { recursive?: boolean } = {}): void {
  mountFilesystem(source, target, { flags: options.recursive === true ? ['bind', 'recursive'] : ['bind'] });
}

/** How mounts made below a mount point travel to and from other mount namespaces (mount_namespaces(7)). */
export type Propagation = 'private' | 'shared' | 'slave';

export function setPropagation(target: string, propagation: Propagation, options: { recursive?: boolean } = {}): void {
  const bits = { private: 1 << 18, slave: 1 << 19, shared: 1 << 20 }[propagation];
  libc.mount('none', target, 'none', bits | (options.recursive === true ? flagBits.recursive : 0), '');
}

/**
 * Unmounts the topmost mount of a place; `lazy` detaches it even when it is busy. Returns false where nothing was
 * mounted there.
 */
export function unmount(target: string, options: { lazy?: boolean } = {}): boolean {
  try {
    libc.umount(target, (options.lazy === true ? 2 /* MNT_DETACH */ : 0) | 8 /* UMOUNT_NOFOLLOW */);
    return true;
  } catch (error) {
    if (libc.failedWith(error, 'EINVAL', 'ENOENT')) return false;
    throw error;
  }
}

export interface MountEntry {
  readonly source: string;
  readonly target: string;
  readonly type: string;
}

/** The mounts that a process sees, oldest first (proc_pid_mountinfo(5)). */
export function listMounts(pid: number | 'self' | 'thread-self' = 'self'): MountEntry[] {
  return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').split('\n').flatMap(parseMountInfo);
}

/** One line of mountinfo; empty where it is not one. */
export function parseMountInfo(line: string): MountEntry[] {
  const [before = '', after = ''] = line.split(' - ');
  const target = before.split(' ')[4];
  const [type, source] = after.split(' ');
  if (target === undefined || type === undefined || source === undefined) return [];
  return [{ target: unescapeOctal(target), type, source: unescapeOctal(source) }];
}

function unescapeOctal(text: string): string {
  return text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
}

/**
 * Makes a mount namespace, a private copy of this process's, and pins it to a file, so that it stays without any
 * process in it. The file's own file system must be mounted with private propagation (the kernel refuses a loop).
 */
export function createPinnedMountNamespace(file: string): void {
  closeSync(openSync(file, 'a', 0o600));
  let problem = '';
  for (const cpu of [undefined, ...cpus().keys()]) {
    const command = ['unshare', `--mount=${file}`, '--propagation=private', 'true'];
    const [program = '', ...args] = cpu === undefined ? command : ['taskset', '--cpu-list', String(cpu), ...command];
    const made = spawnSync(program, args, { encoding: 'utf8' });
    if (made.status === 0) return;
    problem = made.error?.message ?? made.stderr.trim();
    // The kernel takes a namespace for an older one, which may not be pinned here, by its number; and since 6.18 each
    // CPU gives out numbers of its own range. Where this process itself lives in a namespace that was made later than
    // the machine's first, another CPU may have the higher numbers.
    if (!/Invalid argument/.test(problem)) break;
  }
  rmSync(file, { force: true });
  throw new Error(`making the mount namespace ${file}: ${problem}`);
}

/** Removes a pinned namespace's file; the namespace ends with its last process. Does nothing where there is none. */
export function deletePinnedNamespace(file: string): void {
  while (unmount(file, { lazy: true }));
  rmSync(file, { force: true });
}
