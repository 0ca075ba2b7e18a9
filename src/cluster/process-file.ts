// Which processes a cluster has: a small file for each, so that a new supervisor finds what an earlier one started.
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot (field 22 of /proc/PID/stat): tells a process from a later one with its number. */
  readonly startTime: string;
}

/** Who has that number now; undefined when nobody lives there (a zombie does not). */
export function identify(pid: number): ProcessIdentity | undefined {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return undefined;
  }
  // The name in parentheses may hold spaces and parentheses itself; the state is the first field after it.
  const [state, ...fields] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const startTime = fields[18];
  if (startTime === undefined || state === 'Z' || state === 'X') return undefined;
  return { pid, startTime };
}

export function isAlive(process: ProcessIdentity): boolean {
  return identify(process.pid)?.startTime === process.startTime;
}

const fileOf = (folder: string, name: string): string => join(folder, `${name.replaceAll('/', '.')}.json`);

export function writeProcessFile(folder: string, name: string, process: ProcessIdentity): void {
  writeFileSync(fileOf(folder, name), JSON.stringify(process), { mode: 0o600 });
}

/** The process that was started under that name, if it still lives. */
export function readProcessFile(folder: string, name: string): ProcessIdentity | undefined {
  try {
    const read: unknown = JSON.parse(readFileSync(fileOf(folder, name), 'utf8'));
    if (typeof read !== 'object' || read === null || !('pid' in read) || !('startTime' in read)) return undefined;
    const { pid, startTime } = read;
    if (typeof pid !== 'number' || typeof startTime !== 'string') return undefined;
    return isAlive({ pid, startTime }) ? { pid, startTime } : undefined;
  } catch {
    return undefined;
  }
}

export function removeProcessFile(folder: string, name: string): void {
  rmSync(fileOf(folder, name), { force: true });
}
