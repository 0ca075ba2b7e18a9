// Keeps one process running: starts it, or takes over the one that an earlier supervisor started, and restarts it.
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, openSync, renameSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import type { Log } from '../log/log.ts';
import { joinCgroup } from './cgroups.ts';
import { identify, isAlive, type ProcessIdentity, readProcessFile, writeProcessFile } from './process-file.ts';

export interface ProcessPlan {
  /** Unique in the cluster: `worker/agent`. */
  readonly name: string;
  readonly command: readonly string[];
  readonly environment: NodeJS.ProcessEnv;
  /** Standard output and error go to this file. */
  readonly logFile: string;
  readonly cgroup: string;
  /** Descriptors that the process gets as 3, 4, …. */
  readonly passed: readonly number[];
  /**
   * A Unix socket on which the process listens: an open connection to it tells when a process ends that is not this
   * one's child. Where absent, the process itself keeps a connection to the supervisor (see guard.ts).
   */
  readonly socket?: string;
}

/** Restarts begin at once; a process that keeps dying is given longer and longer pauses. */
const backOff = { firstMs: 20, mostMs: 10_000, calmMs: 10_000 };
/** When to look again whether a process that has dropped its connection lives. */
const suspicionMs = [5, 50, 250, 1000];
/** How often to look at a process that has not connected yet; it takes a moment only. */
const connectionMs = 200;
const largestLog = 4 * 1024 * 1024;

export class Supervised {
  readonly plan: ProcessPlan;
  restarts = 0;
  readonly #folder: string;
  readonly #log: Log;
  #current: ProcessIdentity | undefined;
  #startedAt = 0;
  #pause = 0;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #isConnected = false;

  /** `folder` holds the process files of the cluster. */
  constructor(plan: ProcessPlan, folder: string, log: Log) {
    this.plan = plan;
    this.#folder = folder;
    this.#log = log.child({ process: plan.name });
  }

  get pid(): number | undefined {
    return this.#current !== undefined && isAlive(this.#current) ? this.#current.pid : undefined;
  }

  /** Starts the process, or takes over the one that runs already. */
  start(): void {
    const running = readProcessFile(this.#folder, this.plan.name);
    if (running === undefined) {
      this.#spawn();
      return;
    }
    this.#current = running;
    this.#startedAt = Date.now();
    this.#log.info({ pid: running.pid }, 'goes on');
    if (this.plan.socket !== undefined) this.#watchSocket(this.plan.socket);
    else this.#awaitConnection(running);
  }

  /** To be called when the process has connected to the supervisor: the end of that connection tells of its own. */
  connected(): void {
    this.#isConnected = true;
  }

  /** Until a process that was taken over has found the new supervisor, nothing but looking tells whether it lives. */
  #awaitConnection(watched: ProcessIdentity): void {
    setTimeout(() => {
      if (this.#stopped || this.#isConnected || this.#current !== watched) return;
      this.check();
      this.#awaitConnection(watched);
    }, connectionMs);
  }

  /**
   * To be called when a connection to the process has dropped: the process has ended, or is about to (the kernel closes
   * its sockets a little before), or it goes on.
   */
  lost(): void {
    this.check();
    const watched = this.#current;
    for (const ms of suspicionMs)
      setTimeout(() => {
        if (this.#current === watched) this.check();
      }, ms);
  }

  /** Starts the process anew if it has ended. */
  check(): void {
    if (this.#stopped || this.#timer !== undefined || this.pid !== undefined) return;
    const lived = Date.now() - this.#startedAt;
    this.#pause = lived > backOff.calmMs ? 0 : Math.min(Math.max(this.#pause * 2, backOff.firstMs), backOff.mostMs);
    this.#log.warn({ livedMs: lived, againInMs: this.#pause }, 'ended');
    this.restarts++;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (!this.#stopped) this.#spawn();
    }, this.#pause);
  }

  /** Ends the supervision; the process goes on. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Ends the process, for it to be started anew. */
  kill(): void {
    if (this.#current !== undefined && isAlive(this.#current)) process.kill(this.#current.pid, 'SIGKILL');
  }

  #spawn(): void {
    const { command, environment, logFile, passed, cgroup } = this.plan;
    const [file = '', ...args] = command;
    if (existsSync(logFile) && statSync(logFile).size > largestLog) renameSync(logFile, `${logFile}.1`);
    const log = openSync(logFile, 'a', 0o600);
    let child: ChildProcess;
    try {
      child = spawn(file, args, {
        cwd: '/',
        detached: true,
        env: environment,
        stdio: ['ignore', log, log, ...passed],
      });
    } finally {
      closeSync(log);
    }
    this.#startedAt = Date.now();
    child.on('error', (error) => {
      this.#log.error({ error: error.message }, 'cannot be started');
      this.check();
    });
    child.on('exit', (code, signal) => {
      this.#log.info({ code, signal }, 'exited');
      this.check();
    });
    child.unref();
    if (child.pid === undefined) return;
    this.#current = identify(child.pid);
    if (this.#current === undefined) return;
    writeProcessFile(this.#folder, this.plan.name, this.#current);
    joinCgroup(cgroup, child.pid);
    this.#log.info({ pid: child.pid }, 'started');
  }

  /** Keeps a connection to the process; when it drops, looks whether the process has ended. */
  #watchSocket(path: string): void {
    const watched = this.#current;
    const socket = connect(path);
    socket.on('error', () => {});
    socket.on('close', () => {
      if (this.#stopped || this.#current !== watched) return;
      this.lost();
      // A server may end connections that say nothing; and it may not listen yet.
      setTimeout(() => {
        if (!this.#stopped && this.#current === watched && this.pid !== undefined) this.#watchSocket(path);
      }, 1000);
    });
    socket.resume();
  }
}
