// Ends all processes of a cluster, or of a node: found by their cgroups and by the namespaces that they are in.
import { readdirSync, readlinkSync } from 'node:fs';
import { foldersOf, processesIn, removeCgroups } from './cgroups.ts';
import { identify } from './process-file.ts';

const patienceMs = 10_000;
const pauseMs = 5;

const kinds = ['mnt', 'net'] as const;

/** Processes whose mount or network namespace is one of these (`mnt:[4026532177]`, as links in /proc read). */
function processesOf(namespaces: ReadonlySet<string>): Set<number> {
  const found = new Set<number>();
  // The caller's own namespaces are never meant: everything of the machine is in them.
  const wanted = new Set(namespaces);
  for (const kind of kinds) wanted.delete(linkOf(`/proc/self/ns/${kind}`));
  if (wanted.size === 0) return found;
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    for (const kind of kinds) if (wanted.has(linkOf(`/proc/${entry}/ns/${kind}`))) found.add(Number(entry));
  }
  return found;
}

function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/**
 * Kills every process in the cgroups below that path and in these namespaces, until there is none (a killed one may
 * have started another just before), and removes the cgroups. Throws where some do not end.
 */
export function endProcesses(cgroup: string, namespaces: ReadonlySet<string> = new Set()): void {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const living = [...processesIn(cgroup), ...processesOf(namespaces)].filter(
      (pid) => pid !== process.pid && identify(pid) !== undefined,
    );
    if (living.length === 0) break;
    for (const pid of living) kill(pid);
    if (performance.now() > deadline) throw new Error(`these processes do not end: ${[...new Set(living)].join(', ')}`);
    Atomics.wait(sleeper, 0, 0, pauseMs);
  }
  // A cgroup stays busy for a moment after the last process of it has ended.
  while (foldersOf(cgroup).length > 0) {
    removeCgroups(cgroup);
    if (performance.now() > deadline) throw new Error(`the cgroups ${cgroup} cannot be removed`);
    if (foldersOf(cgroup).length > 0) Atomics.wait(sleeper, 0, 0, pauseMs);
  }
}

const sleeper = new Int32Array(new SharedArrayBuffer(4));

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
