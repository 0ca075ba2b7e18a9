// What the end-to-end tests share: one cluster, the real kubectl, a terminal to type into, and waiting for a state.
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

export const projectRoot = join(import.meta.dirname, '../..');
export const cluster = 'wte2e';
const folder = mkdtempSync('/tmp/weft-e2e-');
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
export const kubeconfig = join(folder, 'kubeconfig');

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeout?: number;
}

/** Runs a command to its end, whatever its exit code. */
export async function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  return await new Promise((resolve) => {
    const env = { ...process.env, KUBECONFIG: kubeconfig, WEFT_OFFLINE: '1', ...options.env };
    const child = execFile(
      program,
      args,
      { env, maxBuffer: 64 << 20, timeout: options.timeout ?? 120_000, cwd: projectRoot },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 1;
        resolve({ code, stdout, stderr });
      },
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs kubectl and returns what it printed; throws with its error where it fails. */
export async function kubectl(...args: readonly string[]): Promise<string> {
  const result = await run('kubectl', args);
  if (result.code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** Runs kubectl with a manifest on its standard input, whatever its exit code. */
export async function kubectlWith(input: string | Buffer, ...args: readonly string[]): Promise<Result> {
  return await run('kubectl', args, { input });
}

export async function apply(manifest: string): Promise<void> {
  const result = await kubectlWith(manifest, 'apply', '-f', '-');
  if (result.code !== 0) throw new Error(`kubectl apply: ${result.stderr}`);
}

export async function weft(...args: readonly string[]): Promise<Result> {
  return await run(join(projectRoot, 'weft'), args, { timeout: 300_000 });
}

/** Runs a command in a node of the cluster and returns what it printed. */
export async function onNode(node: string, ...command: readonly string[]): Promise<string> {
  return await inNode(cluster, `${cluster}-${node}`, ...command);
}

/** As {@link onNode}, in any cluster, by the node's whole name. */
export async function inNode(name: string, node: string, ...command: readonly string[]): Promise<string> {
  const result = await weft('node', 'exec', node, '--name', name, '--', ...command);
  if (result.code !== 0) throw new Error(`on ${node}: ${command.join(' ')}: ${result.stderr}${result.stdout}`);
  return result.stdout;
}

/** Asks the API server itself, with a token or with nothing: the status and the body of its answer. */
export async function askApi(path: string, token?: string, body?: object): Promise<{ status: number; text: string }> {
  const server = await kubectl('config', 'view', '--raw', '-o', 'jsonpath={.clusters[0].cluster.server}');
  return await new Promise((resolve, reject) => {
    const headers = {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
    };
    const method = body === undefined ? 'GET' : 'POST';
    const asked = request(`${server.trim()}${path}`, { method, headers, rejectUnauthorized: false }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }));
    });
    asked.on('error', reject);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

/** Waits until the check returns something other than undefined or false; its last error is the reason when it never does. */
export async function until<T>(what: string, check: () => Promise<T | undefined | false>, seconds = 60): Promise<T> {
  const end = Date.now() + seconds * 1000;
  let reason: unknown = 'it was never so';
  while (Date.now() < end) {
    try {
      const value = await check();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      reason = error;
    }
    await sleep(100);
  }
  throw new Error(`waited ${seconds} s for ${what}`, { cause: reason });
}

/** A command in a terminal, as a person has it: what it prints is awaited before the next line is typed. */
export class Terminal {
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;
  #output = '';
  #seen = 0;

  constructor(command: string) {
    this.#child = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      env: { ...process.env, KUBECONFIG: kubeconfig, TERM: 'dumb' },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => {
      this.#output += chunk.toString();
    });
    this.#ended = new Promise((resolve) => this.#child.on('close', (code) => resolve(code ?? 1)));
  }

  /** Waits until this is printed, after what was awaited before. */
  async see(pattern: RegExp, seconds = 20): Promise<string> {
    return await until(
      `${pattern} in the terminal`,
      async () => {
        const match = pattern.exec(this.#output.slice(this.#seen));
        if (match === null) throw new Error(`the terminal shows: ${this.#output.slice(this.#seen)}`);
        this.#seen += match.index + match[0].length;
        return match[0];
      },
      seconds,
    );
  }

  type(line: string): void {
    this.#child.stdin?.write(`${line}\n`);
  }

  /** Waits for the end of the command: its exit code. */
  async end(): Promise<number> {
    return await this.#ended;
  }
}
