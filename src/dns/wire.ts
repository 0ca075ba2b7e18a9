// The wire format of DNS: reads queries, writes answers with compressed names. Never trusts a length. RFC 1035 §4.
import { familyOf, ipToBigInt } from '../net/address.ts';
import { type DnsRecord, type Name, type Question, type RecordData, type as typeCode } from './records.ts';

const headerLength = 12;
const classIn = 1;
const maximumName = 255;
const flagResponse = 0x8000;
const flagAuthoritative = 0x0400;
const flagTruncated = 0x0200;
const flagRecursionDesired = 0x0100;
const flagRecursionAvailable = 0x0080;
const flagCheckingDisabled = 0x0010;

/** A message that does not keep the format; it is answered with FORMERR where its header could be read. */
export class WireError extends Error {
  override readonly name = 'WireError';
}

export interface Edns {
  /** How large an answer over UDP the client takes. */
  readonly size: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

export interface Query {
  readonly id: number;
  readonly opcode: number;
  readonly recursionDesired: boolean;
  readonly checkingDisabled: boolean;
  readonly question: Question;
  readonly edns?: Edns;
}

/** The parts of a header that can be answered even when the rest cannot be read. */
export interface Header {
  readonly id: number;
  readonly flags: number;
  readonly questions: number;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
}

export const isResponse = (header: Header): boolean => (header.flags & flagResponse) !== 0;

/** The header, or undefined where the message is too short for one. */
export function readHeader(message: Buffer): Header | undefined {
  if (message.length < headerLength) return undefined;
  const at = (index: number): number => message.readUInt16BE(index * 2);
  return { id: at(0), flags: at(1), questions: at(2), answers: at(3), authorities: at(4), additionals: at(5) };
}

/** The name at an offset (labels joined by dots, in lower case) and where it ends; follows compression backwards only. */
export function readName(message: Buffer, start: number): { name: Name; end: number } {
  const labels: string[] = [];
  let length = 1;
  let at = start;
  let end = -1;
  let limit = start;
  for (;;) {
    const size = message[at];
    if (size === undefined) throw new WireError('a name runs past the end of the message');
    if (size === 0) return { name: labels.join('.'), end: end < 0 ? at + 1 : end };
    if ((size & 0xc0) === 0xc0) {
      const low = message[at + 1];
      if (low === undefined) throw new WireError('a name runs past the end of the message');
      const target = ((size & 0x3f) << 8) | low;
      if (end < 0) end = at + 2;
      // Each jump must go further back than all before: loops cannot be.
      if (target >= limit) throw new WireError('a compressed name points forwards');
      limit = target;
      at = target;
      continue;
    }
    if (size > 63) throw new WireError('a label of an unknown kind');
    length += size + 1;
    if (length > maximumName) throw new WireError('a name of more than 255 octets');
    if (at + 1 + size > message.length) throw new WireError('a label runs past the end of the message');
    labels.push(readLabel(message, at + 1, size));
    at += 1 + size;
  }
}

/** A label in lower case. A dot within a label is written `\.`: no name of a table has one. */
function readLabel(message: Buffer, start: number, size: number): string {
  const text = message.toString('latin1', start, start + size).replace(/[A-Z]/g, (letter) => letter.toLowerCase());
  return text.replace(/[.\\]/g, '\\$&');
}

/** One record's place in a message. */
export interface RecordPlace {
  readonly name: Name;
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  /** Where its TTL is written. */
  readonly ttlAt: number;
  readonly data: Buffer;
}

/** The query; throws a WireError. More than one question is a format error, as in every server. */
export function readQuery(message: Buffer): Query {
  const header = readHeader(message);
  if (header === undefined) throw new WireError('a message shorter than its header');
  if (header.questions !== 1) throw new WireError(`${header.questions} questions in one message`);
  const { name, end } = readName(message, headerLength);
  if (end + 4 > message.length) throw new WireError('the question is cut off');
  const opt = readRecords(message, end + 4, header.answers + header.authorities + header.additionals).find(
    (record) => record.type === typeCode.OPT,
  );
  return {
    id: header.id,
    opcode: (header.flags >> 11) & 0xf,
    recursionDesired: (header.flags & flagRecursionDesired) !== 0,
    checkingDisabled: (header.flags & flagCheckingDisabled) !== 0,
    question: {
      name,
      type: message.readUInt16BE(end),
      class: message.readUInt16BE(end + 2),
      raw: message.subarray(headerLength, end + 4),
    },
    ...(opt === undefined
      ? {}
      : { edns: { size: opt.class, version: (opt.ttl >>> 16) & 0xff, dnssecOk: (opt.ttl & 0x8000) !== 0 } }),
  };
}

/** The records after the question. */
export function readRecords(message: Buffer, start: number, count: number): RecordPlace[] {
  const records: RecordPlace[] = [];
  let at = start;
  for (let index = 0; index < count; index++) {
    const { name, end } = readName(message, at);
    if (end + 10 > message.length) throw new WireError('a record is cut off');
    const length = message.readUInt16BE(end + 8);
    if (end + 10 + length > message.length) throw new WireError('the data of a record is cut off');
    records.push({
      name,
      type: message.readUInt16BE(end),
      class: message.readUInt16BE(end + 2),
      ttl: message.readUInt32BE(end + 4),
      ttlAt: end + 4,
      data: message.subarray(end + 10, end + 10 + length),
    });
    at = end + 10 + length;
  }
  return records;
}

/** Where the records of a message with one question begin. */
export const questionEnd = (message: Buffer): number => readName(message, headerLength).end + 4;

export interface Reply {
  readonly rcode: number;
  readonly authoritative: boolean;
  readonly recursionAvailable: boolean;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** An explanation for people (RFC 8914), sent to clients that speak EDNS. */
  readonly explanation?: { readonly code: number; readonly text: string };
}

/** How large an answer over UDP is at most: what fits an IPv6 packet of the smallest MTU (DNS flag day 2020). */
export const udpSize = 1232;

/**
 * The answer to a query in at most `limit` octets. What does not fit is left out: first additional records (no harm),
 * then answers, and TC says so.
 */
export function writeReply(query: Query, reply: Reply, limit: number): Buffer {
  const writer = new Writer(query.question.raw);
  const opt = query.edns === undefined ? undefined : optRecord(reply);
  const room = limit - (opt?.length ?? 0);
  let truncated = false;
  const put = (records: readonly DnsRecord[], needed: boolean): number => {
    let count = 0;
    for (const record of truncated ? [] : records) {
      if (!writer.record(record, room)) {
        if (needed) truncated = true;
        break;
      }
      count++;
    }
    return count;
  };
  const counts = [put(reply.answers, true), put(reply.authorities, true), put(reply.additionals, false)];
  const message = writer.finish(opt);
  const flags =
    flagResponse |
    (query.opcode << 11) |
    (reply.authoritative ? flagAuthoritative : 0) |
    (truncated ? flagTruncated : 0) |
    (query.recursionDesired ? flagRecursionDesired : 0) |
    (reply.recursionAvailable ? flagRecursionAvailable : 0) |
    // RFC 4035 §3.1.6: copied.
    (query.checkingDisabled ? flagCheckingDisabled : 0) |
    (reply.rcode & 0xf);
  const fields = [query.id, flags, 1, counts[0] ?? 0, counts[1] ?? 0, (counts[2] ?? 0) + (opt === undefined ? 0 : 1)];
  for (const [index, value] of fields.entries()) message.writeUInt16BE(value, index * 2);
  return message;
}

/** An answer that is only a header: for a message that could not be read. */
export function writeFormatError(header: Header, code: number): Buffer {
  const message = Buffer.alloc(headerLength);
  message.writeUInt16BE(header.id, 0);
  message.writeUInt16BE(flagResponse | (header.flags & (0x7800 | flagRecursionDesired)) | code, 2);
  return message;
}

function optRecord(reply: Reply): Buffer {
  const text = reply.explanation === undefined ? undefined : Buffer.from(reply.explanation.text);
  const option = Buffer.alloc(text === undefined ? 0 : 6 + text.length);
  if (text !== undefined && reply.explanation !== undefined) {
    option.writeUInt16BE(15, 0);
    option.writeUInt16BE(2 + text.length, 2);
    option.writeUInt16BE(reply.explanation.code, 4);
    text.copy(option, 6);
  }
  const record = Buffer.alloc(11);
  record.writeUInt16BE(typeCode.OPT, 1);
  record.writeUInt16BE(udpSize, 3);
  record.writeUInt8((reply.rcode >> 4) & 0xff, 5);
  record.writeUInt16BE(option.length, 9);
  return Buffer.concat([record, option]);
}

/** A whole query for a name, with EDNS; for asking an upstream, and for tests. */
export function writeQuery(id: number, name: Name, qtype: number): Buffer {
  const question = Buffer.concat([encodeName(name), Buffer.from([qtype >> 8, qtype & 0xff, 0, 1])]);
  const header = Buffer.alloc(headerLength);
  header.writeUInt16BE(id, 0);
  header.writeUInt16BE(flagRecursionDesired, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(1, 10);
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(typeCode.OPT, 1);
  opt.writeUInt16BE(udpSize, 3);
  return Buffer.concat([header, question, opt]);
}

/** A name without compression. */
export function encodeName(name: Name): Buffer {
  const labels = name === '' ? [] : name.split('.');
  return Buffer.concat([
    ...labels.map((label) => {
      const octets = Buffer.from(label, 'latin1');
      if (octets.length === 0 || octets.length > 63) throw new WireError(`'${label}' is no label of a domain name`);
      return Buffer.concat([Buffer.from([octets.length]), octets]);
    }),
    Buffer.from([0]),
  ]);
}

/** Writes a message after its question; names are compressed to where they, or their ends, were written before. */
class Writer {
  #buffer = Buffer.allocUnsafe(512);
  #length = headerLength;
  readonly #offsets = new Map<Name, number>();

  constructor(question: Buffer) {
    this.#reserve(question.length);
    question.copy(this.#buffer, headerLength);
    this.#length += question.length;
    for (let at = headerLength; (this.#buffer[at] ?? 0) !== 0; at += (this.#buffer[at] ?? 0) + 1)
      this.#offsets.set(readName(this.#buffer, at).name, at);
  }

  /** Adds a record, unless the message would be longer than the limit. */
  record({ name, ttl, data, class: recordClass = classIn }: DnsRecord, limit: number): boolean {
    const start = this.#length;
    this.#name(name);
    this.#reserve(10);
    this.#u16(typeCode[data.type]);
    this.#u16(recordClass);
    this.#u32(ttl);
    const lengthAt = this.#length;
    this.#u16(0);
    this.#data(data);
    this.#buffer.writeUInt16BE(this.#length - lengthAt - 2, lengthAt);
    if (this.#length <= limit) return true;
    this.#length = start;
    for (const [known, at] of this.#offsets) if (at >= start) this.#offsets.delete(known);
    return false;
  }

  finish(opt: Buffer | undefined): Buffer {
    const body = this.#buffer.subarray(0, this.#length);
    return Buffer.concat(opt === undefined ? [body] : [body, opt]);
  }

  #data(data: RecordData): void {
    switch (data.type) {
      case 'A':
      case 'AAAA':
        this.#octets(addressOctets(data.ip));
        break;
      case 'CNAME':
      case 'PTR':
      case 'NS':
        this.#name(data.target);
        break;
      case 'SRV':
        this.#u16(data.priority);
        this.#u16(data.weight);
        this.#u16(data.port);
        // RFC 2782: the target of an SRV record is not compressed.
        this.#octets(encodeName(data.target));
        break;
      case 'TXT': {
        const text = Buffer.from(data.text).subarray(0, 255);
        this.#octets(Buffer.concat([Buffer.from([text.length]), text]));
        break;
      }
      case 'HINFO':
        for (const part of [data.cpu, data.os].map((text) => Buffer.from(text).subarray(0, 255)))
          this.#octets(Buffer.concat([Buffer.from([part.length]), part]));
        break;
      case 'SOA':
        this.#name(data.mname);
        this.#name(data.rname);
        this.#u32(data.serial);
        for (const timer of data.timers) this.#u32(timer);
    }
  }

  #name(name: Name): void {
    let rest = name;
    while (rest !== '') {
      const known = this.#offsets.get(rest);
      if (known !== undefined) {
        this.#u16(0xc000 | known);
        return;
      }
      if (this.#length < 0x4000) this.#offsets.set(rest, this.#length);
      const dot = rest.indexOf('.');
      const label = dot < 0 ? rest : rest.slice(0, dot);
      if (label.length === 0 || label.length > 63) throw new WireError(`'${name}' is no domain name`);
      this.#octets(Buffer.from([label.length]));
      this.#octets(Buffer.from(label, 'latin1'));
      rest = dot < 0 ? '' : rest.slice(dot + 1);
    }
    this.#octets(Buffer.from([0]));
  }

  #octets(octets: Buffer): void {
    this.#reserve(octets.length);
    octets.copy(this.#buffer, this.#length);
    this.#length += octets.length;
  }

  #u16(value: number): void {
    this.#reserve(2);
    this.#length = this.#buffer.writeUInt16BE(value, this.#length);
  }

  #u32(value: number): void {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value >>> 0, this.#length);
  }

  #reserve(more: number): void {
    if (this.#length + more <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(Math.max(this.#buffer.length * 2, this.#length + more));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}

function addressOctets(ip: Parameters<typeof ipToBigInt>[0]): Buffer {
  const size = familyOf(ip) === 'IPv4' ? 4 : 16;
  return Buffer.from(
    ipToBigInt(ip)
      .toString(16)
      .padStart(size * 2, '0'),
    'hex',
  );
}
