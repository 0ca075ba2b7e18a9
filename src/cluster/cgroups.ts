// The cgroups of a cluster: where its processes and containers are counted, and how one finds them all.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { listMounts } from '../linux/mount.ts';

/** The roots of the cgroup hierarchies of the machine: one for version 2, one a controller for version 1. */
export function cgroupRoots(): string[] {
  const roots = listMounts().flatMap(({ type, target }) => (type === 'cgroup' || type === 'cgroup2' ? [target] : []));
  return [...new Set(roots)].filter((root) => root.startsWith('/sys/fs/cgroup'));
}

/**
 * Puts a process into a cgroup of that path, below the root of one hierarchy: enough to find it by. In the order of
 * preference: version 2, then the version 1 hierarchies that cost nothing.
 */
export function joinCgroup(path: string, pid: number): void {
  const roots = cgroupRoots();
  const root = [/^\/sys\/fs\/cgroup$/, /unified$/, /systemd$/, /pids$/].flatMap(
    (wanted) => roots.find((candidate) => wanted.test(candidate)) ?? [],
  )[0];
  if (root === undefined) return;
  mkdirSync(join(root, path), { recursive: true });
  writeFileSync(join(root, path, 'cgroup.procs'), String(pid));
}

/** All processes in the cgroups of that path and below, in every hierarchy. */
export function processesIn(path: string): Set<number> {
  const found = new Set<number>();
  for (const folder of foldersOf(path))
    for (const line of readFileOrEmpty(join(folder, 'cgroup.procs')).split('\n')) if (line) found.add(Number(line));
  return found;
}

/** Removes the cgroups of that path and below, in every hierarchy; those that still have processes stay. */
export function removeCgroups(path: string): void {
  for (const folder of foldersOf(path)) {
    try {
      rmdirSync(folder);
    } catch {
      // Busy or gone already; the caller looks at what is left.
    }
  }
}

/** The folders of that path and below, children before their parents. */
export function foldersOf(path: string): string[] {
  return cgroupRoots().flatMap((root) => depthFirst(join(root, path)));
}

function depthFirst(folder: string): string[] {
  if (!existsSync(folder)) return [];
  const children = readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return [...children.flatMap((child) => depthFirst(join(folder, child.name))), folder];
}

function readFileOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
