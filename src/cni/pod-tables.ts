// Keeps the nftables tables of a node's pods equal to the leases: writes changes together, and repairs what others did.
import { deleteFlows } from '../linux/conntrack.ts';
import { monitorNftables } from '../linux/nft-monitor.ts';
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
  readonly #log: Log;
  readonly #ends: (() => void)[] = [];
  #writing: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #settle: NodeJS.Timeout | undefined;

  constructor(nft: Nft, log: Log) {
    this.#log = log;
    this.#guard = new NftTable(guardTable, nft);
    this.#host = families.map((family) => ({ family, table: new NftTable(hostTable(family), nft) }));
  }

  /** Writes everything there is, and from then on repairs what someone else changes. */
  async start(): Promise<void> {
    this.#ends.push(monitorNftables(() => this.#disturbed()));
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

  /** Writes what changed; those who ask while a write is under way share the next one. */
  apply(): Promise<void> {
    if (this.#writing === undefined) {
      this.#writing = this.#write().finally(() => {
        this.#writing = undefined;
      });
      return this.#writing;
    }
    this.#next ??= this.#writing
      .catch(() => {})
      .then(() => {
        this.#next = undefined;
        return this.apply();
      });
    return this.#next;
  }

  async #write(): Promise<void> {
    await this.#guard.apply();
    for (const { table } of this.#host) await table.apply();
  }

  /**
   * UDP flows from before a host port was opened, or to one that is closed, go on past the rules: they are forgotten.
   * (TCP begins anew by itself.)
   */
  async forgetFlows(lease: Lease, change: 'opened' | 'closed'): Promise<void> {
    for (const { protocol, hostPort: port } of lease.settings.ports) {
      if (protocol !== 'udp') continue;
      for (const address of lease.addresses) {
        const flow = change === 'opened' ? { family: familyOf(address) } : { replySource: address };
        await deleteFlows({ protocol, port, ...flow }).catch((error: unknown) =>
          this.#log.warn({ port, error: String(error) }, 'old flows to a host port stay'),
        );
      }
    }
  }

  #disturbed(): void {
    this.#settle ??= setTimeout(() => {
      this.#settle = undefined;
      void this.#audit();
    }, settleMs);
  }

  async #audit(): Promise<void> {
    try {
      await this.#writing;
      const tables = [this.#guard, ...this.#host.map(({ table }) => table)];
      for (const table of tables) {
        if (await table.audit()) continue;
        this.#log.warn({}, 'a table weft-cni was changed by someone else; it is written anew');
      }
      await this.apply();
    } catch (error) {
      this.#log.error({ err: error }, 'the rules of pods could not be repaired; trying again');
      this.#disturbed();
    }
  }
}
