// Keeps the kernel equal to what the Services say: batches changes, has them written, tries again, repairs, reports.
import { deleteFlows, type FlowFilter } from '../linux/conntrack.ts';
import type { Log } from '../log/log.ts';
import type { Ip } from '../net/address.ts';
import { Claims } from './claims.ts';
import { ExternalAddresses } from './external-addresses.ts';
import type { ProxyNode, ServicePortModel } from './service-port.ts';
import { staleFlows } from './stale-flows.ts';
import type { ProxyFacts, ServiceWriter } from './writer.ts';

/** After a change, others are collected for so long; a change after a quiet time is written at once. */
const batchMilliseconds = 10;
/** A change by someone else is looked at after so long, to see all of it; and everything once in so long anyhow. */
const settleMilliseconds = 100;
const insistingMilliseconds = 3_000;
const patientRepairs = 10;
const auditMilliseconds = 300_000;
const longestRetryMilliseconds = 30_000;
/** What nobody needs is deleted after so long, for most of it is soon needed again. */
const tidyMilliseconds = 10_000;

/** Who follows what becomes of changes: metrics, health. */
export interface SyncObserver {
  /** Something waits for being written. */
  queued(): void;
  /** What a Service is from the next write on. */
  decided(owner: string, models: readonly ServicePortModel[]): void;
  /** These Services are in the kernel, after so many seconds; `full` where everything was written anew. */
  written(owners: readonly string[], seconds: number, full: boolean): void;
  failed(): void;
  /** What nobody needs any more could not be deleted. */
  cleanUpFailed(): void;
  /** The flows of former endpoints were looked for, which took so many seconds. */
  flowsForgotten(seconds: number): void;
}

export interface SyncOptions {
  readonly node: () => Pick<ProxyNode, 'nodePortAddresses'>;
  readonly log: Log;
  /** Told, when they change, the addresses outside of the ranges of Services that the rules now take. */
  readonly reachable?: (addresses: readonly Ip[]) => void;
  /** Told what someone else had damaged, once it is repaired. */
  readonly repaired?: (damaged: readonly string[]) => void;
  readonly observer?: SyncObserver;
}

export class ServiceSync {
  readonly #writer: ServiceWriter;
  readonly #options: SyncOptions;
  readonly #log: Log;
  readonly #pending = new Map<string, () => readonly ServicePortModel[]>();
  /** Decided, and not in the kernel yet. */
  readonly #unwritten = new Set<string>();
  /** The UDP ports as they were written. */
  readonly #models = new Map<string, readonly ServicePortModel[]>();
  /** How each Service that has models is decided. */
  readonly #deciders = new Map<string, () => readonly ServicePortModel[]>();
  readonly #claims: Claims;
  readonly #external = new ExternalAddresses();
  readonly #stale: FlowFilter[] = [];
  #facts: ProxyFacts | undefined;
  #started = false;
  #stopped = false;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #auditTimer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;
  #tidyTimer: NodeJS.Timeout | undefined;
  #endWatch: () => void = () => {};
  #lastWrite = Number.NEGATIVE_INFINITY;
  /** How many repairs came soon after one another, and when the last one was. */
  #repairs = 0;
  #lastRepair = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #forgetting: Promise<void> = Promise.resolve();
  #isForgetting = false;

  constructor(writer: ServiceWriter, options: SyncOptions) {
    this.#writer = writer;
    this.#options = options;
    this.#log = options.log;
    this.#claims = new Claims(options.node, (owner) => this.#deciders.get(owner)?.() ?? []);
  }

  /** How much there is in the kernel. */
  get size(): number {
    return this.#writer.size;
  }

  /** Whether everything has been written, but for what changed since. */
  get isInForce(): boolean {
    return this.#started && this.#failures === 0;
  }

