// Takes the chains of kube-proxy's iptables mode out of the kernel, and the ways into them; foreign rules stay.
import type { IptablesTable, TableChange } from '../../linux/iptables.ts';
import { hasLegacyTables, type Iptables, installedBackends, iptablesOf } from '../../linux/iptables-run.ts';
import { leadsTo } from '../../linux/iptables-save.ts';
import { canaryChain, filterChains, isServiceChain, natChains, ownMark } from './chain-names.ts';
import { restore } from './parts.ts';
import type { Saved } from './rule-tables.ts';

/** Of a kubelet: where it is, KUBE-FIREWALL is the kubelet's too. */
const kubeletCanary = 'KUBE-KUBELET-CANARY';

const tables = ['filter', 'nat', 'mangle'] as const satisfies readonly IptablesTable[];
const ofTable: Readonly<Record<(typeof tables)[number], readonly string[]>> = {
  filter: [...Object.values(filterChains), canaryChain],
  nat: [...Object.values(natChains), canaryChain],
  mangle: [canaryChain],
};

/** The chains that are there before any Service: `nat KUBE-SERVICES`. */
export const sharedChains: ReadonlySet<string> = new Set(
  tables.flatMap((table) => ofTable[table].map((chain) => `${table} ${chain}`)),
);

/**
 * What takes our chains out of these tables, but for those of `kept` (`nat KUBE-SERVICES`), which another mode has made
 * its own; nothing where they are not ours but those of a kube-proxy. Rules of other chains that lead to one that goes
 * go with it. Pure.
 */
export function removal(saved: Saved, kept: ReadonlySet<string>): TableChange[] {
  const marks = saved.get('mangle')?.chains.get(canaryChain) ?? [];
  if (!marks.some((rule) => rule.includes(ownMark))) return [];
  const isKubelets = saved.get('mangle')?.chains.has(kubeletCanary) === true;
  return tables.flatMap((table): TableChange[] => {
    const chains = saved.get(table)?.chains ?? new Map<string, readonly string[]>();
    const going = new Set(
      [...chains.keys()].filter(
        (chain) =>
          (ofTable[table].includes(chain) || (table === 'nat' && isServiceChain(chain))) &&
          !kept.has(`${table} ${chain}`) &&
          !(chain === filterChains.localnet && isKubelets),
      ),
    );
    const removed = [...chains]
      .filter(([chain]) => !going.has(chain))
      .flatMap(([chain, rules]) =>
        rules.filter((rule) => leadsTo(rule, going) !== undefined).map((rule) => ({ chain, rule })),
      );
    return going.size === 0 ? [] : [{ table, chains: [], removed, deleted: [...going] }];
  });
}

/**
 * Takes what this mode ever wrote out of the kernel, but for the chains that are `kept`: in both families, and in every
 * backend that is in use in this network namespace. Throws an IptablesError where iptables refuses.
 */
export async function cleanUpIptables(kept: ReadonlySet<string>): Promise<void> {
  for (const iptables of backendsInUse()) {
    for (const family of ['IPv4', 'IPv6'] as const)
      await restore(iptables, family, removal(await iptables.save(family), kept));
  }
}

/** To ask iptables-legacy makes the tables of ip_tables where there are none. */
function backendsInUse(): Iptables[] {
  return installedBackends()
    .filter((backend) => backend === 'nft' || hasLegacyTables())
    .map(iptablesOf);
}
