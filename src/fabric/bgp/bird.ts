// The BIRD process of a node: started, configured, watched and started anew; it outlives the agent.
import { execFile, spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import { Netlink } from '../../linux/netlink.ts';
import { inNetns } from '../../linux/netns.ts';
import { deleteRoutesOf } from '../../linux/routes.ts';
import type { Log } from '../../log/log.ts';
import { BirdControl, BirdError, birdPatienceMs } from './control.ts';
import { parseSessionChange, type SessionChange } from './session-changes.ts';
import { parseSessions } from './sessions.ts';

export interface BirdOptions {
  /** Where configuration, control socket and log are; a short path, for it holds a Unix socket. */
  readonly runDir: string;
  /** The network namespace to speak BGP in; default the calling process's. */
  readonly netns?: string;
  readonly log: Log;
  /** How often to look whether BIRD answers, and how long it may take; in ms. */
  readonly watch?: { readonly everyMs: number; readonly patienceMs: number };
  /** Called with each change of a session that BIRD tells. */
  readonly onSessionChange?: (change: SessionChange) => void;
  /** Called with the sessions that are established when an agent takes BIRD over. */
  readonly onTakenOver?: (established: readonly string[]) => void;
}

/** A process that ends is noticed at once; this is for one that hangs. */
const defaultWatch = { everyMs: 15_000, patienceMs: birdPatienceMs };

/** Restarts begin at once; a process that keeps dying is given longer and longer pauses. */
const backOff = { firstMs: 20, mostMs: 10_000, calmMs: 10_000 };
const startPatienceMs = 5_000;
const startPauseMs = 10;
/** What BIRD keeps of what it tells unasked, in octets. */
const toldBuffer = 65_536;

/** RTPROT_BIRD of linux/rtnetlink.h: who made a route. */
const birdProtocol = 12;
export const controlSocketName = 'bird.ctl';

export class Bird {
  readonly logFile: string;
  readonly #options: BirdOptions;
  readonly #configFile: string;
  readonly #controlFile: string;
  readonly #pidFile: string;
  readonly #watch: { readonly everyMs: number; readonly patienceMs: number };
  #control: BirdControl | undefined;
  #starting: Promise<BirdControl> | undefined;
  #applied: string | undefined;
  #released = false;
  #startedAt = 0;
  #pauseMs = 0;

  constructor(options: BirdOptions) {
    this.#options = options;
    const file = (name: string): string => join(options.runDir, name);
    this.logFile = file('bird.log');
    this.#configFile = file('bird.conf');
    this.#controlFile = file(controlSocketName);
    this.#pidFile = file('bird.pid');
    this.#watch = options.watch ?? defaultWatch;
  }

  /** Undefined while BIRD does not run. */
  get control(): BirdControl | undefined {
    return this.#control;
  }

  /**
   * Brings BIRD to that configuration: checked first, written, and then followed by the process that runs (sessions that
   * do not change stay up), or by a new one. Nothing is done where it has that configuration already. Throws a
   * BirdError that says what is wrong; BIRD then goes on with the former one.
   */
  async apply(config: string): Promise<void> {
    if (config === this.#applied && this.#control !== undefined) return;
    await this.#write(config);
    const running = this.#control;
    if (running !== undefined) await running.command('configure');
    else await this.#start();
    this.#applied = config;
  }

  /** BIRD goes on alone, for the next agent to take over. */
  release(): void {
    this.#released = true;
    this.#control?.close();
  }

  /**
   * Ends BIRD, and takes its routes from the kernel. Its neighbours keep theirs for the restart time: they may still
   * send by BGP while this node uses another fabric already.
   */
  async end(): Promise<void> {
    this.#released = true;
    const control =
      this.#control ?? (await BirdControl.connect(this.#controlFile, this.#watch.patienceMs).catch(() => undefined));
    if (control !== undefined) {
      await control.command('graceful restart');
      await control.closed;
    }
    {
      using nl = Netlink.open(this.#options.netns);
      deleteRoutesOf(nl, birdProtocol);
    }
    for (const file of [this.#configFile, this.#pidFile]) rmSync(file, { force: true });
  }

  /** Takes away what an earlier agent has left: BIRD, or the routes of one that has ended. */
  async clear(): Promise<void> {
    // Routes of a BIRD that somebody else runs are not touched.
    if (existsSync(this.#configFile)) await this.end();
  }

  async #write(config: string): Promise<void> {
    mkdirSync(this.#options.runDir, { recursive: true, mode: 0o700 });
    const draft = `${this.#configFile}.new`;
    // It holds passwords.
    writeFileSync(draft, config, { mode: 0o600 });
    await checkBirdConfig(draft);
    renameSync(draft, this.#configFile);
  }

  #start(): Promise<BirdControl> {
    this.#starting ??= this.#takeOverOrSpawn().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #takeOverOrSpawn(): Promise<BirdControl> {
    const { log } = this.#options;
    let control = await this.#takeOver();
    if (control === undefined) {
      control = await this.#spawn();
      log.info({ pid: this.#pid() }, 'BIRD started');
    } else log.info({ pid: this.#pid() }, 'BIRD goes on');
    const connected = control;
    this.#control = connected;
    this.#startedAt = performance.now();
    connected.onTold = (line) => {
      const change = parseSessionChange(line);
      if (change !== undefined) this.#options.onSessionChange?.(change);
    };
    this.#listen(connected).catch(() => {});
    // No answer ends the connection.
    const look = setInterval(() => connected.command('show status').catch(() => {}), this.#watch.everyMs).unref();
    void connected.closed.then(() => {
      clearInterval(look);
      if (this.#control === connected) this.#control = undefined;
      if (!this.#released) void this.#startAgain();
    });
    return connected;
  }

  async #listen(control: BirdControl): Promise<void> {
    await control.command(`echo { trace } ${toldBuffer}`);
    const sessions = parseSessions(await control.command('show protocols all'));
    this.#options.onTakenOver?.(sessions.filter(({ state }) => state === 'Established').map(({ name }) => name));
  }

  /** The process that an earlier agent has started, with the present configuration. */
  async #takeOver(): Promise<BirdControl | undefined> {
    let control: BirdControl | undefined;
    try {
      control = await BirdControl.connect(this.#controlFile, this.#watch.patienceMs);
      await control.command('configure');
      return control;
    } catch (error) {
      control?.close();
      const pid = this.#pid();
      if (pid === undefined) return undefined;
      // It is there and does not serve: another one could not listen beside it.
      this.#options.log.warn({ pid, err: error }, 'BIRD does not answer and is ended');
      process.kill(pid, 'SIGKILL');
      while (this.#pid() !== undefined) await delay(startPauseMs);
      return undefined;
    }
  }

  async #spawn(): Promise<BirdControl> {
    // Where there was one before, its routes are in the kernel still: they stay until the neighbours have told theirs.
    const recovers = existsSync(this.#pidFile);
    const args = ['-f', '-c', this.#configFile, '-s', this.#controlFile, '-P', this.#pidFile];
    const errors = openSync(join(this.#options.runDir, 'bird.err'), 'w', 0o600);
    const child = ((): ReturnType<typeof spawn> => {
      try {
        const start = () =>
          spawn('bird', [...args, ...(recovers ? ['-R'] : [])], {
            cwd: '/',
            detached: true,
            stdio: ['ignore', errors, errors],
          });
        return this.#options.netns === undefined ? start() : inNetns(this.#options.netns, start);
      } finally {
        closeSync(errors);
      }
    })();
    child.unref();
    let failure: Error | undefined;
    child.on('error', (error) => {
      failure = missingBird(error) ?? error;
    });
    for (const deadline = performance.now() + startPatienceMs; performance.now() < deadline; ) {
      if (failure !== undefined) throw failure;
      if (child.exitCode !== null || child.signalCode !== null) break;
      const control = await BirdControl.connect(this.#controlFile, this.#watch.patienceMs).catch(() => undefined);
      if (control !== undefined) return control;
      await delay(startPauseMs);
    }
    const said = readFileSync(join(this.#options.runDir, 'bird.err'), 'utf8').trim();
    throw new BirdError(`BIRD does not start: ${said || `see ${this.logFile}`}`);
  }

  async #startAgain(): Promise<void> {
    const lived = performance.now() - this.#startedAt;
    this.#pauseMs = lived > backOff.calmMs ? 0 : Math.min(Math.max(this.#pauseMs * 2, backOff.firstMs), backOff.mostMs);
    this.#options.log.warn({ livedMs: Math.round(lived), againInMs: this.#pauseMs }, 'BIRD has ended');
    await delay(this.#pauseMs, undefined, { ref: false });
    if (this.#released || this.#control !== undefined) return;
    try {
      await this.#start();
    } catch (error) {
      this.#options.log.error({ err: error }, 'BIRD cannot be started');
      if (!this.#released) void this.#startAgain();
    }
  }

  /** The living process of the pid file. */
  #pid(): number | undefined {
    try {
      const pid = Number(readFileSync(this.#pidFile, 'utf8'));
      return readFileSync(`/proc/${pid}/comm`, 'utf8').trim() === 'bird' ? pid : undefined;
    } catch {
      return undefined;
    }
  }
}

/** Has BIRD read a configuration without following it. Throws a BirdError with BIRD's words where it is wrong. */
async function checkBirdConfig(file: string): Promise<void> {
  try {
    await promisify(execFile)('bird', ['-p', '-c', file]);
  } catch (error) {
    const said = error instanceof Error && 'stderr' in error ? String(error.stderr).trim() : '';
    throw missingBird(error) ?? new BirdError(`BIRD refuses the configuration: ${said || String(error)}`);
  }
}

function missingBird(error: unknown): BirdError | undefined {
  const isMissing = error instanceof Error && 'code' in error && error.code === 'ENOENT';
  return isMissing ? new BirdError("BIRD 2 is not installed on this node: install Debian's package bird2") : undefined;
}
