// A LAN for tests of load balancers: namespaces on one bridge, 172.18.0.N and fd18::N on the eth0 of each.
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';

let lans = 0;

/** A process of a test that answers each line with one line. */
export interface Dialogue {
  readonly child: ChildProcess;
  ask(line: string): Promise<string>;
}

export class Lan implements AsyncDisposable {
  readonly #prefix = `wt-l${process.pid.toString(36)}${lans++}`;
  readonly #names: string[] = [];
  readonly #children: ChildProcess[] = [];
  readonly #asking: Promise<unknown>[] = [];

  constructor() {
    this.#make('lan');
    this.run('lan', 'ip', 'link', 'add', 'lan0', 'type', 'bridge');
    this.run('lan', 'ip', 'link', 'set', 'lan0', 'up');
  }

  ns(name: string): string {
    return `${this.#prefix}-${name}`;
  }

  #make(name: string): void {
    execFileSync('ip', ['netns', 'add', this.ns(name)]);
    this.#names.push(name);
    this.run(name, 'ip', 'link', 'set', 'lo', 'up');
  }

  /** A host on the LAN. */
  add(name: string, number: number): void {
    this.#make(name);
    this.run('lan', 'ip', 'link', 'add', `p-${name}`, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', this.ns(name));
    this.run('lan', 'ip', 'link', 'set', `p-${name}`, 'master', 'lan0', 'up');
    this.run(name, 'ip', 'addr', 'add', `172.18.0.${number}/16`, 'dev', 'eth0');
    this.run(name, 'ip', 'addr', 'add', `fd18::${number}/64`, 'dev', 'eth0', 'nodad');
    this.run(name, 'ip', 'link', 'set', 'eth0', 'up');
  }

  /** What is plugged into the LAN for it falls silent, or is heard again. */
  plug(name: string, isIn: boolean): void {
    this.run('lan', 'ip', 'link', 'set', `p-${name}`, isIn ? 'up' : 'down');
  }

  run(name: string, ...argv: string[]): string {
    return execFileSync('ip', ['netns', 'exec', this.ns(name), ...argv], { encoding: 'utf8' });
  }

  /** Runs a command to its end: its output, or undefined where it fails. */
  tries(name: string, ...argv: string[]): Promise<string | undefined> {
    return new Promise((resolve) =>
      execFile('ip', ['netns', 'exec', this.ns(name), ...argv], (error, stdout) =>
        resolve(error === null ? stdout : undefined),
      ),
    );
  }

  mac(name: string): string {
    const [link] = JSON.parse(this.run(name, 'ip', '-j', 'link', 'show', 'eth0'));
    return link.address;
  }

  /** Which hardware address a host sees behind an address, after asking anew; undefined where nobody answers soon. */
  async seenFrom(name: string, address: string): Promise<string | undefined> {
    await this.tries(name, 'ip', 'neigh', 'flush', 'to', address);
    const asking = this.tries(name, 'busybox', 'ping', '-c1', '-W1', address);
    const answer = eventually('an answer', 600, () => this.remembered(name, address) !== undefined);
    await answer.catch(() => undefined);
    const seen = this.remembered(name, address);
    this.#asking.push(asking);
    return seen;
  }

  /** Which hardware address a host remembers for an address. */
  remembered(name: string, address: string): string | undefined {
    const [entry] = JSON.parse(this.run(name, 'ip', '-j', 'neigh', 'show', 'to', address));
    return entry?.lladdr;
  }

  /** Starts a program of this folder in a namespace; it ends with the LAN. */
  start(name: string, program: string, ...args: string[]): Dialogue {
    const node = join(import.meta.dirname, '..', '..', 'scripts', 'node');
    const argv = ['netns', 'exec', this.ns(name), node, join(import.meta.dirname, program), ...args];
    const child = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.#children.push(child);
    const lines: Interface = createInterface({ input: child.stdout });
    return {
      child,
      async ask(line) {
        const answer = once(lines, 'line');
        child.stdin.write(`${line}\n`);
        const [text] = await answer;
        return text;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#asking);
    for (const child of this.#children) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const end = once(child, 'exit');
      child.kill('SIGKILL');
      await end;
    }
    for (const name of this.#names) execFileSync('ip', ['netns', 'delete', this.ns(name)]);
  }
}

/** Asks again until the answer is yes; throws after `ms`. Returns how long it took, in ms. */
export async function eventually(what: string, ms: number, ask: () => boolean | Promise<boolean>): Promise<number> {
  const start = performance.now();
  while (!(await ask())) {
    if (performance.now() - start > ms) throw new Error(`not within ${ms} ms: ${what}`);
    await delay(20);
  }
  return performance.now() - start;
}
