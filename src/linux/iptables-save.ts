// Reads what iptables-save(8) prints. Pure.

/** A table in the kernel. */
export interface SavedTable {
  /** The rules of each chain, in order, in iptables' own wording and without the chain's name. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

/** The tables by name; a table that is not there has no entry. Comments and counters are left out. */
export function readSave(text: string): Map<string, SavedTable> {
  const tables = new Map<string, SavedTable>();
  let chains = new Map<string, string[]>();
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) {
      chains = new Map();
      tables.set(line.slice(1).trim(), { chains });
    } else if (line.startsWith(':')) {
      chains.set(line.slice(1, line.indexOf(' ')), []);
    } else if (line.startsWith('-A ')) {
      const end = line.indexOf(' ', 3);
      const rules = chains.get(end < 0 ? line.slice(3) : line.slice(3, end));
      rules?.push(end < 0 ? '' : line.slice(end + 1));
    }
  }
  return tables;
}

/** The chain that a saved rule leads to; undefined where its target is none of the given chains. */
export function leadsTo(rule: string, chains: ReadonlySet<string>): string | undefined {
  const target = / ?(?:-j|-g) (\S+)/.exec(withoutQuotes(rule))?.[1];
  return target !== undefined && chains.has(target) ? target : undefined;
}

const withoutQuotes = (rule: string): string => rule.replaceAll(/"(?:[^"\\]|\\.)*"/g, '""');
