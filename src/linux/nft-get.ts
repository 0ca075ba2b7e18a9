// Looks single elements of nftables up in a network namespace, with their counters, by nft(8).
import { spawnSync } from 'node:child_process';
import { inNetns, type NetnsRef } from './netns.ts';
import type { ElementText, TableName } from './nft.ts';

/** An element as the kernel has it. */
export interface HeldElement {
  /** As nft prints it, numbers in decimal; absent in a set. */
  readonly value?: string;
  /** What met the element, where it counts. */
  readonly packets?: number;
  readonly bytes?: number;
}

/** The elements with these keys, in their order; undefined for one that is not there. */
export function getElements(
  netns: NetnsRef,
  table: TableName,
  set: string,
  keys: readonly ElementText[],
): (HeldElement | undefined)[] {
  if (keys.length === 0) return [];
  const argv = ['get', 'element', table.family, table.name, set, `{ ${keys.join(', ')} }`];
  const result = inNetns(netns, () => spawnSync('nft', argv, { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 }));
  if (result.error !== undefined) throw new Error(`nft cannot be run: ${result.error.message}`);
  if (result.status !== 0 && !/No such file or directory/.test(result.stderr))
    throw new Error(`nft cannot look ${set} up in the table ${table.name}: ${firstLine(result.stderr)}`);
  const found = result.status === 0 ? readHeld(result.stdout) : new Map<string, HeldElement>();
  // One that is missing makes nft say nothing about the others.
  if (found.size < keys.length && keys.length > 1) return keys.flatMap((key) => getElements(netns, table, set, [key]));
  // nft has an order of its own.
  return keys.map((key) => found.get(key) ?? (keys.length === 1 ? [...found.values()][0] : undefined));
}

/** The elements that `nft get element` prints, by their keys. */
export function readHeld(output: string): Map<string, HeldElement> {
  const [, list] = /elements = \{(.*?)\}\s*\}\s*\}\s*$/s.exec(output) ?? [];
  const quoted = /"[^"]*"/g;
  const plain = (list ?? '').replaceAll(quoted, '""').replaceAll(/ comment ""/g, '');
  const texts = plain.split(',').map((text) => inDecimal(text.trim()));
  return new Map(
    texts
      .filter((text) => text !== '')
      .map((text) => {
        const [, packets, bytes] = / counter packets (\d+) bytes (\d+)/.exec(text) ?? [];
        const [key = '', value] = text.replace(/ counter packets \d+ bytes \d+/, '').split(' : ');
        const counted = packets !== undefined && { packets: Number(packets), bytes: Number(bytes) };
        return [key, { ...(value !== undefined && { value }), ...counted }];
      }),
  );
}

const firstLine = (text: string | null): string => text?.split('\n', 1)[0] ?? 'it was killed';

/** Marks are printed in hexadecimal. */
const inDecimal = (text: string): string => text.replaceAll(/\b0x[0-9a-f]+\b/g, (hex) => String(Number(hex)));
