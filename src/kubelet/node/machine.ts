// What the machine is and has: read from /proc, /etc and the file system.
import { readFile, statfs } from 'node:fs/promises';
import { arch, cpus, release, totalmem } from 'node:os';

export interface Machine {
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly storageBytes: number;
  readonly freeStorageBytes: number;
  readonly machineId: string;
  readonly bootId: string;
  readonly kernelVersion: string;
  readonly osImage: string;
  /** As Go names it: amd64, arm64. */
  readonly architecture: string;
}

const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64', ia32: '386', arm: 'arm' };

/** Reads the machine; `rootDir` is on the file system that pods use. */
export async function readMachine(rootDir: string): Promise<Machine> {
  const text = (path: string): Promise<string> =>
    readFile(path, 'utf8').then(
      (t) => t.trim(),
      () => '',
    );
  const [machineId, bootId, osRelease, fs] = await Promise.all([
    text('/etc/machine-id'),
    text('/proc/sys/kernel/random/boot_id'),
    text('/etc/os-release'),
    statfs(rootDir),
  ]);
  return {
    cpus: cpus().length,
    memoryBytes: totalmem(),
    storageBytes: fs.blocks * fs.bsize,
    freeStorageBytes: fs.bavail * fs.bsize,
    machineId,
    bootId,
    kernelVersion: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? 'Linux',
    architecture: architectures[arch()] ?? arch(),
  };
}

/** Bytes of memory that can be had without swapping. */
export async function availableMemory(): Promise<number> {
  const text = await readFile('/proc/meminfo', 'utf8');
  return Number(/^MemAvailable:\s+(\d+) kB$/m.exec(text)?.[1] ?? 0) * 1024;
}

/** How many processes there may be, and how many there are. */
export async function processCount(): Promise<{ max: number; running: number }> {
  const [max, load] = await Promise.all([
    readFile('/proc/sys/kernel/pid_max', 'utf8'),
    readFile('/proc/loadavg', 'utf8'),
  ]);
  return { max: Number(max), running: Number(/\/(\d+)/.exec(load)?.[1] ?? 0) };
}
