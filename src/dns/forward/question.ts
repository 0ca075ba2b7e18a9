// What is asked of an upstream: a question of our own, written anew, so that nothing of a client's message goes out.
import { randomInt } from 'node:crypto';
import type { Name } from '../records.ts';
import { encodeName } from '../wire.ts';

/** A question, and the two wishes of a client that change its answer. */
export interface Asked {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  /** Signatures are wanted (DO, RFC 3225). */
  readonly dnssecOk: boolean;
  /** What cannot be verified is wanted too (CD, RFC 4035). */
  readonly checkingDisabled: boolean;
}

/** Questions with the same key have the same answer. */
export const keyOf = ({ name, type, class: kind, dnssecOk, checkingDisabled }: Asked): string =>
  `${name} ${type} ${kind} ${dnssecOk ? 'D' : ''}${checkingDisabled ? 'C' : ''}`;

/** How large an answer over UDP may be: what passes everywhere without fragments (DNS flag day 2020). */
const udpSize = 1232;

/** The message; its id is random, and a port of its own is what makes it hard to forge (RFC 5452). */
export function writeQuestion(asked: Asked, recursionDesired = true): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt16BE(randomInt(0x10000), 0);
  header.writeUInt16BE((recursionDesired ? 0x0100 : 0) | (asked.checkingDisabled ? 0x0010 : 0), 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const question = Buffer.alloc(4);
  question.writeUInt16BE(asked.type, 0);
  question.writeUInt16BE(asked.class, 2);
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(41, 1);
  opt.writeUInt16BE(udpSize, 3);
  if (asked.dnssecOk) opt.writeUInt16BE(0x8000, 7);
  return Buffer.concat([header, encodeName(asked.name), question, opt]);
}
