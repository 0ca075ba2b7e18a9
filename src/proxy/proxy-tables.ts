// Keeps the proxy's tables in the kernel equal to what the objects say: batches changes, writes them, repairs.
import { deleteFlows, type FlowFilter } from '../linux/conntrack.ts';
import type { ForeignWrite } from '../linux/nft-monitor.ts';
import type { Nft } from '../linux/nft-run.ts';
import { NftTable } from '../linux/nft-table.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, type Family, familyOf, type Ip } from '../net/address.ts';
import type { Frontend } from './frontend.ts';
import { contribution, proxyTable } from './layout.ts';
import { staleFlows } from './stale-flows.ts';

/** What one object (a Service, a pod) is on this node. */
export interface Described {
  readonly frontends: readonly Frontend[];
  readonly clusterIps: readonly Ip[];
}

interface FamilyTable {
  readonly family: Family;
  readonly table: NftTable;
}

/** After a change, others are collected for so long; a change after a quiet time is written at once. */
const batchMilliseconds = 10;
/** A change by someone else is looked at after so long, to see all of it; and everything once in so long anyhow. */
const settleMilliseconds = 100;
const insistingMilliseconds = 3_000;
const patientRepairs = 10;
const auditMilliseconds = 300_000;
const longestRetryMilliseconds = 30_000;
/** Chains that nobody needs are deleted after so long, for most of them are soon needed again. */
const tidyMilliseconds = 10_000;

export class ProxyTables {
  readonly #tables: readonly FamilyTable[];
  readonly #log: Log;
  readonly #pending = new Map<string, () => Described>();
  readonly #described = new Map<string, Described>();
  readonly #stale: FlowFilter[] = [];
  /** Someone else wrote to them: every element may be another one. */
  readonly #distrusted = new Set<NftTable>();
  #started = false;
  #stopped = false;
  #writing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #auditTimer: NodeJS.Timeout | undefined;
  #settleTimer: NodeJS.Timeout | undefined;
  #tidyTimer: NodeJS.Timeout | undefined;
  #lastWrite = Number.NEGATIVE_INFINITY;
  /** How many repairs came soon after one another, and when the last one was. */
  #repairs = 0;
  #lastRepair = Number.NEGATIVE_INFINITY;
  #failures = 0;
  #forgetting: Promise<void> = Promise.resolve();

  constructor(nft: Nft, options: { nodeAddresses: readonly Ip[]; clusterCidrs: readonly Cidr[] }, log: Log) {
    const families = new Set<Family>([...options.nodeAddresses, ...options.clusterCidrs].map(familyOf));
    if (families.size === 0) families.add('IPv4');
    this.#tables = [...families].map((family) => ({
      family,
      table: new NftTable(proxyTable(family, options.clusterCidrs), nft),
    }));
    this.#log = log;
  }

  get size(): number {
    return this.#tables.reduce((sum, { table }) => sum + table.size, 0);
  }

  /** Sets what an object is; it is described when the change is written, so that many changes cost one description. */
  set(owner: string, describe: () => Described): void {
    this.#pending.set(owner, describe);
    if (this.#started) this.#schedule();
  }

  /** Writes everything there is, then follows each change. A failure is logged and tried again. */
  async start(): Promise<void> {
    this.#started = true;
    this.#run(() => this.#write());
    await this.#writing;
    this.#auditTimer = setInterval(() => void this.audit(), auditMilliseconds);
    this.#auditTimer.unref();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
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

  /** One thing at a time touches the tables. */
  #run(work: () => Promise<void>): void {
    this.#writing = work().finally(() => {
      this.#writing = undefined;
      if (this.#pending.size > 0 || this.#failures > 0) this.#schedule();
    });
  }

  async #write(): Promise<void> {
    this.#lastWrite = performance.now();
    for (const [owner, describe] of this.#pending) {
      try {
        this.#describe(owner, describe());
      } catch (error) {
        // One object that cannot be expressed must not keep the others from the kernel; it stays as it was.
        this.#log.error({ owner, error: String(error) }, 'this object cannot be put into rules');
      }
    }
    this.#pending.clear();
    try {
      for (const { table } of this.#tables) await table.apply();
      this.#failures = 0;
      this.#forgetStaleFlows();
      this.#tidyLater();
    } catch (error) {
      this.#failures++;
      this.#log.error({ error: String(error), failures: this.#failures }, 'the rules of Services could not be written');
    }
  }

  #tidyLater(): void {
    if (this.#stopped || this.#tables.every(({ table }) => table.idleChains.length === 0)) return;
    this.#tidyTimer ??= setTimeout(() => {
      this.#tidyTimer = undefined;
      if (this.#writing !== undefined) return this.#tidyLater();
      this.#run(async () => {
        for (const { table } of this.#tables)
          await table.tidy().catch((error: unknown) => {
            this.#failures++;
            this.#log.warn({ error: String(error) }, 'chains that nobody needs could not be deleted');
          });
      });
    }, tidyMilliseconds);
  }

  #describe(owner: string, described: Described): void {
    const before = this.#described.get(owner)?.frontends ?? [];
    this.#stale.push(...staleFlows(before, described.frontends));
    const empty = described.frontends.length === 0 && described.clusterIps.length === 0;
    if (empty) this.#described.delete(owner);
    else this.#described.set(owner, described);
    for (const { family, table } of this.#tables)
      table.set(owner, empty ? undefined : contribution(family, described.frontends, described.clusterIps));
  }

  /** Off the hot path: conntrack(8) reads the whole connection table for each filter. */
  #forgetStaleFlows(): void {
    for (const flow of this.#stale.splice(0)) {
      this.#forgetting = this.#forgetting.then(() =>
        deleteFlows(flow).catch((error: unknown) =>
          this.#log.warn({ ...flow, error: String(error) }, 'stale flows stay'),
        ),
      );
    }
  }

  /** To be called when someone else wrote to these tables, or may have written to any. */
  disturbed(written: ForeignWrite): void {
    const touched = this.#tables.filter(({ table }) => written?.has(table.id));
    if (this.#stopped || (written !== undefined && touched.length === 0)) return;
    for (const { table } of touched) this.#distrusted.add(table);
    // With someone who insists on another table there is no race, only one repair every few seconds.
    const insists = this.#repairs >= patientRepairs;
    this.#settleTimer ??= setTimeout(
      () => {
        this.#settleTimer = undefined;
        if (this.#writing === undefined) void this.audit();
        else this.disturbed(written);
      },
      insists ? insistingMilliseconds : settleMilliseconds,
    );
  }

  /** Looks whether someone else changed the tables, and repairs them. */
  async audit(): Promise<void> {
    if (this.#writing !== undefined || this.#stopped) return;
    this.#run(async () => {
      for (const { family, table } of this.#tables) {
        const whole = !this.#distrusted.delete(table) && (await table.audit().catch(() => false));
        if (whole) continue;
        this.#countRepair();
        this.#log.warn({ family }, 'the table weft-proxy was changed by someone else; it is written anew');
        table.invalidate();
        await this.#write();
      }
    });
    await this.#writing;
  }

  #countRepair(): void {
    const now = performance.now();
    this.#repairs = now - this.#lastRepair < 2 * insistingMilliseconds ? this.#repairs + 1 : 1;
    this.#lastRepair = now;
  }
}
