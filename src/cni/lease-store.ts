// Addresses that are given, durable before anyone hears of them: a small SQLite database of the node.
import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Cidr, familyOf, type Ip, parseCidr, parseIp } from '../net/address.ts';
import { nextAddress } from './ipam.ts';
import { type Attachment, CniError, errorCode } from './protocol.ts';

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
  /** Whether ADD came to its end. */
  readonly attached: boolean;
}

export type NewLease = Pick<Lease, 'attachment' | 'network' | 'netns' | 'pod'>;

const schema = `
  CREATE TABLE IF NOT EXISTS lease (
    container TEXT NOT NULL, ifname TEXT NOT NULL, network TEXT NOT NULL, netns TEXT NOT NULL, pod TEXT NOT NULL,
    attached INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (container, ifname)) STRICT;
  CREATE TABLE IF NOT EXISTS address (
    address TEXT PRIMARY KEY, container TEXT NOT NULL, ifname TEXT NOT NULL, position INTEGER NOT NULL,
    FOREIGN KEY (container, ifname) REFERENCES lease (container, ifname) ON DELETE CASCADE) STRICT;
  CREATE TABLE IF NOT EXISTS cursor (range TEXT PRIMARY KEY, last TEXT NOT NULL) STRICT;
  CREATE TABLE IF NOT EXISTS node_range (position INTEGER PRIMARY KEY, range TEXT NOT NULL) STRICT;
`;

export const attachmentKey = ({ containerId, ifname }: Attachment): string => `${containerId}/${ifname}`;

/** Whether an error of the store says that its file is no sound database (SQLITE_CORRUPT, SQLITE_NOTADB). */
export function isDamaged(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && (error.errcode === 11 || error.errcode === 26);
}

/** The leases of a node; what it holds in memory is always what is on the disk. */
export class LeaseStore {
  readonly #db: DatabaseSync;
  readonly #leases = new Map<string, Lease>();
  readonly #owners = new Map<Ip, string>();
  readonly #cursors = new Map<Cidr, Ip>();

  /** Opens or makes the database; throws where the disk refuses. */
  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    this.#db = new DatabaseSync(file);
    try {
      this.#db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;');
      this.#db.exec(schema);
      this.#load();
    } catch (error) {
      this.#db.close();
      throw error;
    }
  }

  close(): void {
    this.#db.close();
  }

  get(attachment: Attachment): Lease | undefined {
    return this.#leases.get(attachmentKey(attachment));
  }

  list(): Lease[] {
    return [...this.#leases.values()];
  }

  /** How many addresses of a family are given. */
  count(range: Cidr): number {
    let count = 0;
    for (const address of this.#owners.keys()) if (familyOf(address) === familyOf(range)) count++;
    return count;
  }

  /** The ranges that the node had last, so that a restarted agent needs no API server to go on. */
  ranges(): Cidr[] {
    const rows = this.#db.prepare('SELECT range FROM node_range ORDER BY position').all();
    return rows.flatMap((row) => parseCidr(String(row.range)) ?? []);
  }

  setRanges(ranges: readonly Cidr[]): void {
    this.#transaction(() => {
      this.#db.exec('DELETE FROM node_range');
      const insert = this.#db.prepare('INSERT INTO node_range (position, range) VALUES (?, ?)');
      for (const [position, range] of ranges.entries()) insert.run(position, range);
    });
  }

  /**
   * The lease of the attachment: the one that it has, or a new one with the next free address of each range. On return
   * it is on the disk. Throws CniError where a range is full or the disk refuses.
   */
  acquire(wanted: NewLease, ranges: readonly Cidr[]): Lease {
    const present = this.get(wanted.attachment);
    if (present !== undefined) return present;
    const addresses = ranges.map((range) => {
      const address = nextAddress(range, this.#cursors.get(range), (candidate) => this.#owners.has(candidate));
      if (address === undefined)
        throw new CniError(
          errorCode.noAddress,
          `no address is free in ${range}`,
          'remove pods, or give nodes a larger range',
        );
      return address;
    });
    const lease: Lease = { ...wanted, addresses, attached: false };
    this.#transaction(() => {
      this.#insert(lease);
      this.#keepCursors(addresses, ranges);
    });
    this.#remember(lease);
    ranges.forEach((range, index) => {
      const address = addresses[index];
      if (address !== undefined) this.#cursors.set(range, address);
    });
    return lease;
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
    this.#db.prepare('UPDATE lease SET attached = 1 WHERE container = ? AND ifname = ?').run(containerId, ifname);
    this.#leases.set(attachmentKey(lease.attachment), { ...lease, attached: true });
  }

  /** Frees the addresses of an attachment. False where it has none. */
  release(attachment: Attachment): boolean {
    const lease = this.get(attachment);
    if (lease === undefined) return false;
    const { containerId, ifname } = attachment;
    this.#db.prepare('DELETE FROM lease WHERE container = ? AND ifname = ?').run(containerId, ifname);
    this.#leases.delete(attachmentKey(attachment));
    for (const address of lease.addresses) this.#owners.delete(address);
    return true;
  }

  #insert({ attachment, network, netns, pod, addresses }: Lease): void {
    const { containerId, ifname } = attachment;
    this.#db
      .prepare('INSERT INTO lease (container, ifname, network, netns, pod) VALUES (?, ?, ?, ?, ?)')
      .run(containerId, ifname, network, netns, pod);
    addresses.forEach((address, position) => {
      this.#db
        .prepare('INSERT INTO address (address, container, ifname, position) VALUES (?, ?, ?, ?)')
        .run(address, containerId, ifname, position);
    });
  }

  #keepCursors(addresses: readonly Ip[], ranges: readonly Cidr[]): void {
    const sql = 'INSERT INTO cursor (range, last) VALUES (?, ?) ON CONFLICT (range) DO UPDATE SET last = excluded.last';
    for (const [position, range] of ranges.entries()) this.#db.prepare(sql).run(range, addresses[position] ?? '');
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
        attached: row.attached === 1,
        addresses: addresses.get(attachmentKey(attachment)) ?? [],
      });
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
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      work();
      this.#db.exec('COMMIT');
    } catch (error) {
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK');
      throw error;
    }
  }
}
