// From a message to its answer: reads the query, asks the table or the upstreams, writes the reply.

import { formatIp } from '../net/address.ts';
import { type Forwarder, framed } from './forward.ts';
import { classInternet, type DnsRecord, rcode, type } from './records.ts';
import { type Resolution, resolve, type ZoneView } from './resolve.ts';
import {
  isResponse,
  type Query,
  questionEnd,
  type RecordPlace,
  type Reply,
  readHeader,
  readName,
  readQuery,
  readRecords,
  udpSize,
  WireError,
  writeFormatError,
  writeQuery,
  writeReply,
} from './wire.ts';

export { framed };

export interface ResponderOptions {
  readonly view: ZoneView;
  readonly forwarder: Forwarder;
  /** False until the first complete lists: then names of the zone get SERVFAIL, never a false NXDOMAIN. */
  isSynced(): boolean;
  /** Called with the code of each answer. */
  onAnswer?(code: number): void;
}

const smallestUdp = 512;
const largestTcp = 65_535;

export class Responder {
  readonly #options: ResponderOptions;
  #turn = 0;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The answer to a message; undefined where it deserves none. Answers from the table come at once, without a promise. */
  respond(message: Buffer, transport: 'udp' | 'tcp'): Buffer | undefined | Promise<Buffer | undefined> {
    const header = readHeader(message);
    // An answer to an answer could go back and forth for ever.
    if (header === undefined || isResponse(header)) return undefined;
    if (((header.flags >> 11) & 0xf) !== 0) return this.#count(writeFormatError(header, rcode.notImplemented));
    let query: Query;
    try {
      query = readQuery(message);
    } catch (error) {
      if (error instanceof WireError) return this.#count(writeFormatError(header, rcode.formatError));
      throw error;
    }
    const reply = this.#decide(query);
    const limit = transport === 'tcp' ? largestTcp : Math.max(smallestUdp, Math.min(query.edns?.size ?? 0, udpSize));
    const write = (decided: Reply): Buffer => this.#count(this.#write(query, decided, limit));
    if (reply === 'elsewhere') return this.#forward(message, query, transport, write);
    if ('chase' in reply && reply.chase !== undefined && this.#options.forwarder.enabled)
      return this.#chase(reply, reply.chase, query, write);
    return write({ ...this.#empty(reply.rcode), ...reply, authoritative: reply.authoritative ?? true });
  }

  /** A name that no message can carry (of an upstream's answer) is a failure of this answer alone. */
  #write(query: Query, reply: Reply, limit: number): Buffer {
    try {
      return writeReply(query, reply, limit);
    } catch (error) {
      if (error instanceof WireError) return writeReply(query, this.#empty(rcode.serverFailure), limit);
      throw error;
    }
  }

  #decide(query: Query): (Resolution & Partial<Reply>) | 'elsewhere' {
    const { view, isSynced } = this.#options;
    const { question } = query;
    if (query.edns !== undefined && query.edns.version > 0) return this.#empty(rcode.badVersion);
    if (question.type === type.AXFR || question.type === type.IXFR) return this.#empty(rcode.refused);
    if (question.class !== classInternet && question.class !== type.ANY) return this.#empty(rcode.refused);
    const inZone = question.name === view.zone || question.name.endsWith(`.${view.zone}`);
    if (!isSynced()) {
      const explanation = { code: 14, text: 'the list of Services is not complete yet' };
      return inZone || !this.#options.forwarder.enabled
        ? { ...this.#empty(rcode.serverFailure), explanation }
        : 'elsewhere';
    }
    const found = resolve(view, question.name, question.type);
    if (found !== undefined) return { ...found, answers: this.#rotate(found.answers) };
    if (this.#options.forwarder.enabled) return 'elsewhere';
    // There is nobody to ask. NXDOMAIN is what both resolvers take as final at once: musl does not look at REFUSED and
    // waits for its 5 s to end, and tries again at SERVFAIL; glibc reports both as "temporary failure".
    const explanation = { code: 20, text: 'this cluster has no DNS upstream for names outside of it' };
    return { ...this.#empty(rcode.noSuchName), explanation };
  }

  #empty(code: number): Reply {
    return {
      rcode: code,
      authoritative: false,
      recursionAvailable: this.#options.forwarder.enabled,
      answers: [],
      authorities: [],
      additionals: [],
    };
  }

  /** Addresses take turns in being the first: most clients use that one only. */
  #rotate(answers: readonly DnsRecord[]): readonly DnsRecord[] {
    const aliases = answers.filter(({ data }) => data.type === 'CNAME').length;
    const rest = answers.slice(aliases);
    if (rest.length < 2) return answers;
    const start = this.#turn++ % rest.length;
    return [...answers.slice(0, aliases), ...rest.slice(start), ...rest.slice(0, start)];
  }

  async #forward(
    message: Buffer,
    query: Query,
    transport: 'udp' | 'tcp',
    write: (reply: Reply) => Buffer,
  ): Promise<Buffer> {
    const answer = await this.#options.forwarder.ask(message, query.question, transport);
    if (answer !== undefined) return this.#count(answer);
    const explanation = { code: 22, text: 'no DNS upstream answered' };
    return write({ ...this.#empty(rcode.serverFailure), explanation });
  }

  /** The target of an alias that leads out of the zone, asked upstream: clients want addresses, not a name. */
  async #chase(found: Resolution, target: string, query: Query, write: (reply: Reply) => Buffer): Promise<Buffer> {
    const asked = writeQuery(0, target, query.question.type);
    const raw = asked.subarray(12, questionEnd(asked));
    const question = { name: target, type: query.question.type, class: classInternet, raw };
    const answer = await this.#options.forwarder.ask(asked, question, 'udp');
    const records = answer === undefined ? [] : readAnswers(answer);
    return write({
      ...this.#empty(rcode.noError),
      ...found,
      answers: [...found.answers, ...records],
      authoritative: true,
    });
  }

  #count(answer: Buffer): Buffer {
    this.#options.onAnswer?.((answer[3] ?? 0) & 0xf);
    return answer;
  }
}

/** The aliases and addresses of an upstream's answer. */
function readAnswers(message: Buffer): DnsRecord[] {
  const start = questionEnd(message);
  return readRecords(message, start, readHeader(message)?.answers ?? 0).flatMap((place) => readAnswer(message, place));
}

function readAnswer(message: Buffer, { name, type: code, ttl, ttlAt, data }: RecordPlace): DnsRecord[] {
  if (code === type.CNAME) return [{ name, ttl, data: { type: 'CNAME', target: readName(message, ttlAt + 6).name } }];
  const size = code === type.A ? 4 : code === type.AAAA ? 16 : undefined;
  if (size === undefined || data.length !== size) return [];
  const ip = formatIp(BigInt(`0x${data.toString('hex')}`), size === 4 ? 'IPv4' : 'IPv6');
  return [{ name, ttl, data: { type: size === 4 ? 'A' : 'AAAA', ip } }];
}
