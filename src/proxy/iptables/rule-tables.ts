// What one family's iptables shall hold and what it holds, and the smallest restore from one to the other. Pure.
import { hash } from 'node:crypto';
import type { IptablesChain, IptablesTable, TableChange } from '../../linux/iptables.ts';
import { leadsTo, type SavedTable } from '../../linux/iptables-save.ts';
import { canaryChain, filterChains, isServiceChain, natChains } from './chain-names.ts';
import { type FixedOptions, fixedFilterChains, fixedNatChains, jumps, ownCanary, toNodePorts } from './fixed-rules.ts';
import type { ServiceRules } from './service-rules.ts';

/** What the kernel holds, by table. */
export type Saved = ReadonlyMap<string, SavedTable>;

type Rules = readonly string[];

const tables = ['filter', 'nat', 'mangle'] as const satisfies readonly IptablesTable[];
/** The chains of all Services, that change with any of them. */
const shared = [
  { table: 'nat', chain: natChains.services },
  { table: 'nat', chain: natChains.nodePorts },
  { table: 'filter', chain: filterChains.services },
  { table: 'filter', chain: filterChains.externalServices },
  { table: 'filter', chain: filterChains.nodePorts },
  { table: 'filter', chain: filterChains.firewall },
] as const;
type Shared = (typeof shared)[number];

/** What a Service adds to a shared chain. */
function addedTo({ table, chain }: Shared, rules: ServiceRules): Rules {
  if (table === 'nat') return rules.shared.nat[chain === natChains.services ? 'services' : 'nodePorts'];
  switch (chain) {
    case filterChains.services:
      return rules.shared.filter.services;
    case filterChains.externalServices:
      return rules.shared.filter.externalServices;
    case filterChains.nodePorts:
      return rules.shared.filter.nodePorts;
    case filterChains.firewall:
      return rules.shared.filter.firewall;
  }
}

const same = (a: Rules | undefined, b: Rules | undefined): boolean =>
  a === b || (a !== undefined && b !== undefined && a.length === b.length && a.every((rule, at) => rule === b[at]));

const id = (table: IptablesTable, chain: string): string => `${table} ${chain}`;

/**
 * Ports of Services are set by name; `plan` says what is to be written. Chains of Services that did not change are in no
 * restore, and neither are shared chains whose rules stay the same.
 */
export class RuleTables {
  readonly #fixed: FixedOptions;
  readonly #ports = new Map<string, ServiceRules>();
  /** Chains of Services whose rules changed since the last write. */
  readonly #changed = new Set<string>();
  readonly #desired = new Map<string, Rules>();
  /** Those of the kernel, as far as they are ours. */
  readonly #inKernel = new Set<string>();
  readonly #sharedChanged = new Set<Shared>(shared);
  readonly #sharedInKernel = new Map<Shared, Rules>();
  /** The kernel's wording of our chains, as hashes; of those that were seen since they were written. */
  readonly #wording = new Map<string, string>();
  #names: readonly string[] | undefined;

  constructor(fixed: FixedOptions) {
    this.#fixed = fixed;
  }

