// What a table of nftables is made of, without the elements of its sets: asked of the kernel itself, since nft(8) reads
// all elements first, which takes seconds and hundreds of megabytes where there are many.
import { attribute, type Message, Netlink, parseAttributes, readText } from './netlink.ts';
import { netfilterProtocol } from './netlink-monitor.ts';
import type { NetnsRef } from './netns.ts';
import type { TableFamily, TableName } from './nft.ts';

export interface TableOutline {
  /** How many rules each chain has. */
  readonly chains: ReadonlyMap<string, number>;
  readonly sets: ReadonlySet<string>;
  /** Equal where chains, hooks, rules and sets are the same ones. */
  readonly fingerprint: string;
}

// linux/netfilter/nf_tables.h. A struct nfgenmsg of 4 bytes, whose first one is the family, comes before the attributes;
// the first attribute of all these objects is the name of their table.
const subsystem = 10 << 8;
const get = { table: 1, chain: 4, rule: 7, set: 10 } as const;
const tableName = 1;
const chainAttribute = { name: 3, hook: 4, policy: 5, type: 7 } as const;
const ruleAttribute = { chain: 2, handle: 3, expressions: 4 } as const;
const setAttribute = { name: 2, flags: 3, keyType: 4, keyLength: 5, dataType: 6, dataLength: 7 } as const;
const families: Readonly<Record<TableFamily, number>> = { inet: 1, ip: 2, bridge: 7, ip6: 10 };

/** The outline of a table (in this process's network namespace where none is given); undefined where there is none. */
export function readOutline(table: TableName, netns?: NetnsRef): TableOutline | undefined {
  using netlink = Netlink.open(netns, netfilterProtocol);
  const body = Buffer.from([families[table.family], 0, 0, 0]);
  const attributes = [attribute(tableName, Buffer.from(`${table.name}\0`))];
  const list = (type: number, what: string): ReadonlyMap<number, Buffer>[] =>
    netlink
      .dump({ type: subsystem | type, body, attributes, what: `listing the ${what} of ${table.family} ${table.name}` })
      .map(attributesOf)
      .filter((found) => readText(found.get(tableName)) === table.name);
  if (list(get.table, 'table').length === 0) return undefined;
  return outlineOf(list(get.chain, 'chains'), list(get.rule, 'rules'), list(get.set, 'sets'));
}

const attributesOf = (message: Message): ReadonlyMap<number, Buffer> => parseAttributes(message.body.subarray(4));

function outlineOf(
  chainList: readonly ReadonlyMap<number, Buffer>[],
  ruleList: readonly ReadonlyMap<number, Buffer>[],
  setList: readonly ReadonlyMap<number, Buffer>[],
): TableOutline {
  const chains = new Map(chainList.map((chain) => [readText(chain.get(chainAttribute.name)) ?? '', 0]));
  for (const rule of ruleList) {
    const chain = readText(rule.get(ruleAttribute.chain)) ?? '';
    chains.set(chain, (chains.get(chain) ?? 0) + 1);
  }
  // Not everything that the kernel tells stays the same: it counts who uses a chain, and the elements of a set.
  const kept = (found: ReadonlyMap<number, Buffer>, types: Readonly<Record<string, number>>): string =>
    Object.values(types)
      .map((type) => found.get(type)?.toString('base64') ?? '')
      .join(' ');
  const lines = [
    ...chainList.map((chain) => `chain ${kept(chain, chainAttribute)}`).sort(),
    // Rules are listed in the order of their chains, and that order counts.
    ...ruleList.map((rule) => `rule ${kept(rule, ruleAttribute)}`),
    ...setList.map((set) => `set ${kept(set, setAttribute)}`).sort(),
  ];
  const sets = new Set(setList.map((set) => readText(set.get(setAttribute.name)) ?? ''));
  return { chains, sets, fingerprint: lines.join('\n') };
}
