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

/** nft(8) 1.0.6 ends with a segmentation fault where it is asked for some hundreds of keys at once. */
const mostAtOnce = 50;

/**
 * The elements with these keys, in their order; undefined for one that is not there. Of many keys the whole set is read.
 * Throws an Error where nft cannot be asked.
 */
export function getElements(
  netns: NetnsRef,
  table: TableName,
  set: string,
  keys: readonly ElementText[],
): (HeldElement | undefined)[] {
  const { family, name } = table;
  if (keys.length > mostAtOnce) {
    const whole = (kind: string): string | undefined => ask(netns, ['list', kind, family, name, set]);
    const held = readHeld(whole('map') ?? whole('set') ?? '');
    return keys.map((key) => held.get(key));
  }
  if (keys.length === 0) return [];
  const found = readHeld(ask(netns, ['get', 'element', family, name, set, `{ ${keys.join(', ')} }`]) ?? '');
  // One that is missing makes nft say nothing about the others.
  if (found.size < keys.length && keys.length > 1) return keys.flatMap((key) => getElements(netns, table, set, [key]));
  // nft has an order of its own.
  return keys.map((key) => found.get(key) ?? (keys.length === 1 ? [...found.values()][0] : undefined));
}

/** What nft prints; undefined where it says that there is no such thing. */
function ask(netns: NetnsRef, argv: readonly string[]): string | undefined {
  const result = inNetns(netns, () => spawnSync('nft', argv, { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 }));
  if (result.error !== undefined) throw new Error(`nft cannot be run: ${result.error.message}`);
  if (result.status === 0) return result.stdout;
  if (/No such file or directory/.test(result.stderr)) return undefined;
  throw new Error(`nft ${argv.slice(0, 5).join(' ')}: ${result.stderr.split('\n', 1)[0] || 'it was killed'}`);
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

/** Marks are printed in hexadecimal. */
const inDecimal = (text: string): string => text.replaceAll(/\b0x[0-9a-f]+\b/g, (hex) => String(Number(hex)));