  /** How many rules there shall be. */
  get size(): number {
    let size = 0;
    for (const rules of this.#desired.values()) size += rules.length;
    for (const one of shared) for (const rules of this.#ports.values()) size += addedTo(one, rules).length;
    return size;
  }

  /** Replaces the rules of a port; undefined takes them away. */
  set(name: string, rules: ServiceRules | undefined): void {
    const before = this.#ports.get(name);
    if (rules === undefined) this.#ports.delete(name);
    else this.#ports.set(name, rules);
    if ((before === undefined) !== (rules === undefined)) this.#names = undefined;
    for (const one of shared)
      if (!same(before === undefined ? [] : addedTo(one, before), rules === undefined ? [] : addedTo(one, rules)))
        this.#sharedChanged.add(one);
    for (const chain of before?.chains.keys() ?? []) {
      if (rules?.chains.has(chain)) continue;
      this.#desired.delete(chain);
      this.#changed.add(chain);
    }
    for (const [chain, now] of rules?.chains ?? []) {
      if (same(this.#desired.get(chain), now)) continue;
      this.#desired.set(chain, now);
      this.#changed.add(chain);
    }
  }

  /** All chains that there shall be, by table. */
  #all(): Map<IptablesTable, Map<string, Rules>> {
    const all = new Map<IptablesTable, Map<string, Rules>>([
      ['filter', fixedFilterChains(this.#fixed)],
      ['nat', fixedNatChains()],
      ['mangle', new Map()],
    ]);
    for (const one of shared) all.get(one.table)?.set(one.chain, this.#sharedRules(one));
    for (const [chain, rules] of this.#desired) all.get('nat')?.set(chain, rules);
    for (const [table, chains] of all) chains.set(canaryChain, table === 'mangle' ? ownCanary : []);
    return all;
  }

  #sharedRules(one: Shared): Rules {
    this.#names ??= [...this.#ports.keys()].sort();
    const rules: string[] = [];
    for (const name of this.#names) {
      const port = this.#ports.get(name);
      if (port !== undefined) rules.push(...addedTo(one, port));
    }
    if (one.table === 'nat' && one.chain === natChains.services) rules.push(...toNodePorts(this.#fixed));
    return rules;
  }

  /**
   * What is to be written, and what to call once it has been. Without `saved` it is what changed since the last write;
   * with it, everything, and chains of Services that are there for nobody go.
   */
  plan(saved?: Saved): { readonly changes: readonly TableChange[]; readonly written: () => void } {
    const sharedRules = new Map([...this.#sharedChanged].map((one) => [one, this.#sharedRules(one)]));
    const changed = new Map([...this.#changed].map((chain) => [chain, this.#desired.get(chain)]));
    const changes = saved === undefined ? this.#difference(sharedRules, changed) : this.#everything(saved);
    this.#sharedChanged.clear();
    this.#changed.clear();
    for (const { table, chains } of changes) for (const { name } of chains) this.#wording.delete(id(table, name));
    return {
      changes,
      written: () => {
        for (const [one, rules] of sharedRules) this.#sharedInKernel.set(one, rules);
        for (const [chain, rules] of changed) {
          if (rules !== undefined) this.#inKernel.add(chain);
          else this.#inKernel.delete(chain);
        }
      },
    };
  }

  #everything(saved: Saved): TableChange[] {
    const all = this.#all();
    return tables.map((table): TableChange => {
      const chains = all.get(table) ?? new Map<string, Rules>();
      const there = saved.get(table)?.chains ?? new Map<string, Rules>();
      return {
        table,
        chains: [...chains].map(([name, rules]): IptablesChain => ({ name, rules })),
        prepended: missingJumps(table, there),
        deleted: [...there.keys()].filter((chain) => isServiceChain(chain) && !chains.has(chain)),
      };
    });
  }

  #difference(sharedRules: ReadonlyMap<Shared, Rules>, changed: ReadonlyMap<string, Rules | undefined>): TableChange[] {
    const filter: IptablesChain[] = [];
    const nat: IptablesChain[] = [];
    for (const [one, rules] of sharedRules)
      if (!same(rules, this.#sharedInKernel.get(one)))
        (one.table === 'nat' ? nat : filter).push({ name: one.chain, rules });
    const deleted: string[] = [];
    for (const [name, rules] of changed) {
      if (rules !== undefined) nat.push({ name, rules });
      else if (this.#inKernel.has(name)) deleted.push(name);
    }
    return [
      ...(filter.length === 0 ? [] : [{ table: 'filter' as const, chains: filter }]),
      ...(nat.length === 0 && deleted.length === 0 ? [] : [{ table: 'nat' as const, chains: nat, deleted }]),
    ];
  }

  /** What of ours is not in the kernel as it was written, in words. */
  damages(saved: Saved): string[] {
    const damaged: string[] = [];
    for (const [table, chains] of this.#all()) {
      const there = saved.get(table)?.chains ?? new Map<string, Rules>();
      const missing = missingJumps(table, there);
      if (missing.length > 0)
        damaged.push(`table ${table}: no way from ${missing.map(({ chain }) => chain).join(', ')}`);
      for (const [chain, rules] of chains) {
        const found = there.get(chain);
        if (found === undefined) damaged.push(`table ${table}: chain ${chain} is gone`);
        else if (!this.#isAsWritten(id(table, chain), rules, found)) damaged.push(`table ${table}: chain ${chain}`);
      }
    }
    return damaged;
  }

  /** Iptables words rules in its own way: at first as many rules with the same targets will do, later the same words. */
  #isAsWritten(name: string, written: Rules, found: Rules): boolean {
    const wording = hash('sha1', found.join('\n'), 'base64');
    const known = this.#wording.get(name);
    if (known !== undefined) return known === wording;
    const isSame =
      written.length === found.length && written.every((rule, at) => target(rule) === target(found[at] ?? ''));
    if (isSame) this.#wording.set(name, wording);
    return isSame;
  }
}

const target = (rule: string): string => / ?-j (\S+)/.exec(rule)?.[1] ?? '';

function missingJumps(
  table: IptablesTable,
  there: ReadonlyMap<string, Rules>,
): { readonly chain: string; readonly rule: string }[] {
  return jumps
    .filter((one) => one.table === table)
    .filter(({ from, to }) => !(there.get(from) ?? []).some((rule) => leadsTo(rule, new Set([to])) !== undefined))
    .map(({ from, rule }) => ({ chain: from, rule }));
}
