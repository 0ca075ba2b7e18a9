// Keeps the iptables rules of the IPVS mode in the kernel: few, always the same, written whole.
import type { TableChange } from '../../linux/iptables.ts';
import type { Iptables } from '../../linux/iptables-run.ts';
import { leadsTo, type SavedTable } from '../../linux/iptables-save.ts';
import type { Family } from '../../net/address.ts';
import { type IptablesChains, ipvsChains, type RuleOptions } from './rules.ts';

type Saved = ReadonlyMap<string, SavedTable>;

/** The restore that puts chains in place, and the ways into them where those are missing. Pure. */
export function restoration(tables: readonly IptablesChains[], saved: Saved): TableChange[] {
  return tables.map(({ table, chains, jumps }) => ({
    table,
    chains,
    prepended: jumps
      .filter(({ chain, to }) => !hasWay(saved.get(table), chain, to))
      .map(({ chain, rule }) => ({ chain, rule })),
  }));
}

const hasWay = (table: SavedTable | undefined, chain: string, to: string): boolean =>
  (table?.chains.get(chain) ?? []).some((rule) => leadsTo(rule, new Set([to])) !== undefined);

/** A chain that only this mode has: where it is, the others of these names are ours and no kube-proxy's. */
const ownChain = { table: 'mangle', chain: 'WEFT-SERVICES' } as const;

/** The names of all chains: `nat KUBE-SERVICES`. */
export const ipvsChainNames: ReadonlySet<string> = new Set(
  chainsOf({ family: 'IPv4', clusterCidrs: [], serviceCidrs: [], podCidrs: [] }),
);

function chainsOf(options: RuleOptions): string[] {
  return ipvsChains(options).flatMap(({ table, chains }) => chains.map(({ name }) => `${table} ${name}`));
}

/** What takes the chains out but for those of `kept`, and all rules that lead to them; nothing where none is ours. Pure. */
export function removal(saved: Saved, kept: ReadonlySet<string>): TableChange[] {
  if (saved.get(ownChain.table)?.chains.has(ownChain.chain) !== true) return [];
  return (['nat', 'filter', 'mangle'] as const).flatMap((table): TableChange[] => {
    const chains = saved.get(table)?.chains ?? new Map<string, readonly string[]>();
    const going = new Set(
      [...chains.keys()].filter((name) => ipvsChainNames.has(`${table} ${name}`) && !kept.has(`${table} ${name}`)),
    );
    const removed = [...chains]
      .filter(([chain]) => !going.has(chain))
      .flatMap(([chain, rules]) =>
        rules.filter((rule) => leadsTo(rule, going) !== undefined).map((rule) => ({ chain, rule })),
      );
    return going.size === 0 ? [] : [{ table, chains: [], removed, deleted: [...going] }];
  });
}

/** The rules of one family. */
export class RuleKeeper {
  readonly #family: Family;
  readonly #iptables: Iptables;
  #wanted: readonly IptablesChains[] = [];
  #isWritten = false;
  /** What the kernel says of our chains when they are whole, in its own wording. */
  #wording: string | undefined;
  /** What it says now, where that was read a moment ago. */
  #saved: Saved | undefined;
  /** They were written anew, and the kernel is taken to say the same of them as the first time. */
  #isRepaired = false;

  constructor(family: Family, iptables: Iptables) {
    this.#family = family;
    this.#iptables = iptables;
  }

  /** How many rules there shall be. */
  get size(): number {
    return this.#wanted.reduce((sum, { chains }) => sum + chains.reduce((all, { rules }) => all + rules.length, 0), 0);
  }

  /** Replaces the rules; writes nothing. */
  set(options: Omit<RuleOptions, 'family'>): void {
    const wanted = ipvsChains({ ...options, family: this.#family });
    if (JSON.stringify(wanted) === JSON.stringify(this.#wanted)) return;
    this.#wanted = wanted;
    this.#isWritten = false;
    this.#wording = undefined;
  }

  /** Whether chains of these names are there that another mode has written. */
  async isReplacing(): Promise<boolean> {
    if (this.#isWritten) return false;
    const saved = await this.#iptables.save(this.#family);
    const isOwn = saved.get(ownChain.table)?.chains.has(ownChain.chain) === true;
    return (
      !isOwn && this.#wanted.some(({ table, chains }) => chains.some(({ name }) => saved.get(table)?.chains.has(name)))
    );
  }

  /** Writes the rules where they are not. The sets that they name must be there. */
  async apply(): Promise<void> {
    if (this.#isWritten) return;
    const saved = this.#saved ?? (await this.#iptables.save(this.#family));
    await this.#iptables.restore(this.#family, restoration(this.#wanted, saved));
    this.#isRepaired = this.#wording !== undefined;
    this.#wording ??= this.#wordingOf(await this.#iptables.save(this.#family));
    this.#isWritten = true;
  }

  /** Whether the rules are there as they were written; where not, the `apply` that follows at once writes them. */
  async isWhole(): Promise<boolean> {
    if (!this.#isWritten) return false;
    const saved = await this.#iptables.save(this.#family);
    if (this.#wordingOf(saved) === this.#wording) return true;
    this.#isWritten = false;
    this.#saved = saved;
    // Damaged twice running: perhaps the kernel, or another iptables, says it otherwise now.
    if (this.#isRepaired) this.#wording = undefined;
    return false;
  }

  /** What was read a moment ago no longer counts. */
  forget(): void {
    this.#saved = undefined;
  }

  #wordingOf(saved: Saved): string {
    const of = ({ table, chains, jumps }: IptablesChains): unknown => [
      chains.map(({ name }) => [name, saved.get(table)?.chains.get(name)]),
      jumps.map(({ chain, to }) => hasWay(saved.get(table), chain, to)),
    ];
    return JSON.stringify(this.#wanted.map(of));
  }
}
