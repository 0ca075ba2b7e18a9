// What the tests of the cluster share: the command line, kubectl, and what a machine looks like from outside.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { identify } from '../../src/cluster/process-file.ts';

export const root = join(import.meta.dirname, '../..');

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** No command takes longer; in a machine that is emulated (test/vm), a cluster's start may. */
const patienceMs = process.env.WEFT_EMULATED === undefined ? 180_000 : 400_000;

/** A home of its own for the clusters of one test file: state, kubeconfig; names begin with `wt`. */
export class Machine {
  readonly home = mkdtempSync(join(tmpdir(), 'weft-test-'));
  readonly kubeconfig = join(this.home, 'kubeconfig');
  readonly state = join(this.home, 'state');

  private get env(): NodeJS.ProcessEnv {
    return { ...process.env, WEFT_HOME: this.state, KUBECONFIG: this.kubeconfig, WEFT_OFFLINE: '1' };
  }

  run(file: string, args: readonly string[], input = ''): Promise<Result> {
    return new Promise((resolve) => {
      const child = execFile(file, args, { env: this.env, cwd: root, timeout: patienceMs }, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr }),
      );
      child.stdin?.on('error', () => {});
      child.stdin?.end(input);
    });
  }

  /** Starts a program that goes on; its errors are seen with those of the tests. */
  spawn(file: string, args: readonly string[]): ChildProcess {
    return spawn(file, args, { env: this.env, cwd: root, stdio: ['pipe', 'pipe', 'inherit'] });
  }

  weft(...args: readonly string[]): Promise<Result> {
    return this.run(join(root, 'weft'), args);
  }

  /** As {@link weft}; throws where it fails. */
  async must(...args: readonly string[]): Promise<string> {
    const result = await this.weft(...args);
    if (result.code !== 0) throw new Error(`weft ${args.join(' ')}: ${result.stderr}${result.stdout}`);
    return result.stdout;
  }

  async kubectl(cluster: string, ...args: readonly string[]): Promise<string> {
    const result = await this.run('kubectl', ['--context', `weft-${cluster}`, ...args]);
    if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}`);
    return result.stdout;
  }

  /** `weft status -o json`. */
  async status(cluster: string): Promise<Status> {
    return JSON.parse(await this.must('status', '--name', cluster, '-o', 'json'));
  }
}

export interface Status {
  readonly state: string;
  readonly nodes: readonly { readonly name: string; readonly state: string }[];
  readonly processes: readonly { readonly name: string; readonly pid?: number; readonly restarts: number }[];
  readonly nodePorts: readonly { readonly nodePort: number; readonly hostPort?: number }[];
}

/** Everything of the host that a cluster must leave as it was; processes are compared by the names in their cgroups. */
export function hostPicture(): Record<string, string> {
  const of = (file: string, ...args: string[]): string => execFileSync(file, args, { encoding: 'utf8' });
  return {
    links: of('ip', '-o', 'link').replaceAll(/ (qlen|state) \S+/g, ''),
    addresses: of('ip', '-o', 'address').replaceAll(/(valid|preferred)_lft \S+/g, ''),
    routes: of('ip', 'route', 'show', 'table', 'all'),
    rules: of('ip', 'rule'),
    nft: of('nft', 'list', 'ruleset'),
    sysctls: sysctls('/proc/sys/net'),
    mounts: readFileSync('/proc/self/mounts', 'utf8')
      .split('\n')
      // Those of clusters are looked for by name: others may come and go meanwhile.
      .filter((line) => !/\/run\/(netns|weft)\//.test(line))
      .join('\n'),
    hostname: readFileSync('/proc/sys/kernel/hostname', 'utf8'),
    etc: ['/etc/hosts', '/etc/hostname', '/etc/resolv.conf'].map((file) => readFileSync(file, 'utf8')).join('\n'),
    folders: ['/opt', '/var/lib', '/var/log', '/etc/cni/net.d', '/run'].map(listed).join('\n'),
  };
}

/** The values of all sysctls below a folder; those that count or cannot be read are left out. */
function sysctls(folder: string): string {
  return readdirSync(folder, { withFileTypes: true })
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return sysctls(path);
      if (/nf_conntrack_count|route\/flush|tcp_fastopen_key/.test(path)) return [];
      try {
        return `${path} = ${readFileSync(path, 'utf8').trim()}`;
      } catch {
        return [];
      }
    })
    .join('\n');
}

function listed(folder: string): string {
  try {
    return `${folder}: ${readdirSync(folder)
      .filter((name) => name !== 'weft' && name !== 'netns')
      .sort()
      .join(' ')}`;
  } catch {
    return `${folder}: none`;
  }
}

/** What is left of a cluster of that name: namespaces, cgroups, processes, files. */
export function leftovers(cluster: string, machine: Machine): string[] {
  const found: string[] = [];
  const named = readdirOrEmpty('/run/netns').filter((name) => name.startsWith(`${cluster}-`));
  found.push(...named.map((name) => `netns ${name}`));
  for (const hierarchy of readdirOrEmpty('/sys/fs/cgroup'))
    if (readdirOrEmpty(join('/sys/fs/cgroup', hierarchy, 'weft')).includes(cluster)) found.push(`cgroup ${hierarchy}`);
  for (const pid of readdirOrEmpty('/proc')) {
    if (!/^\d+$/.test(pid) || identify(Number(pid)) === undefined) continue;
    const environment = readOrEmpty(`/proc/${pid}/environ`);
    const command = readOrEmpty(`/proc/${pid}/cmdline`).replaceAll('\0', ' ');
    if (environment.includes(machine.state) && command.includes(` ${cluster} `))
      found.push(`process ${pid} ${command}`);
    if (readOrEmpty(`/proc/${pid}/cgroup`).includes(`/weft/${cluster}/`)) found.push(`process ${pid} ${command}`);
  }
  for (const folder of [machine.state, '/run/weft'])
    if (readdirOrEmpty(folder).includes(cluster)) found.push(`files ${folder}/${cluster}`);
  if (readOrEmpty('/proc/self/mounts').includes(`/${cluster}`)) found.push('a mount');
  return found;
}

function readdirOrEmpty(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

/** Waits until the check gives something; its last error is the cause where it never does. */
export async function until<T>(what: string, check: () => Promise<T | undefined>, seconds = 30): Promise<T> {
  const end = performance.now() + seconds * 1000;
  let cause: unknown;
  while (performance.now() < end) {
    try {
      const value = await check();
      if (value !== undefined) return value;
    } catch (error) {
      cause = error;
    }
    await sleep(100);
  }
  throw new Error(`waited ${seconds} s in vain for ${what}`, { cause });
}
