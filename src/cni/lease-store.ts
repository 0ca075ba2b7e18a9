// Addresses that are given, durable before anyone hears of them: a small SQLite database of the node.
import { closeSync, fdatasync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { promisify } from 'node:util';
import { type Cidr, cidrContains, type Ip, parseCidr, parseIp } from '../net/address.ts';
import { type Choice, capacityOf, nextAddress, type Pool } from './ipam.ts';
import { type Attachment, CniError, errorCode } from './protocol.ts';
import { parseSettings, type Settings, settingsJson } from './wishes.ts';

/** What a container holds. */
export interface Lease {
  readonly attachment: Attachment;
  readonly network: string;
  /** The path of the container's network namespace. */
  readonly netns: string;
  /** `namespace/name` of its pod, for messages; empty where the runtime did not say. */
  readonly pod: string;
  /** One address a range, in the order of the node's ranges. */
  readonly addresses: readonly Ip[];
  readonly settings: Settings;
  /** Whether ADD came to its end. */
  readonly attached: boolean;
}

export type NewLease = Omit<Lease, 'addresses' | 'attached'>;

export interface LeaseStoreOptions {
  /** How long a freed address rests before another container gets it, in ms. */
  readonly restMs?: number;
  /** The time in ms, for tests. */
  readonly now?: () => number;
}

/**
 * As long as the kernel keeps a UDP flow without an answer, and DNS caches keep an answer of this cluster (30 s both):
 * what still means the old owner of an address has forgotten it by then.
 */
const defaultRestMs = 30_000;

const schema = `
  CREATE TABLE IF NOT EXISTS lease (
    container TEXT NOT NULL, ifname TEXT NOT NULL, network TEXT NOT NULL, netns TEXT NOT NULL, pod TEXT NOT NULL,
    attached INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (container, ifname)) STRICT;
  CREATE TABLE IF NOT EXISTS address (
    address TEXT PRIMARY KEY, container TEXT NOT NULL, ifname TEXT NOT NULL, position INTEGER NOT NULL,
    FOREIGN KEY (container, ifname) REFERENCES lease (container, ifname) ON DELETE CASCADE) STRICT;
  CREATE TABLE IF NOT EXISTS resting (address TEXT PRIMARY KEY, freed INTEGER NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS cursor (range TEXT PRIMARY KEY, last TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS node_range (position INTEGER PRIMARY KEY, range TEXT NOT NULL) STRICT;
`;

/** What later versions added; `PRAGMA user_version` says how many of them a file has. */
const migrations = ["ALTER TABLE lease ADD COLUMN settings TEXT NOT NULL DEFAULT '{}'"];

export const attachmentKey = ({ containerId, ifname }: Attachment): string => `${containerId}/${ifname}`;

/** Whether an error of the store says that its file is no sound database (SQLITE_CORRUPT, SQLITE_NOTADB). */
export function isDamaged(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (error.errcode === 11 || error.errcode === 26);
}

const dataSync = promisify(fdatasync);

/** The log is made with the first change; from then on its name must not be lost either. */
function openLog(file: string): number {
  const log = openSync(`${file}-wal`, 'a+', 0o600);
  const dir = openSync(dirname(file), 'r');
  try {
    fsyncSync(dir);
  } finally {
    closeSync(dir);
  }
  return log;
}

/** The leases of a node; what it holds in memory is always what is on the disk. */
export class LeaseStore {
  readonly #db: DatabaseSync;
  readonly #leases = new Map<string, Lease>();
  readonly #owners = new Map<Ip, string>();
  readonly #cursors = new Map<Cidr, Ip>();
  /** Freed addresses, the oldest first, and when that was. */
  readonly #resting = new Map<Ip, number>();
  /** SQLite's log of changes that are not in the main file yet. */
  readonly #log: number;
  /** Statements by their text: to prepare one takes longer than to run it. */
  readonly #prepared = new Map<string, StatementSync>();
  #sync: Promise<void> | undefined;
  #nextSync: Promise<void> | undefined;
  readonly #restMs: number;
  readonly #now: () => number;

  /** Opens or makes the database; throws where the disk refuses. */
  constructor(file: string, { restMs = defaultRestMs, now = Date.now }: LeaseStoreOptions = {}) {
    this.#restMs = restMs;
    this.#now = now;
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#db = new DatabaseSync(file);
    try {
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;');
      this.#db.exec(schema);
      this.#migrate();
      this.#load();
      this.#log = openLog(file);
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  close(): void {
    this.#db.close();
    closeSync(this.#log);
  }

  /**
   * Resolves when everything that was changed until now is on the disk: SQLite has written it to its log, which is
   * synchronized here, on another thread and once for all that wait. Rejects where the disk refuses.
   */
  durable(): Promise<void> {
    this.#nextSync ??= this.#synchronize();
    return this.#nextSync;
  }

  async #synchronize(): Promise<void> {
    await this.#sync?.catch(() => {});
    this.#nextSync = undefined;
    this.#sync = dataSync(this.#log);
    await this.#sync;
  }

  get(attachment: Attachment): Lease | undefined {
    return this.#leases.get(attachmentKey(attachment));
  }

  list(): Lease[] {
    return [...this.#leases.values()];
  }

  /** Whether no address of a range can be given now: they are held, or rest. */
  isFull(range: Cidr): boolean {
    this.#wake();
    const capacity = capacityOf(range);
    if (BigInt(this.#owners.size + this.#resting.size) < capacity) return false;
    let count = 0n;
    for (const held of [this.#owners, this.#resting])
      for (const address of held.keys()) if (cidrContains(range, address)) count++;
    return count >= capacity;
  }

  /** Who holds an address. */
  ownerOf(address: Ip): Lease | undefined {
    const key = this.#owners.get(address);
    return key === undefined ? undefined : this.#leases.get(key);
  }

  /** The ranges that the node had last, so that a restarted agent needs no API server to go on. */
  ranges(): Cidr[] {
    const rows = this.#db.prepare('SELECT range FROM node_range ORDER BY position').all();
    return rows.flatMap((row) => parseCidr(String(row.range)) ?? []);
  }

  setRanges(ranges: readonly Cidr[]): void {
    this.#transaction(() => {
      this.#db.exec('DELETE FROM node_range');
      const insert = this.#statement('INSERT INTO node_range (position, range) VALUES (?, ?)');
      for (const [position, range] of ranges.entries()) insert.run(position, range);
    });
  }

  /**
   * The lease of the attachment: the one that it has, or a new one with an address for each choice. On return it outlives
   * the process; {@link durable} says when it outlives the machine. Throws CniError where an address is held by another one, where none is free or the disk refuses.
   */
  acquire(wanted: NewLease, choices: readonly Choice[]): Lease {
    const present = this.get(wanted.attachment);
    if (present !== undefined) return present;
    this.#wake();
    const taken = new Map<Ip, Cidr | undefined>();
    for (const choice of choices) {
      if ('address' in choice) taken.set(this.#certain(choice.address), undefined);
      else {
        const { address, range } = this.#free(choice.pools, taken);
        taken.set(address, range);
      }
    }
    const lease: Lease = { ...wanted, addresses: [...taken.keys()], attached: false };
    this.#transaction(() => {
      this.#insert(lease);
      for (const [address, range] of taken) if (range !== undefined) this.#keepCursor(range, address);
      for (const address of taken.keys())
        if (this.#resting.has(address)) this.#statement('DELETE FROM resting WHERE address = ?').run(address);
    });
    this.#remember(lease);
    for (const [address, range] of taken) {
      this.#resting.delete(address);
      if (range !== undefined) this.#cursors.set(range, address);
    }
    return lease;
  }

  /** A static address may be given again at once: it stands for the same thing. */
  #certain(address: Ip): Ip {
    const owner = this.ownerOf(address);
    if (owner === undefined) return address;
    const holder = owner.pod === '' ? owner.attachment.containerId : owner.pod;
    throw new CniError(errorCode.noAddress, `the address ${address} is held by ${holder}`);
  }

  #free(pools: readonly Pool[], taken: ReadonlyMap<Ip, unknown>): { address: Ip; range: Cidr } {
    const isHeld = (address: Ip): boolean => this.#owners.has(address) || taken.has(address);
    for (const pool of pools) {
      const address = nextAddress(
        pool,
        this.#cursors.get(pool.range),
        (candidate) => isHeld(candidate) || this.#resting.has(candidate),
      );
      if (address !== undefined) return { address, range: pool.range };
    }
    const ranges = [...new Set(pools.map(({ range }) => range))].join(', ');
    const resting = pools.some((pool) => nextAddress(pool, undefined, isHeld) !== undefined);
    if (resting)
      throw new CniError(
        errorCode.tryAgainLater,
        `no address is free in ${ranges} yet: those that were freed rest for ${this.#restMs / 1000} s`,
      );
    throw new CniError(
      errorCode.noAddress,
      `no address is free in ${ranges}`,
      'remove pods, or give nodes a larger range',
    );
  }

  /** Ends the rest of addresses that have rested long enough. */
  #wake(): void {
    const freedBefore = this.#now() - this.#restMs;
    for (const [address, freed] of this.#resting) {
      // A clock that was set back must not keep addresses for ever.
      if (freed > freedBefore && freed <= this.#now()) return;
      this.#resting.delete(address);
    }
  }

  /** Notes a lease that a running pod has already. Throws where one of its addresses is given to another one. */
  adopt(lease: Omit<Lease, 'attached'>): void {
    const adopted: Lease = { ...lease, attached: false };
    this.#transaction(() => this.#insert(adopted));
    this.#remember(adopted);
    this.complete(adopted);
  }

  /** Notes that the container is attached. */
  complete(lease: Lease): void {
    const { containerId, ifname } = lease.attachment;
    this.#statement('UPDATE lease SET attached = 1 WHERE container = ? AND ifname = ?').run(containerId, ifname);
    this.#leases.set(attachmentKey(lease.attachment), { ...lease, attached: true });
  }

  /** Frees the addresses of an attachment, which then rest. False where it has none. */
  release(attachment: Attachment): boolean {
    const lease = this.get(attachment);
    if (lease === undefined) return false;
    const { containerId, ifname } = attachment;
    const freed = this.#now();
    this.#transaction(() => {
      this.#statement('DELETE FROM lease WHERE container = ? AND ifname = ?').run(containerId, ifname);
      this.#statement('DELETE FROM resting WHERE freed <= ?').run(freed - this.#restMs);
      for (const address of lease.addresses)
        this.#statement('INSERT OR REPLACE INTO resting (address, freed) VALUES (?, ?)').run(address, freed);
    });
    this.#leases.delete(attachmentKey(attachment));
    for (const address of lease.addresses) {
      this.#owners.delete(address);
      this.#resting.set(address, freed);
    }
    return true;
  }

  #insert({ attachment, network, netns, pod, addresses, settings }: Lease): void {
    const { containerId, ifname } = attachment;
    this.#statement(
      'INSERT INTO lease (container, ifname, network, netns, pod, settings) VALUES (?, ?, ?, ?, ?, ?)',
    ).run(containerId, ifname, network, netns, pod, settingsJson(settings));
    addresses.forEach((address, position) => {
      this.#statement('INSERT INTO address (address, container, ifname, position) VALUES (?, ?, ?, ?)').run(
        address,
        containerId,
        ifname,
        position,
      );
    });
  }

  #keepCursor(range: Cidr, last: Ip): void {
    const sql = 'INSERT INTO cursor (range, last) VALUES (?, ?) ON CONFLICT (range) DO UPDATE SET last = excluded.last';
    this.#statement(sql).run(range, last);
  }

  #statement(sql: string): StatementSync {
    const known = this.#prepared.get(sql);
    if (known !== undefined) return known;
    const prepared = this.#db.prepare(sql);
    this.#prepared.set(sql, prepared);
    return prepared;
  }

  #migrate(): void {
    const done = Number(this.#db.prepare('PRAGMA user_version').get()?.user_version ?? 0);
    for (const [index, sql] of migrations.entries())
      if (index >= done)
        this.#transaction(() => {
          this.#db.exec(sql);
          this.#db.exec(`PRAGMA user_version = ${index + 1}`);
        });
  }

  #load(): void {
    const addresses = new Map<string, Ip[]>();
    for (const row of this.#db.prepare('SELECT address, container, ifname FROM address ORDER BY position').all()) {
      const key = attachmentKey({ containerId: String(row.container), ifname: String(row.ifname) });
      const address = parseIp(String(row.address));
      if (address !== undefined) addresses.set(key, [...(addresses.get(key) ?? []), address]);
    }
    for (const row of this.#db.prepare('SELECT * FROM lease').all()) {
      const attachment = { containerId: String(row.container), ifname: String(row.ifname) };
      this.#remember({
        attachment,
        network: String(row.network),
        netns: String(row.netns),
        pod: String(row.pod),
        settings: parseSettings(String(row.settings)),
        attached: row.attached === 1,
        addresses: addresses.get(attachmentKey(attachment)) ?? [],
      });
    }
    for (const row of this.#db.prepare('SELECT address, freed FROM resting ORDER BY freed').all()) {
      const address = parseIp(String(row.address));
      if (address !== undefined) this.#resting.set(address, Number(row.freed));
    }
    for (const row of this.#db.prepare('SELECT range, last FROM cursor').all()) {
      const [range, last] = [parseCidr(String(row.range)), parseIp(String(row.last))];
      if (range !== undefined && last !== undefined) this.#cursors.set(range, last);
    }
  }

  #remember(lease: Lease): void {
    const key = attachmentKey(lease.attachment);
    this.#leases.set(key, lease);
    for (const address of lease.addresses) this.#owners.set(address, key);
  }

  #transaction(work: () => void): void {
    this.#statement('BEGIN IMMEDIATE').run();
    try {
      work();
      this.#statement('COMMIT').run();
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}
