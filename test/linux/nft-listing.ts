// What nft(8) lists of a table, in a form that is equal for equal tables.
import { spawnSync } from 'node:child_process';
import type { TableName } from '../../src/linux/nft.ts';

/** The table in a named network namespace, by `nft --json`: without handles and rests of lifetimes, elements sorted. */
export function listing(netns: string, { family, name }: TableName): unknown[] {
  const argv = ['netns', 'exec', netns, 'nft', '--json', '--numeric', 'list', 'table', family, name];
  const { stdout, stderr, status } = spawnSync('ip', argv, { encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 });
  if (status !== 0) throw new Error(stderr);
  const { nftables }: { nftables: Record<string, unknown>[] } = JSON.parse(stdout, (key, value: unknown) => {
    if (key === 'handle' || key === 'expires') return undefined;
    return key === 'elem' && Array.isArray(value) ? value.map((one) => JSON.stringify(one)).sort() : value;
  });
  return nftables.filter((entry) => !('metainfo' in entry));
}

/** Runs commands of nft(8) there. */
export function nft(netns: string, script: string): void {
  const { stderr, status } = spawnSync('ip', ['netns', 'exec', netns, 'nft', '-f', '-'], { input: script });
  if (status !== 0) throw new Error(String(stderr));
}
