// The rules of iptables in a network namespace with their counters, by iptables-save(8).
import { spawnSync } from 'node:child_process';
import type { Family } from '../net/address.ts';
import { inNetns, type NetnsRef } from './netns.ts';

export interface CountedRule {
  /** `nat KUBE-SERVICES`. */
  readonly chain: string;
  /** As iptables-save words it, without the chain's name. */
  readonly text: string;
  readonly packets: number;
  readonly bytes: number;
}

/** All rules of a family, of the backend that has the given chain; none where neither has it. */
export function countedRules(netns: NetnsRef, family: Family, chain: string): CountedRule[] {
  for (const backend of ['nft', 'legacy']) {
    const program = `${family === 'IPv4' ? 'iptables' : 'ip6tables'}-${backend}-save`;
    const options = { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 } as const;
    const result = inNetns(netns, () => spawnSync(program, ['--counters'], options));
    if (result.status !== 0) continue;
    const rules = readCounted(result.stdout);
    if (rules.some((rule) => rule.chain === chain)) return rules;
  }
  return [];
}

/** The rules that `iptables-save --counters` prints. */
export function readCounted(text: string): CountedRule[] {
  let table = '';
  return text.split('\n').flatMap((line): CountedRule[] => {
    if (line.startsWith('*')) table = line.slice(1).trim();
    const [, packets, bytes, chain, rule = ''] = /^\[(\d+):(\d+)\] -A (\S+) ?(.*)$/.exec(line) ?? [];
    if (chain === undefined) return [];
    return [{ chain: `${table} ${chain}`, text: rule, packets: Number(packets), bytes: Number(bytes) }];
  });
}
