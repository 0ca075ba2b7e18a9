// Writes Services into nftables: one table for each family, changed by elements.
import { monitorNftables } from '../../linux/nft-monitor.ts';
import type { Nft } from '../../linux/nft-run.ts';
import { NftTable } from '../../linux/nft-table.ts';
import { type Cidr, type Family, familyOf } from '../../net/address.ts';
import { isLoopback } from '../node-port-addresses.ts';
import type { ProxyNode, ServicePortModel } from '../service-port.ts';
import type { ProxyFacts, ServiceWriter } from '../writer.ts';
import { contribution, factElements } from './elements.ts';
import { proxyTable } from './table.ts';

export interface NftablesOptions {
  readonly nft: Nft;
  readonly node: Pick<ProxyNode, 'addresses' | 'nodePortAddresses'>;
  /** The ranges of all pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
}

interface FamilyTable {
  readonly family: Family;
  readonly table: NftTable;
}

/** The owner of what depends on no Service; no Service has such a name. */
const factsOwner = '';

export class NftablesWriter implements ServiceWriter {
  readonly mode = 'nftables';
  readonly #options: NftablesOptions;
  readonly #tables: readonly FamilyTable[];
  /** Someone else wrote to them: every element may be another one. */
  readonly #distrusted = new Set<NftTable>();

  constructor(options: NftablesOptions) {
    this.#options = options;
    const hasLocalhost = options.node.nodePortAddresses.some(isLoopback);
    const families = new Set<Family>([...options.node.addresses, ...options.clusterCidrs].map(familyOf));
    if (families.size === 0) families.add('IPv4');
    this.#tables = [...families].map((family) => ({
      family,
      table: new NftTable(proxyTable(family, options.clusterCidrs, hasLocalhost), options.nft),
    }));
  }

  get size(): number {
    return this.#tables.reduce((sum, { table }) => sum + table.size, 0);
  }

  set(owner: string, models: readonly ServicePortModel[]): void {
    for (const { family, table } of this.#tables) {
      const own = models.filter((model) => model.family === family);
      table.set(owner, own.length === 0 ? undefined : contribution(family, own, this.#options.node));
    }
  }

  setFacts(facts: ProxyFacts): void {
    for (const { family, table } of this.#tables)
      table.set(factsOwner, { chains: [], elements: factElements(family, facts) });
  }

  async apply(): Promise<void> {
    for (const { table } of this.#tables) await table.apply();
  }

  async audit(): Promise<string[]> {
    const damaged: string[] = [];
    for (const { table } of this.#tables) {
      const isWhole = !this.#distrusted.delete(table) && (await table.audit().catch(() => false));
      if (isWhole) continue;
      table.invalidate();
      damaged.push(`table ${table.id}`);
    }
    return damaged;
  }

  watch(disturbed: () => void): () => void {
    return monitorNftables((written) => {
      const touched = this.#tables.filter(({ table }) => written?.has(table.id));
      if (written !== undefined && touched.length === 0) return;
      for (const { table } of touched) this.#distrusted.add(table);
      disturbed();
    });
  }

  async tidy(): Promise<boolean> {
    let tidied = 0;
    for (const { table } of this.#tables) tidied += await table.tidy();
    return tidied > 0;
  }

  async cleanUp(): Promise<void> {
    for (const { table } of this.#tables) await table.remove();
  }
}