  /** Sets what a Service is; it is decided when the change is written, so that many changes cost one decision. */
  set(owner: string, decide: () => readonly ServicePortModel[]): void {
    this.#pending.set(owner, decide);
    this.#options.observer?.queued();
    if (this.#started) this.#schedule();
  }

  setFacts(facts: ProxyFacts): void {
    if (JSON.stringify(facts) === JSON.stringify(this.#facts)) return;
    this.#facts = facts;
    this.#writer.setFacts(facts);
    if (this.#started) this.#schedule();
  }

  /** Writes everything there is, then follows each change. A failure is logged and tried again. */
  async start(): Promise<void> {
    this.#started = true;
    this.#endWatch = this.#writer.watch(() => this.#disturbed());
    this.#run(() => this.#write());
    await this.#writing;
    this.#auditTimer = setInterval(() => void this.audit(), auditMilliseconds);
    this.#auditTimer.unref();
  }

  /** Resolves when what was set by now has been written, or could not be. */
  async settled(): Promise<void> {
    await this.#writing;
    if (this.#pending.size === 0 || this.#writing !== undefined || this.#stopped) return this.#writing;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#run(() => this.#write());
    await this.#writing;
  }

  /** Stops writing; what is written stays. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#endWatch();
    clearTimeout(this.#timer);
    clearInterval(this.#auditTimer);
    clearTimeout(this.#settleTimer);
    clearTimeout(this.#tidyTimer);
    await this.#writing;
    await this.#forgetting;
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#writing !== undefined || this.#stopped) return;
    // After a first failure everything is written at once: what the kernel holds was not what we thought.
    const retry = this.#failures < 2 ? 0 : Math.min(250 * 2 ** this.#failures, longestRetryMilliseconds);
    const wait = Math.max(retry, this.#lastWrite + batchMilliseconds - performance.now(), 0);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      // An audit may have begun meanwhile: when it ends, what is pending is written.
      if (this.#writing === undefined) this.#run(() => this.#write());
    }, wait);
  }

  /** One thing at a time touches the kernel. */
  #run(work: () => Promise<void>): void {
    this.#writing = work().finally(() => {
      this.#writing = undefined;
      if (this.#pending.size > 0 || this.#failures > 0) this.#schedule();
    });
  }

  async #write(full = this.#lastWrite === Number.NEGATIVE_INFINITY || this.#failures > 0): Promise<void> {
    const begin = performance.now();
    this.#lastWrite = begin;
    for (const owner of this.#pending.keys()) this.#unwritten.add(owner);
    for (const [owner, decide] of this.#pending) {
      try {
        const models = decide();
        if (models.length === 0) this.#deciders.delete(owner);
        else this.#deciders.set(owner, decide);
        this.#set(owner, models);
      } catch (error) {
        // One Service that cannot be expressed must not keep the others from the kernel; it stays as it was.
        this.#log.error({ owner, error: String(error) }, 'this Service cannot be put into rules');
      }
    }
    this.#pending.clear();
    try {
      const owners = [...this.#unwritten];
      await this.#writer.apply();
      this.#failures = 0;
      this.#unwritten.clear();
      // What came while the kernel was written to is still to come.
      this.#options.observer?.written(owners, (performance.now() - begin) / 1000, full);
      if (this.#pending.size > 0) this.#options.observer?.queued();
      const changed = this.#external.takeChange();
      if (changed !== undefined) this.#options.reachable?.(changed);
      this.#forgetStaleFlows();
      this.#tidyLater();
    } catch (error) {
      this.#failures++;
      this.#options.observer?.failed();
      this.#log.error({ error: String(error), failures: this.#failures }, 'the rules of Services could not be written');
    }
  }

  #set(service: string, wanted: readonly ServicePortModel[]): void {
    for (const [owner, models] of this.#claims.set(service, wanted)) this.#grant(owner, models);
  }

  #grant(owner: string, models: readonly ServicePortModel[]): void {
    this.#writer.set(owner, models);
    this.#options.observer?.decided(owner, models);
    // Only of UDP is it of interest later what there was before.
    const datagrams = models.filter(({ protocol }) => protocol === 'UDP');
    this.#stale.push(...staleFlows(this.#models.get(owner) ?? [], models, this.#options.node()));
    this.#external.set(owner, models);
    if (datagrams.length === 0) this.#models.delete(owner);
    else this.#models.set(owner, datagrams);
  }

  #tidyLater(): void {
    if (this.#stopped) return;
    this.#tidyTimer ??= setTimeout(() => {
      this.#tidyTimer = undefined;
      if (this.#writing !== undefined) return this.#tidyLater();
      this.#run(async () => {
        try {
          // There may be more to do: connections that have not ended yet.
          if (await this.#writer.tidy()) this.#tidyLater();
        } catch (error) {
          this.#failures++;
          this.#options.observer?.cleanUpFailed();
          this.#log.warn({ error: String(error) }, 'what nobody needs any more could not be deleted');
        }
      });
    }, tidyMilliseconds);
  }

  /** Off the hot path, one look through the connection table for all that came together; what comes meanwhile waits. */
  #forgetStaleFlows(): void {
    if (this.#stale.length === 0 || this.#isForgetting) return;
    this.#isForgetting = true;
    const begin = performance.now();
    this.#forgetting = deleteFlows(this.#stale.splice(0))
      .catch((error: unknown) => this.#log.warn({ error: String(error) }, 'stale UDP flows stay'))
      .then(() => {
        this.#isForgetting = false;
        this.#options.observer?.flowsForgotten((performance.now() - begin) / 1000);
        this.#forgetStaleFlows();
      });
  }

  /** Someone else wrote to what is ours, or may have. */
  #disturbed(): void {
    if (this.#stopped) return;
    // With someone who insists on other rules there is no race, only one repair every few seconds.
    const insists = this.#repairs >= patientRepairs;
    this.#settleTimer ??= setTimeout(
      () => {
        this.#settleTimer = undefined;
        if (this.#writing === undefined) void this.audit();
        else this.#disturbed();
      },
      insists ? insistingMilliseconds : settleMilliseconds,
    );
  }

  /** Looks whether someone else changed what was written, and repairs it. */
  async audit(): Promise<void> {
    if (this.#writing !== undefined || this.#stopped) return;
    this.#run(async () => {
      const damaged = await this.#writer.audit();
      if (damaged.length === 0) return;
      this.#countRepair();
      this.#log.warn({ damaged }, 'the rules of Services were changed by someone else; they are written anew');
      await this.#write(true);
      if (this.#failures === 0) this.#options.repaired?.(damaged);
    });
    await this.#writing;
  }

  #countRepair(): void {
    const now = performance.now();
    this.#repairs = now - this.#lastRepair < 2 * insistingMilliseconds ? this.#repairs + 1 : 1;
    this.#lastRepair = now;
  }
}
