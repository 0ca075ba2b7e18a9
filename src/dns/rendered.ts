// Answers that are written already but for what is the client's own: its id, its spelling of the name, its EDNS.
import { asIp, familyOf, type Ip, ipToBigInt } from '../net/address.ts';
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

const nothing = Buffer.alloc(0);
const lengthOf = { IPv4: 4, IPv6: 16 } as const;
/** A record's head when its owner is the name in the question: pointer, type, class, time to live, length. */
const headLength = 12;

/** As {@link render}, for addresses of one family under the name that is asked. */
export function renderAddresses(ips: readonly Ip[], ttl: number): RenderedAnswer {
  const family = familyOf(ips[0] ?? asIp('0.0.0.0'));
  const size = headLength + lengthOf[family];
  const answers = Buffer.allocUnsafe(ips.length * size);
  let at = 0;
  for (const ip of ips) {
    at = answers.writeUInt16BE(0xc00c, at);
    at = answers.writeUInt16BE(family === 'IPv4' ? typeCode.A : typeCode.AAAA, at);
    at = answers.writeUInt16BE(classInternet, at);
    at = answers.writeUInt32BE(ttl, at);
    at = answers.writeUInt16BE(lengthOf[family], at);
    at = writeAddress(answers, at, ip);
  }
  const ends = ips.length === 1 ? oneEnd[family] : ips.map((_, index) => (index + 1) * size);
  const base = { rest: nothing, authorities: 0, additionals: 0, serialAt: -1, turn: 0 };
  return { rcode: 0, answers, ends, rotates: ips.length > 1, ...base };
}

/** Most Services have one address: they share where it ends. */
const oneEnd = { IPv4: [headLength + 4], IPv6: [headLength + 16] } as const;

function writeAddress(out: Buffer, start: number, ip: Ip): number {
  if (familyOf(ip) === 'IPv6') {
    out.write(ipToBigInt(ip).toString(16).padStart(32, '0'), start, 'hex');
    return start + 16;
  }
  let at = start;
  let octet = 0;
  for (let index = 0; index < ip.length; index++) {
    const code = ip.charCodeAt(index);
    if (code === 0x2e) {
      out[at++] = octet;
      octet = 0;
    } else octet = octet * 10 + code - 0x30;
  }
  out[at] = octet;
  return start + 4;
}

/** Records whose data has no compressed name: none of them refers to the place of another one. */
const isMovable = ({ data }: DnsRecord): boolean => data.type === 'A' || data.type === 'AAAA' || data.type === 'SRV';

/** Where and for whom an answer is written. One such object serves all answers: none is made for each. */
export interface AnswerPlace {
  /** The memory that has the query at `query`, its question ending at `questionEnd`. */
  memory: Buffer;
  query: number;
  questionEnd: number;
  out: Buffer;
  at: number;
  /** How long the answer may be. */
  limit: number;
  edns: boolean;
  recursionAvailable: boolean;
  serial: number;
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
  for (let index = 0; index < questionLength; index++) out[at + index] = memory[query + index] ?? 0;
  let end = at + questionLength;
  let count = answer.ends.length;
  let isCut = false;
  if (answer.answers.length <= room) {
    const from = shift === 0 ? 0 : (answer.ends[shift - 1] ?? 0);
    if (from === 0) copy(answer.answers, out, end);
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
    copy(answer.rest, out, end);
    if (answer.serialAt >= 0) writeSerial(out, end + answer.serialAt, place.serial);
    end += answer.rest.length;
  }
  if (place.edns) {
    copy(opt, out, end);
    end += opt.length;
  }
  // Negative answers without their SOA would be cut too; as it always fits 512 octets, that cannot be.
  out[at + 2] = ((memory[query + 2] ?? 0) & 0x79) | 0x84 | (isCut ? 0x02 : 0);
  out[at + 3] = ((memory[query + 3] ?? 0) & 0x10) | (place.recursionAvailable ? 0x80 : 0) | answer.rcode;
  writeCount(out, at + 4, 1);
  writeCount(out, at + 6, count);
  writeCount(out, at + 8, rest ? answer.authorities : 0);
  writeCount(out, at + 10, (rest ? answer.additionals : 0) + (place.edns ? 1 : 0));
  return end - at;
}

/** For a few octets a loop is faster than what copies many. */
const fewOctets = 96;

function copy(from: Buffer, out: Buffer, at: number): void {
  if (from.length > fewOctets) out.set(from, at);
  else for (let index = 0; index < from.length; index++) out[at + index] = from[index] ?? 0;
}

function writeCount(out: Buffer, at: number, count: number): void {
  out[at] = count >> 8;
  out[at + 1] = count & 0xff;
}

function writeSerial(out: Buffer, at: number, serial: number): void {
  out[at] = serial >>> 24;
  out[at + 1] = (serial >>> 16) & 0xff;
  out[at + 2] = (serial >>> 8) & 0xff;
  out[at + 3] = serial & 0xff;
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

/** The question of that name and type, as an answer is written for in advance. */
export const questionOf = (name: Buffer, qtype: number): Buffer =>
  Buffer.concat([name, Buffer.from([qtype >> 8, qtype & 0xff, 0, classInternet])]);
