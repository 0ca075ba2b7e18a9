// The cluster of the DNS tests: made and removed, driven by the real kubectl and by ./weft.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

const projectRoot = join(import.meta.dirname, '../..');
export const cluster = 'wtdns';
const folder = mkdtempSync('/tmp/weft-dns-');
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
export const kubeconfig = join(folder, 'kubeconfig');

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function run(program: string, args: readonly string[], env: Record<string, string> = {}, input = ''): Promise<Result> {
  return new Promise((resolve) => {
    const options = { env: { ...process.env, KUBECONFIG: kubeconfig, ...env }, timeout: 300_000, cwd: projectRoot };
    const child = execFile(program, args, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : 1, stdout, stderr });
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}

export const weft = (...args: readonly string[]): Promise<Result> => run(join(projectRoot, 'weft'), args);

/** Runs kubectl and returns what it printed; throws with its error where it fails. */
export async function kubectl(...args: readonly string[]): Promise<string> {
  const result = await run('kubectl', args);
  if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

export async function apply(manifest: string): Promise<void> {
  const result = await run('kubectl', ['apply', '-f', '-'], {}, manifest);
  if (result.code !== 0) throw new Error(`kubectl apply: ${result.stderr}`);
}

/** `kubectl edit` with an editor that runs this expression of sed(1). */
export async function kubectlEdit(expression: string, ...what: readonly string[]): Promise<void> {
  const result = await run('kubectl', ['edit', ...what], { KUBE_EDITOR: `sed -i -e '${expression}'` });
  if (result.code !== 0) throw new Error(`kubectl edit: ${result.stderr}${result.stdout}`);
}

/** What a command in the pod `tools` prints, whatever its exit code. */
export async function inTools(...command: readonly string[]): Promise<string> {
  const result = await run('kubectl', ['exec', 'tools', '--', ...command]);
  return (result.stdout + result.stderr).trim();
}

/** Runs a function until it gives what is expected; the last result where it never does. */
export async function until<T>(
  expected: (result: T) => boolean,
  work: () => Promise<T>,
  patienceMs = 20_000,
): Promise<T> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const result = await work();
    if (expected(result) || performance.now() > end) return result;
    await delay(100);
  }
}

/** A DNS server of the tests in the network of the router between the nodes, where every node reaches it. */
export async function startOutside(): Promise<{ asked: string[]; stop(): Promise<void> }> {
  const script = join(import.meta.dirname, 'upstream-process.ts');
  const args = [`--net=/run/netns/${cluster}-router`, process.execPath, script, '172.18.0.1'];
  const child: ChildProcess = spawn('nsenter', args, { stdio: ['ignore', 'pipe', 'inherit'] });
  const asked: string[] = [];
  if (child.stdout === null) throw new Error('the server of the test has no output');
  const lines = createInterface({ input: child.stdout });
  await once(lines, 'line');
  lines.on('line', (line) => asked.push(line));
  return {
    asked,
    async stop() {
      child.kill();
      await once(child, 'exit');
    },
  };
}

/** Lines of a command that goes on, until it is ended. */
export function follow(...args: readonly string[]): { lines: string[]; stop(): Promise<void> } {
  const child = spawn(join(projectRoot, 'weft'), args, { stdio: ['ignore', 'pipe', 'inherit'], cwd: projectRoot });
  const lines: string[] = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  return {
    lines,
    async stop() {
      child.kill('SIGINT');
      if (child.exitCode === null) await once(child, 'exit');
    },
  };
}
