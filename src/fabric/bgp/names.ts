// Texts that BIRD takes: names of its protocols, passwords. Pure.
import { createHash } from 'node:crypto';

/** BIRD's strings end at a quotation mark and know no escape; TCP MD5 takes 80 bytes at most. */
export function isPassword(text: string): boolean {
  return /^[\x21\x23-\x7e]([\x20\x21\x23-\x7e]{0,78}[\x21\x23-\x7e])?$/.test(text);
}

export const passwordRule =
  'must be 1 to 80 printable ASCII characters without quotation marks, and no space at its ends';

const longestSymbol = 60;

/** A name for BIRD, which takes 64 bytes: a longer one ends with a hash in place of its end. */
export function symbol(text: string, suffix = ''): string {
  if (text.length + suffix.length <= longestSymbol) return `${text}${suffix}`;
  const hash = createHash('sha256').update(text).digest('hex').slice(0, 10);
  return `${text.slice(0, longestSymbol - suffix.length - hash.length - 1)}-${hash}${suffix}`;
}
