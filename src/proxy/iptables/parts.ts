// A change of many chains as a sequence of restores, each of them small.
// iptables-restore with the nftables backend keeps the names of all chains that its input names in one sorted list, which
// it walks for each line (cache_chain_list_insert in iptables/nft-cache.c of iptables 1.8): its time grows with the square
// of the chains. 20,000 of them take it half a minute of computing; in parts of 1,000 it is two seconds.
import type { IptablesChain, TableChange } from '../../linux/iptables.ts';
import type { Iptables } from '../../linux/iptables-run.ts';
import { leadsTo } from '../../linux/iptables-save.ts';
import type { Family } from '../../net/address.ts';
import { isServiceChain, natChains } from './chain-names.ts';

/** So many chains a restore: with fewer, starting the program for each becomes what costs. */
const mostChains = 1_000;

/** Hands the changes to iptables: in parts where its backend is slow with many chains at once. */
export async function restore(iptables: Iptables, family: Family, changes: readonly TableChange[]): Promise<void> {
  const parts = iptables.backend === 'nft' ? inParts(changes) : [changes];
  for (const part of parts) await iptables.restore(family, part);
}

/**
 * The same changes, to be handed over one after the other, none of more than `most` chains of Services. After each part
 * whatever a packet can reach is whole: a chain is written after those that it leads to, the ways into the chains of
 * Services come after these, and chains that go are emptied and deleted when nothing leads to them any more.
 */
export function inParts(changes: readonly TableChange[], most = mostChains): (readonly TableChange[])[] {
  const size = changes.reduce((sum, { chains, deleted = [] }) => sum + chains.length + deleted.length, 0);
  if (size <= most) return [changes];
  const before = changes.map(({ table, chains }) => ({ table, chains: chains.filter(isGround) }));
  const within = changes.flatMap(({ table, chains }) =>
    pieces(inOrder(chains.filter(({ name }) => isServiceChain(name))), most).map((piece) => ({ table, chains: piece })),
  );
  const ways = changes.map(({ table, chains, prepended = [], removed = [] }): TableChange => {
    const own = chains.filter((chain) => !isGround(chain) && !isServiceChain(chain.name));
    return { table, chains: own, prepended, removed };
  });
  const going = changes.flatMap(({ table, deleted = [] }) => pieces(deleted, most).map((names) => ({ table, names })));
  return [
    before,
    ...within.map((one) => [one]),
    ways,
    ...going.map(({ table, names }) => [{ table, chains: names.map((name) => ({ name, rules: [] })) }]),
    ...going.map(({ table, names }) => [{ table, chains: [], deleted: names }]),
  ]
    .map((part) => part.filter(saysSomething))
    .filter((part) => part.length > 0);
}

const waysIn: readonly string[] = [natChains.services, natChains.nodePorts];

/** Whether the chain leads to no Service's: chains of Services may lead to it. */
const isGround = ({ name }: IptablesChain): boolean => !isServiceChain(name) && !waysIn.includes(name);

const saysSomething = ({ chains, prepended = [], removed = [], deleted = [] }: TableChange): boolean =>
  [chains, prepended, removed, deleted].some((list) => list.length > 0);

/** Each chain after those that it leads to. */
function inOrder(chains: readonly IptablesChain[]): IptablesChain[] {
  const left = new Map(chains.map((chain) => [chain.name, chain]));
  const names = new Set(left.keys());
  const ordered: IptablesChain[] = [];
  const visit = (chain: IptablesChain): void => {
    left.delete(chain.name);
    for (const rule of chain.rules) {
      const next = left.get(leadsTo(rule, names) ?? '');
      if (next !== undefined) visit(next);
    }
    ordered.push(chain);
  };
  for (const chain of chains) if (left.has(chain.name)) visit(chain);
  return ordered;
}

function pieces<T>(all: readonly T[], most: number): T[][] {
  return Array.from({ length: Math.ceil(all.length / most) }, (_, index) =>
    all.slice(index * most, (index + 1) * most),
  );
}
