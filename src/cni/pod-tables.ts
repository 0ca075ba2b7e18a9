// Keeps the nftables tables of a node's pods equal to the leases: writes changes together, and repairs what others did.
import { deleteFlows } from '../linux/conntrack.ts';
import { type ForeignWrite, monitorNftables } from '../linux/nft-monitor.ts';
import type { Nft } from '../linux/nft-run.ts';
import { NftTable } from '../linux/nft-table.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, type Family, familyOf } from '../net/address.ts';
import { attachmentKey, type Lease } from './lease-store.ts';
import { guardOf, guardTable, hostPortsOf, hostTable, masqueradeOf } from './pod-rules.ts';
import type { Attachment } from './protocol.ts';

/** A change by someone else is looked at after so long, to see all of it; and everything once in so long anyhow. */
const settleMs = 100;
const auditMs = 300_000;
const families: readonly Family[] = ['IPv4', 'IPv6'];
/** Owner of what is there without any attachment. */
const node = 'node';

export class PodTables {
  readonly #guard: NftTable;
  readonly #host: readonly { readonly family: Family; readonly table: NftTable }[];
  readonly #tables: readonly NftTable[];
  readonly #log: Log;
  readonly #ends: (() => void)[] = [];
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #settle: NodeJS.Timeout | undefined;

  constructor(nft: Nft, log: Log) {
    this.#log = log;
    this.#guard = new NftTable(guardTable, nft);
    this.#host = families.map((family) => ({ family, table: new NftTable(hostTable(family), nft) }));
    this.#tables = [this.#guard, ...this.#host.map(({ table }) => table)];
  }

  /** Writes everything there is, and from then on repairs what someone else changes. */
  async start(): Promise<void> {
    this.#ends.push(monitorNftables((written) => this.#disturbed(written)));
    const audit = setInterval(() => void this.#audit(), auditMs).unref();
    this.#ends.push(() => clearInterval(audit));
    await this.apply();
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.splice(0)) end();
    clearTimeout(this.#settle);
    await this.#next?.catch(() => {});
    await this.#writing?.catch(() => {});
  }

  /** What packets of pods are masqueraded; written by the next `apply`. */
  setMasquerade(ranges: { readonly pods: readonly Cidr[]; readonly inside: readonly Cidr[] } | undefined): void {
    for (const { family, table } of this.#host)
      table.set(node, ranges === undefined ? undefined : masqueradeOf(family, ranges));
  }

  /** What an attachment adds; written by the next `apply`. */
  set(lease: Lease): void {
    const owner = attachmentKey(lease.attachment);
    this.#guard.set(owner, guardOf(lease));
    for (const { family, table } of this.#host) table.set(owner, hostPortsOf(lease, family));
  }

  delete(attachment: Attachment): void {
    const owner = attachmentKey(attachment);
    this.#guard.set(owner, undefined);
    for (const { table } of this.#host) table.set(owner, undefined);
  }

  /** Writes what changed: all that is asked for in one turn of the event loop, or while a write is under way, in one. */
  apply(): Promise<void> {
    this.#next ??= this.#turn();
    return this.#next;
  }

  async #turn(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    await this.#writing?.catch(() => {});
    this.#next = undefined;
    this.#writing = this.#write();
    await this.#writing;
  }

  async #write(): Promise<void> {
    // Once more, with everything: a signal may have interrupted the kernel (EINTR), or someone deleted the table.
    for (const table of this.#tables) await table.apply().catch(() => table.apply());
  }

  /**
   * UDP flows from before a host port was opened, or to one that is closed, go on past the rules: they are forgotten.
   * (TCP begins anew by itself.)
   */
  async forgetFlows(lease: Lease, change: 'opened' | 'closed'): Promise<void> {
    const flows = lease.settings.ports
      .filter(({ protocol }) => protocol === 'udp')
      .flatMap(({ protocol, hostPort: port }) =>
        lease.addresses.map((address) => ({
          protocol,
          port,
          ...(change === 'opened' ? { family: familyOf(address) } : { replySource: address }),
        })),
      );
    await deleteFlows(flows).catch((error: unknown) =>
      this.#log.warn({ error: String(error) }, 'old flows to host ports stay'),
    );
  }

  /** Someone else wrote to these tables, or (undefined) may have written to any. */
  #disturbed(written: ForeignWrite): void {
    const touched = this.#tables.filter((table) => written?.has(table.id));
    if (written !== undefined && touched.length === 0) return;
    for (const table of touched) table.invalidate();
    this.#settle ??= setTimeout(() => {
      this.#settle = undefined;
      void this.#audit();
    }, settleMs);
  }

  /** Writes anew what was changed. */
  async #audit(): Promise<void> {
    try {
      await this.#writing;
      for (const table of this.#tables) {
        if (await table.audit()) continue;
        this.#log.warn({ table: table.id }, 'the table was changed by someone else; it is written anew');
      }
      await this.apply();
    } catch (error) {
      this.#log.error({ err: error }, 'the rules of pods could not be repaired; trying again');
      this.#disturbed(undefined);
    }
  }
}
