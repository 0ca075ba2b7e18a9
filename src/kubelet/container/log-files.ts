// The log files of containers on the node: their links for log collectors, and their rotation. Rules: kubernetes
// pkg/kubelet/logs/container_log_manager.go and pkg/kubelet/kuberuntime/legacy.go.
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat, symlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';

export interface LogLimits {
  /** A file of more bytes is put aside. */
  readonly maxBytes: number;
  /** How many files of one container instance are kept, the present one too. */
  readonly maxFiles: number;
}

/** The defaults of containerLogMaxSize and containerLogMaxFiles (kubelet.config.k8s.io/v1beta1). */
export const defaultLogLimits: LogLimits = { maxBytes: 10 * 1024 * 1024, maxFiles: 5 };

export interface ContainerLog {
  readonly pod: string;
  readonly namespace: string;
  readonly container: string;
  readonly id: string;
}

/** The link to a container's log, by which collectors of the whole node's logs find it. */
export function containerLogLink(podLogsDir: string, { pod, namespace, container, id }: ContainerLog): string {
  return join(dirname(podLogsDir), 'containers', `${pod}_${namespace}_${container}-${id}.log`);
}

/** Makes the link; one that is there already stays. */
export async function linkLog(link: string, logPath: string): Promise<void> {
  await mkdir(dirname(link), { recursive: true, mode: 0o755 });
  await symlink(logPath, link).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'EEXIST') throw error;
  });
}

/** The files of one container instance beside its present log, the oldest first. */
async function rotatedLogs(logPath: string): Promise<string[]> {
  const prefix = `${basename(logPath)}.`;
  const names = await readdir(dirname(logPath)).catch(() => []);
  // They end in the time at which they were put aside.
  return names.filter((name) => name.startsWith(prefix)).sort();
}

/** Removes a container instance's log with all that was put aside of it. */
export async function removeLogs(logPath: string): Promise<void> {
  const names = [basename(logPath), ...(await rotatedLogs(logPath))];
  await Promise.all(names.map((name) => rm(join(dirname(logPath), name), { force: true })));
}

/**
 * Puts a log aside that has become too large, as `NAME.20060102-150405`, and asks the runtime to begin a new one; older
 * ones are compressed, the oldest removed. Where the runtime refuses, the log is put back. Resolves with whether the log
 * was put aside.
 */
export async function rotateLog(
  logPath: string,
  limits: LogLimits,
  reopen: () => Promise<unknown>,
  now: Date,
): Promise<boolean> {
  const found = await stat(logPath).catch(() => undefined);
  if (found === undefined || found.size < limits.maxBytes) return false;
  const folder = dirname(logPath);
  const old = await rotatedLogs(logPath);
  // What an interrupted compression has left is no log.
  await Promise.all(old.filter((name) => name.endsWith('.tmp')).map((name) => rm(join(folder, name), { force: true })));
  const whole = old.filter((name) => !name.endsWith('.tmp'));
  // The present log and the one that is put aside now need a place each.
  const kept = whole.slice(Math.max(0, whole.length - (limits.maxFiles - 2)));
  const gone = whole.slice(0, whole.length - kept.length);
  await Promise.all(gone.map((name) => rm(join(folder, name), { force: true })));
  for (const name of kept) if (!name.endsWith('.gz')) await compress(join(folder, name));
  const aside = `${logPath}.${stampOf(now)}`;
  await rename(logPath, aside);
  try {
    await reopen();
  } catch (error) {
    await rename(aside, logPath);
    throw error;
  }
  return true;
}

/** The time as `20060102-150405`. */
function stampOf(time: Date): string {
  const [day = '', clock = ''] = time.toISOString().split('T');
  return `${day.replaceAll('-', '')}-${clock.slice(0, 8).replaceAll(':', '')}`;
}

async function compress(file: string): Promise<void> {
  const { createGzip } = await import('node:zlib');
  const part = `${file}.tmp`;
  await pipeline(createReadStream(file), createGzip(), createWriteStream(part, { mode: 0o640 }));
  await rename(part, `${file}.gz`);
  await rm(file);
}
