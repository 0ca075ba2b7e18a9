// What tests of the iptables mode share: the kernel's tables as data.
import type { TableChange } from '../../linux/iptables.ts';
import type { SavedTable } from '../../linux/iptables-save.ts';

/** What the kernel would hold after the changes. */
export function applied(
  changes: readonly TableChange[],
  before: ReadonlyMap<string, SavedTable> = new Map(),
): Map<string, { chains: Map<string, readonly string[]> }> {
  const after = new Map([...before].map(([table, { chains }]) => [table, { chains: new Map(chains) }]));
  for (const { table, chains, prepended = [], deleted = [], removed = [] } of changes) {
    const own = after.get(table) ?? { chains: new Map<string, readonly string[]>() };
    after.set(table, own);
    for (const { name, rules } of chains) own.chains.set(name, rules);
    for (const { chain, rule } of prepended) own.chains.set(chain, [rule, ...(own.chains.get(chain) ?? [])]);
    for (const { chain, rule } of removed)
      own.chains.set(chain, (own.chains.get(chain) ?? []).toSpliced((own.chains.get(chain) ?? []).indexOf(rule), 1));
    for (const chain of deleted) own.chains.delete(chain);
  }
  return after;
}
