// One nftables transaction in another network namespace than the process's, by nft(8).
import { spawnSync } from 'node:child_process';
import { inNetns, type NetnsRef } from './netns.ts';
import { type Change, renderChange, type TableName } from './nft.ts';
import { NftError } from './nft-run.ts';

/** Commits a change in that namespace; all of it or nothing. Throws an NftError. */
export function commitIn(netns: NetnsRef, table: TableName, change: Change): void {
  const input = renderChange(table, change);
  if (input === '') return;
  const result = inNetns(netns, () => spawnSync('nft', ['-f', '-'], { input, encoding: 'utf8' }));
  if (result.error !== undefined)
    throw new NftError(`nft cannot be run (is nftables installed?): ${result.error.message}`);
  if (result.status !== 0) throw new NftError(result.stderr.trim());
}
