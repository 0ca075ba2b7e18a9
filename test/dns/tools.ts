// What the tests of cluster DNS have besides the tools of all end-to-end tests: their cluster, questions from its pods, a
// DNS server outside.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { projectRoot, run } from '../e2e/tools.ts';

export const cluster = 'wtdns';

/** `kubectl edit` with an editor that runs this expression of sed(1). */
export async function kubectlEdit(expression: string, ...what: readonly string[]): Promise<void> {
  const result = await run('kubectl', ['edit', ...what], { env: { KUBE_EDITOR: `sed -i -e '${expression}'` } });
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
