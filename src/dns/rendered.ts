// Answers that are written already but for what is the client's own: its id, its spelling of the name, its EDNS.
import { classInternet, type DnsRecord, type as typeCode } from './records.ts';
import type { Resolution } from './resolve.ts';
import { questionEnd, readQuery, readRecords, writeReply } from './wire.ts';

/** What follows the question of a whole answer. Names in it point back at most to the question, whose length is known. */
export interface RenderedAnswer {
  readonly rcode: number;
  /** The answer section. */
  readonly answers: Buffer;
  /** Where each of its records ends. */
  readonly ends: readonly number[];
  /** The records may change places: each client gets another one first. */
  readonly rotates: boolean;
  /** The authority and the additional section without OPT, and how many records they have. */
  readonly rest: Buffer;
  readonly authorities: number;
  readonly additionals: number;
  /** Where in `rest` the serial number of the zone is; -1 where it has none. */
  readonly serialAt: number;
  /** What comes next in turn. */
  turn: number;
}

/**
 * Writes an answer in advance. `question` is one question with this name and type; all others of the same name and type
 * may be given the same octets after theirs. Undefined where the answer is not complete in itself.
 */
export function render(question: Buffer, found: Resolution): RenderedAnswer | undefined {
  if (found.chase !== undefined || found.answers.some(({ data }) => data.type === 'CNAME')) return undefined;
  const header = Buffer.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  const query = readQuery(Buffer.concat([header, question]));
  const message = writeReply(query, { ...found, authoritative: true, recursionAvailable: false }, 65_535);
  const start = questionEnd(message);
  const counts = [found.answers.length, found.authorities.length, found.additionals.length] as const;
  if (counts.some((count, index) => message.readUInt16BE(6 + 2 * index) !== count)) return undefined;
  const ends = readRecords(message, start, counts[0]).map(({ ttlAt, data }) => ttlAt + 6 + data.length - start);
  const answers = message.subarray(start, start + (ends.at(-1) ?? 0));
  const rest = message.subarray(start + answers.length);
  const soa = readRecords(message, start + answers.length, counts[1]).find(({ type }) => type === typeCode.SOA);
  return {
    rcode: found.rcode,
    answers: Buffer.from(answers),
    ends,
    rotates: ends.length > 1 && found.answers.every(isMovable),
    rest: Buffer.from(rest),
    authorities: counts[1],
    additionals: counts[2],
    // The last five numbers of a SOA record are the serial and the timers.
    serialAt: soa === undefined ? -1 : soa.ttlAt + 6 + soa.data.length - 20 - start - answers.length,
    turn: 0,
  };
}

/** Records whose data has no compressed name: none of them refers to the place of another one. */
const isMovable = ({ data }: DnsRecord): boolean => data.type === 'A' || data.type === 'AAAA' || data.type === 'SRV';

/** Where and for whom an answer is written. */
export interface AnswerPlace {
  /** The memory that has the query at `query`, its question ending at `questionEnd`. */
  readonly memory: Buffer;
  readonly query: number;
  readonly questionEnd: number;
  readonly out: Buffer;
  readonly at: number;
  /** How long the answer may be. */
  readonly limit: number;
  readonly edns: boolean;
  readonly recursionAvailable: boolean;
  readonly serial: number;
}

/** OPT of an answer: 1232 octets, version 0, no flags, no options. */
const opt = Buffer.from([0, 0, typeCode.OPT, 1232 >> 8, 1232 & 0xff, 0, 0, 0, 0, 0, 0]);

/** Writes the answer for one client; its length. */
export function writeRendered(answer: RenderedAnswer, place: AnswerPlace): number {
  const { memory, query, out, at } = place;
  const questionLength = place.questionEnd - query;
  const room = place.limit - questionLength - (place.edns ? opt.length : 0);
  const shift = answer.rotates ? answer.turn++ % answer.ends.length : 0;
  const isWhole = answer.answers.length + answer.rest.length <= room;
  out.set(memory.subarray(query, place.questionEnd), at);
  let end = at + questionLength;
  let count = answer.ends.length;
  let isCut = false;
  if (answer.answers.length <= room) {
    const from = shift === 0 ? 0 : (answer.ends[shift - 1] ?? 0);
    if (from === 0) out.set(answer.answers, end);
    else {
      out.set(answer.answers.subarray(from), end);
      out.set(answer.answers.subarray(0, from), end + answer.answers.length - from);
    }
    end += answer.answers.length;
  } else {
    isCut = true;
    ({ end, count } = writeSome(answer, shift, out, end, room));
  }
  const rest = isWhole && !isCut;
  if (rest) {
    out.set(answer.rest, end);
    if (answer.serialAt >= 0) out.writeUInt32BE(place.serial >>> 0, end + answer.serialAt);
    end += answer.rest.length;
  }
  if (place.edns) {
    out.set(opt, end);
    end += opt.length;
  }
  // Negative answers without their SOA would be cut too; as it always fits 512 octets, that cannot be.
  writeHeader(out, at, [
    ((memory[query + 2] ?? 0) & 0x79) | 0x84 | (isCut ? 0x02 : 0),
    ((memory[query + 3] ?? 0) & 0x10) | (place.recursionAvailable ? 0x80 : 0) | answer.rcode,
    count,
    rest ? answer.authorities : 0,
    (rest ? answer.additionals : 0) + (place.edns ? 1 : 0),
  ]);
  return end - at;
}

/** As many records as fit, from one on. */
function writeSome(answer: RenderedAnswer, shift: number, out: Buffer, start: number, room: number) {
  let end = start;
  let count = 0;
  for (; count < answer.ends.length; count++) {
    const index = (shift + count) % answer.ends.length;
    const [from, to] = [answer.ends[index - 1] ?? 0, answer.ends[index] ?? 0];
    if (end - start + to - from > room) break;
    out.set(answer.answers.subarray(from, to), end);
    end += to - from;
  }
  return { end, count };
}

function writeHeader(
  out: Buffer,
  at: number,
  [high, low, answers, authorities, additionals]: readonly [number, number, number, number, number],
): void {
  out[at + 2] = high;
  out[at + 3] = low;
  out[at + 4] = 0;
  out[at + 5] = 1;
  out[at + 6] = answers >> 8;
  out[at + 7] = answers & 0xff;
  out[at + 8] = 0;
  out[at + 9] = authorities;
  out[at + 10] = additionals >> 8;
  out[at + 11] = additionals & 0xff;
}

/** The question of that name and type, as an answer is written for in advance. */
export const questionOf = (name: Buffer, qtype: number): Buffer =>
  Buffer.concat([name, Buffer.from([qtype >> 8, qtype & 0xff, 0, classInternet])]);
