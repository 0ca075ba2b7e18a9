// Asks upstream servers what is none of ours: one after the other, equal questions once, answers kept for a short time.
import { randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { connect, isIP } from 'node:net';
import type { Question } from './records.ts';
import { type as typeCode } from './records.ts';
import { isResponse, isTruncated, questionEnd, type RecordPlace, readHeader, readName, readRecords } from './wire.ts';

export interface Upstream {
  readonly address: string;
  readonly port: number;
}

/** An upstream as `10.0.0.53`, `10.0.0.53:5353`, `fd00::53` or `[fd00::53]:5353`; throws a RangeError otherwise. */
export function parseUpstream(text: string): Upstream {
  const match = /^(?:\[([^\]]+)\]|([^:]+|[^[\]]*:[^[\]]*:[^[\]]*))(?::(\d{1,5}))?$/.exec(text.trim());
  const address = match?.[1] ?? match?.[2] ?? '';
  const port = match?.[3] === undefined ? 53 : Number(match[3]);
  if (isIP(address) === 0 || port < 1 || port > 65_535)
    throw new RangeError(`'${text}' is not a DNS server such as 10.0.0.53 or 10.0.0.53:5353`);
  return { address, port };
}

interface Kept {
  readonly message: Buffer;
  readonly places: readonly RecordPlace[];
  readonly storedAt: number;
  readonly expiresAt: number;
}

const longestTtl = 30;
const negativeTtl = 5;
const largestCache = 4096;
const largestPending = 1000;

/** Forwards whole messages; none of them is changed but for its id, the question's letter case and the ages of records. */
export class Forwarder {
  readonly #upstreams: readonly Upstream[];
  readonly #timeout: number;
  readonly #now: () => number;
  readonly #kept = new Map<string, Kept>();
  readonly #pending = new Map<string, Promise<Buffer | undefined>>();

  constructor(upstreams: readonly Upstream[], options: { timeoutMilliseconds?: number; now?: () => number } = {}) {
    this.#upstreams = upstreams;
    this.#timeout = options.timeoutMilliseconds ?? 2000;
    this.#now = options.now ?? Date.now;
  }

  get enabled(): boolean {
    return this.#upstreams.length > 0;
  }

  /** The answer to a query message, or undefined when no upstream gave one. */
  async ask(query: Buffer, question: Question, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    // Two queries are equal when everything after the id and the name's letter case is.
    const rest = query.subarray(12 + question.raw.length).toString('latin1');
    const key = `${transport} ${query.readUInt16BE(2)} ${question.name} ${question.type} ${question.class} ${rest}`;
    const kept = this.#kept.get(key);
    if (kept !== undefined && kept.expiresAt > this.#now()) return personal(aged(kept, this.#now()), query, question);
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      if (this.#pending.size >= largestPending) return undefined;
      pending = this.#askAll(query, question, transport).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
      void pending.then((answer) => this.#keep(key, answer));
    }
    const answer = await pending;
    return answer === undefined ? undefined : personal(Buffer.from(answer), query, question);
  }

  async #askAll(query: Buffer, question: Question, transport: 'udp' | 'tcp'): Promise<Buffer | undefined> {
    for (const upstream of this.#upstreams) {
      const own = Buffer.from(query);
      own.writeUInt16BE(randomInt(0x10000), 0);
      const answer = await (transport === 'udp'
        ? askUdp(own, question, upstream, this.#timeout)
        : askTcp(own, question, upstream, this.#timeout));
      // SERVFAIL and REFUSED say that this upstream cannot; another one may.
      const code = answer === undefined ? 2 : (answer[3] ?? 2) & 0xf;
      if (answer !== undefined && (code === 0 || code === 3 || upstream === this.#upstreams.at(-1))) return answer;
    }
    return undefined;
  }

  #keep(key: string, message: Buffer | undefined): void {
    const header = message === undefined ? undefined : readHeader(message);
    if (message === undefined || header === undefined || isTruncated(header)) return;
    const code = header.flags & 0xf;
    if (code !== 0 && code !== 3) return;
    const count = header.answers + header.authorities + header.additionals;
    const places = readRecords(message, questionEnd(message), count).filter(({ type }) => type !== typeCode.OPT);
    const limit = header.answers === 0 ? negativeTtl : longestTtl;
    const seconds = places.reduce((least, { ttl }) => Math.min(least, ttl), limit);
    if (seconds <= 0) return;
    const storedAt = this.#now();
    // A Map keeps the order of insertion: the first key is the oldest.
    const oldest = this.#kept.size >= largestCache ? this.#kept.keys().next().value : undefined;
    if (oldest !== undefined) this.#kept.delete(oldest);
    this.#kept.delete(key);
    this.#kept.set(key, { message, places, storedAt, expiresAt: storedAt + seconds * 1000 });
  }
}

function aged({ message, places, storedAt }: Kept, now: number): Buffer {
  const copy = Buffer.from(message);
  const seconds = Math.floor((now - storedAt) / 1000);
  for (const { ttl, ttlAt } of places) copy.writeUInt32BE(Math.max(0, ttl - seconds), ttlAt);
  return copy;
}

/** With the id and the question as this client wrote them. */
function personal(answer: Buffer, query: Buffer, question: Question): Buffer {
  query.copy(answer, 0, 0, 2);
  question.raw.copy(answer, 12);
  return answer;
}

/** Whether a message answers the query: same id, same question. Others are forged, or late. */
function answers(message: Buffer, query: Buffer, question: Question): boolean {
  const header = readHeader(message);
  if (header === undefined || !isResponse(header) || header.id !== query.readUInt16BE(0)) return false;
  if (header.questions !== 1) return false;
  try {
    const { name, end } = readName(message, 12);
    const same = name === question.name && end + 4 === 12 + question.raw.length;
    if (!same || message.readUInt16BE(end) !== question.type) return false;
    readRecords(message, end + 4, header.answers + header.authorities + header.additionals);
    return true;
  } catch {
    return false;
  }
}

/** One question from a port of its own, which an attacker would have to guess. */
function askUdp(query: Buffer, question: Question, to: Upstream, timeout: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = createSocket(isIP(to.address) === 6 ? 'udp6' : 'udp4');
    const end = (answer?: Buffer): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(end, timeout);
    socket.on('message', (message) => {
      if (answers(message, query, question)) end(message);
    });
    socket.on('error', () => end());
    socket.connect(to.port, to.address, () => socket.send(query));
  });
}

function askTcp(query: Buffer, question: Question, to: Upstream, timeout: number): Promise<Buffer | undefined> {
  return new Promise((resolve) => {
    const socket = connect(to.port, to.address);
    let received = Buffer.alloc(0);
    const end = (answer?: Buffer): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(answer);
    };
    const timer = setTimeout(end, timeout);
    socket.on('error', () => end());
    socket.on('close', () => end());
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      const message = received.subarray(2, 2 + received.readUInt16BE(0));
      end(answers(message, query, question) ? message : undefined);
    });
    socket.write(framed(query));
  });
}

/** A message as TCP carries it: its length before it. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
