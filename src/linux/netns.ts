// Network namespaces: made, pinned by name as `ip netns` does, entered for synchronous work and for child processes.
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as libc from './libc.ts';
import { bindMount, unmount } from './mount.ts';

/** Where `ip netns` keeps the names. */
export const namedNetnsDir = '/run/netns';
const ownNetns = '/proc/thread-self/ns/net';

/** A network namespace: by a file that leads to it (`/run/netns/x`, `/proc/7/ns/net`) or by an open descriptor. */
export type NetnsRef = string | number;

/** The file that pins a named namespace; throws a RangeError for a name that is no plain file name. */
export function netnsPath(name: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/.test(name)) throw new RangeError(`'${name}' cannot name a namespace`);
  return join(namedNetnsDir, name);
}

/**
 * Runs a function with the calling thread inside of a namespace, and brings the thread back. The function must be
 * synchronous: what it starts later runs outside. Sockets that it opens stay in the namespace, and so do child
 * processes that it starts; servers of node:net do not (Node opens their socket later).
 */
export function inNetns<T>(netns: NetnsRef, work: () => T): T {
  const back = openSync(ownNetns, 'r');
  const fd = typeof netns === 'number' ? netns : openSync(netns, 'r');
  try {
    libc.setns(fd, libc.CLONE_NEWNET);
    try {
      return work();
    } finally {
      libc.setns(back, libc.CLONE_NEWNET);
    }
  } finally {
    if (typeof netns !== 'number') closeSync(fd);
    closeSync(back);
  }
}

/** Makes a namespace and pins it to a name, so that `ip netns` shows it. Throws (EEXIST) where the name is taken. */
export function createNamedNetns(name: string): void {
  const path = netnsPath(name);
  mkdirSync(namedNetnsDir, { recursive: true, mode: 0o755 });
  closeSync(openSync(path, 'wx', 0o444));
  const back = openSync(ownNetns, 'r');
  try {
    libc.unshare(libc.CLONE_NEWNET);
    try {
      bindMount(ownNetns, path);
    } finally {
      libc.setns(back, libc.CLONE_NEWNET);
    }
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(back);
  }
}

/**
 * Runs a function with the calling thread inside of a new namespace, which ends with all that is in it when nothing that
 * was started or opened there is left; as {@link inNetns}.
 */
export function inNewNetns<T>(work: () => T): T {
  const back = openSync(ownNetns, 'r');
  try {
    libc.unshare(libc.CLONE_NEWNET);
    try {
      return work();
    } finally {
      libc.setns(back, libc.CLONE_NEWNET);
    }
  } finally {
    closeSync(back);
  }
}

/** Takes the name away; the namespace ends with its last process. False where there was no such name. */
export function deleteNamedNetns(name: string): boolean {
  const path = netnsPath(name);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return false;
  while (unmount(path, { lazy: true }));
  rmSync(path, { force: true });
  return true;
}

/** The names of the pinned namespaces, sorted. */
export function listNamedNetns(): string[] {
  try {
    return readdirSync(namedNetnsDir).sort();
  } catch (error) {
    if (libc.failedWith(error, 'ENOENT')) return [];
    throw error;
  }
}

/** Which namespace a reference leads to: equal for two references to the same one, undefined where it leads nowhere. */
export function netnsIdentity(netns: string): string | undefined {
  const stat = statSync(netns, { throwIfNoEntry: false });
  return stat === undefined ? undefined : `${stat.dev}:${stat.ino}`;
}

/** Whether a file leads to a network namespace (and not to the empty file that a crash leaves). */
export function isNetns(path: string): boolean {
  try {
    inNetns(path, () => undefined);
    return true;
  } catch {
    return false;
  }
}

/** Sets a value under /proc/sys/net of a namespace: `sysctl(path, 'net.ipv4.ip_forward', '1')`, dots or slashes. */
export function sysctl(netns: NetnsRef, key: string, value: string): void {
  inNetns(netns, () => writeSysctl(key, value));
}

/** Whether packets from and to 127.0.0.0/8 may pass a link (IPv4 only; any link of the namespace). */
export const routeLocalnet = 'net/ipv4/conf/all/route_localnet';

/** As {@link sysctl}, in the calling thread's own namespace. */
export function writeSysctl(key: string, value: string): void {
  const path = key.includes('/') ? key : key.replaceAll('.', '/');
  if (!path.startsWith('net/') || path.includes('..')) throw new RangeError(`'${key}' is no sysctl of a namespace`);
  writeFileSync(join('/proc/sys', path), value);
}

/** What a command is to be run in. */
export interface NamespaceFiles {
  readonly net?: string;
  readonly mnt?: string;
  readonly uts?: string;
  /** The working directory, as seen inside. */
  readonly cwd?: string;
}

/** The command line that runs `argv` in these namespaces, through nsenter(1) of util-linux. */
export function nsenterCommand(namespaces: NamespaceFiles, argv: readonly string[]): string[] {
  const { net, mnt, uts, cwd } = namespaces;
  return [
    'nsenter',
    ...(net === undefined ? [] : [`--net=${net}`]),
    ...(mnt === undefined ? [] : [`--mount=${mnt}`]),
    ...(uts === undefined ? [] : [`--uts=${uts}`]),
    // --wd is opened before the namespaces are entered; --wdns (util-linux 2.39) is not in Debian 12.
    '--',
    ...(cwd === undefined ? [] : ['env', `--chdir=${cwd}`]),
    ...argv,
  ];
}
