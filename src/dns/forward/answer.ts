// An upstream's answer: checked, taken from its OPT record, and written again for whoever asked.
import { readPlainRecords, writePlainRecord } from '../message.ts';
import { type as typeCode } from '../records.ts';
import { type Query, questionEnd, type RecordPlace, readHeader, readName, readRecords, udpSize } from '../wire.ts';
import type { Asked } from './question.ts';

/** An answer without its OPT record, which is between two neighbours only (RFC 6891). */
export interface UpstreamAnswer {
  /** Header, question and records. */
  readonly message: Buffer;
  readonly rcode: number;
  readonly truncated: boolean;
  readonly places: readonly RecordPlace[];
  /** How many of the places are answers; the rest is authority and additional. */
  readonly answers: number;
  /** How many messages came before it that answered something else, and were thrown away. */
  readonly dropped?: number;
}

const flagTruncated = 0x0200;

/** The answer in a message, or undefined where the message answers something else: it is forged, late or broken. */
export function readAnswer(message: Buffer, id: number, asked: Asked): UpstreamAnswer | undefined {
  const header = readHeader(message);
  if (header === undefined || (header.flags & 0x8000) === 0 || header.id !== id) return undefined;
  // A server that could not read the question may leave it out: such an answer says nothing of this name.
  if (header.questions !== 1) return undefined;
  try {
    const { name, end } = readName(message, 12);
    if (name !== asked.name || message.readUInt16BE(end) !== asked.type) return undefined;
    if (message.readUInt16BE(end + 2) !== asked.class) return undefined;
    const count = header.answers + header.authorities + header.additionals;
    const places = readRecords(message, end + 4, count);
    const opt = places.findIndex(({ type }) => type === typeCode.OPT);
    const code = (header.flags & 0xf) | (opt < 0 ? 0 : ((places[opt]?.ttl ?? 0) >>> 24) << 4);
    const bare = opt < 0 ? Buffer.from(message) : withoutOpt(message, places, opt);
    const own = opt < 0 ? places : readRecords(bare, end + 4, count - 1);
    return {
      message: bare,
      rcode: code,
      truncated: (header.flags & flagTruncated) !== 0,
      places: own,
      answers: header.answers,
    };
  } catch {
    return undefined;
  }
}

/** The message without OPT. Where it is not the last one (RFC 6891 allows that), all is written again without it. */
function withoutOpt(message: Buffer, places: readonly RecordPlace[], index: number): Buffer {
  const place = places[index];
  const before = places[index - 1];
  const end = questionEnd(message);
  const copy =
    place === undefined || index === places.length - 1
      ? Buffer.from(message.subarray(0, before === undefined ? end : before.ttlAt + 6 + before.data.length))
      : Buffer.concat([
          message.subarray(0, end),
          ...readPlainRecords(message, end, places.length)
            .filter((_, at) => at !== index)
            .map(writePlainRecord),
        ]);
  copy.writeUInt16BE(message.readUInt16BE(10) - 1, 10);
  return copy;
}

export interface AnswerOptions {
  /** The most octets that the client takes; a longer answer is cut to its question and marked as cut. */
  readonly limit: number;
  /** The TTL of each record: what is left of it, or a fixed one. */
  ttl?(original: number): number;
  /** How far the addresses of a name change places, so that each client has another one first. */
  readonly turn?: number;
  /** Why the answer is as it is, for people (RFC 8914). */
  readonly explanation?: { readonly code: number; readonly text: string };
}

/** The answer as this client gets it: with its id, its question in its own letter case, and OPT if it speaks EDNS. */
export function writeAnswer(answer: UpstreamAnswer, query: Query, options: AnswerOptions): Buffer {
  const opt = query.edns === undefined ? Buffer.alloc(0) : optRecord(answer.rcode, query.edns.dnssecOk, options);
  const fits = answer.message.length + opt.length <= options.limit;
  const end = questionEnd(answer.message);
  const message = Buffer.concat([fits ? answer.message : answer.message.subarray(0, end), opt]);
  message.writeUInt16BE(query.id, 0);
  // QR, AA, TC, AD, CD and the code are the upstream's; RD is the client's, RA is ours.
  const flags = answer.message.readUInt16BE(2) & 0x8630;
  const code = answer.rcode & 0xf;
  const own = (query.recursionDesired ? 0x0100 : 0) | 0x0080 | (fits ? 0 : flagTruncated);
  message.writeUInt16BE(flags | own | code, 2);
  if (!fits) message.fill(0, 6, 12);
  message.writeUInt16BE((fits ? message.readUInt16BE(10) : 0) + (opt.length > 0 ? 1 : 0), 10);
  query.question.raw.copy(message, 12);
  if (fits && options.ttl !== undefined)
    for (const { ttl, ttlAt } of answer.places) message.writeUInt32BE(options.ttl(ttl), ttlAt);
  if (fits && (options.turn ?? 0) > 0) rotateAddresses(answer, message, options.turn ?? 0);
  return message;
}

/** Addresses of one name and type have data of the same length: it changes places, and no other octet moves. */
function rotateAddresses({ places, answers }: UpstreamAnswer, message: Buffer, turn: number): void {
  const sets = new Map<string, RecordPlace[]>();
  for (const place of places.slice(0, answers)) {
    if (place.type !== typeCode.A && place.type !== typeCode.AAAA) continue;
    const key = `${place.type} ${place.data.length} ${place.name}`;
    const set = sets.get(key);
    if (set === undefined) sets.set(key, [place]);
    else set.push(place);
  }
  for (const set of sets.values())
    if (set.length > 1)
      for (const [index, { ttlAt }] of set.entries()) set[(index + turn) % set.length]?.data.copy(message, ttlAt + 6);
}

function optRecord(rcode: number, dnssecOk: boolean, { explanation }: AnswerOptions): Buffer {
  const text = Buffer.from(explanation?.text ?? '');
  const option = Buffer.alloc(explanation === undefined ? 0 : 6);
  if (explanation !== undefined) {
    option.writeUInt16BE(15, 0);
    option.writeUInt16BE(2 + text.length, 2);
    option.writeUInt16BE(explanation.code, 4);
  }
  const record = Buffer.alloc(11);
  record.writeUInt16BE(typeCode.OPT, 1);
  record.writeUInt16BE(udpSize, 3);
  record.writeUInt8((rcode >> 4) & 0xff, 5);
  record.writeUInt16BE(dnssecOk ? 0x8000 : 0, 7);
  record.writeUInt16BE(option.length + text.length, 9);
  return Buffer.concat([record, option, text]);
}
