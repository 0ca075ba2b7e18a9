// From a message to its answer: reads the query, has the Corefile's plugins answer it, writes the reply.

import type { BlockServer } from './chain/block.ts';
import { type Plan, serverLabel, zoneLabel } from './chain/plan.ts';
import { type ChainReply, type ClientAddress, emptyReply, noUpstream, records } from './chain/reply.ts';
import type { LogOptions } from './corefile/config.ts';
import { writeAnswer } from './forward/answer.ts';
import type { DnsMetrics } from './metrics/metrics.ts';
import { formatEvent, isLogged, type QueryEvent, type QueryLog } from './query-log.ts';
import { type Name, rcode, type } from './records.ts';
import {
  type Header,
  isResponse,
  type Query,
  readHeader,
  readQuery,
  udpSize,
  WireError,
  writeFormatError,
  writeReply,
} from './wire.ts';

export interface ResponderOptions {
  readonly plan: Plan;
  readonly port: number;
  readonly metrics: DnsMetrics;
  readonly queryLog: QueryLog;
  /** Writes a line of the plugin log. */
  print(line: string): void;
  /** Told of each SERVFAIL of a block that has the plugin errors. */
  onServerFailure(name: Name, type: number, reason: string): void;
  /** Told of each name outside of the cluster for which nobody can be asked. */
  onNobody(name: Name, type: number, reason: string): void;
  /** Told of an answer that failed by an error of the server itself. */
  onFailure(error: unknown, name: Name): void;
}

const smallestUdp = 512;
const largestTcp = 65_535;
const stale = { code: 3, text: 'the DNS upstream does not answer; this is what it said before' };

export class Responder {
  readonly #options: ResponderOptions;

  constructor(options: ResponderOptions) {
    this.#options = options;
  }

  /** The answer to a message; undefined where it deserves none. It comes at once where no upstream has to be asked. */
  respond(
    message: Buffer,
    transport: 'udp' | 'tcp',
    client: ClientAddress,
  ): Buffer | undefined | Promise<Buffer | undefined> {
    const header = readHeader(message);
    // An answer to an answer could go back and forth for ever.
    if (header === undefined || isResponse(header)) return undefined;
    const opcode = (header.flags >> 11) & 0xf;
    if (opcode !== 0) return this.#dropped(header, rcode.notImplemented, message, transport, client);
    let query: Query;
    try {
      query = readQuery(message);
    } catch (error) {
      if (error instanceof WireError) return this.#dropped(header, rcode.formatError, message, transport, client);
      throw error;
    }
    const asked = new AskedQuery(this.#options, query, message, transport, client);
    return asked.answer();
  }

  #dropped(header: Header, code: number, message: Buffer, transport: 'udp' | 'tcp', client: ClientAddress): Buffer {
    const answer = writeFormatError(header, code);
    this.#options.metrics.answered({
      server: serverLabel(this.#options.port),
      zone: 'dropped',
      transport,
      family: client.address.includes(':') ? 2 : 1,
      type: 0,
      rcode: code,
      by: '',
      dnssecOk: false,
      size: message.length,
      answerSize: answer.length,
      seconds: 0,
    });
    return answer;
  }
}

/** One query from its reading to its answer. */
class AskedQuery {
  readonly #options: ResponderOptions;
  readonly #query: Query;
  readonly #message: Buffer;
  readonly #transport: 'udp' | 'tcp';
  readonly #client: ClientAddress;
  readonly #begin = performance.now();
  readonly #block: { server: BlockServer; zone: Name } | undefined;

  constructor(
    options: ResponderOptions,
    query: Query,
    message: Buffer,
    transport: 'udp' | 'tcp',
    client: ClientAddress,
  ) {
    this.#options = options;
    this.#query = query;
    this.#message = message;
    this.#transport = transport;
    this.#client = client;
    this.#block = options.plan.blockFor(query.question.name, options.port);
  }

  answer(): Buffer | Promise<Buffer> {
    try {
      const reply = this.#decide();
      if (!(reply instanceof Promise)) return this.#finish(reply);
      return reply.then(
        (given) => this.#finish(given),
        (error: unknown) => this.#failed(error),
      );
    } catch (error) {
      return this.#failed(error);
    }
  }

  #decide(): ChainReply | Promise<ChainReply> {
    const { question, edns } = this.#query;
    if (edns !== undefined && edns.version > 0) return records('', emptyReply(rcode.badVersion));
    if (question.type === type.AXFR || question.type === type.IXFR) return records('', emptyReply(rcode.refused));
    if (this.#block === undefined) return records('', emptyReply(rcode.refused));
    return this.#block.server.answer({
      name: question.name,
      type: question.type,
      class: question.class,
      dnssecOk: edns?.dnssecOk ?? false,
      checkingDisabled: (this.#message.readUInt16BE(2) & 0x0010) !== 0,
      transport: this.#transport,
      client: this.#client,
      depth: 0,
    });
  }

  /** A name that no message can carry, or an error of the server, is a failure of this answer alone. */
  #failed(error: unknown): Buffer {
    if (!(error instanceof WireError)) {
      this.#options.metrics.panics.value++;
      this.#options.onFailure(error, this.#query.question.name);
    }
    return this.#finish(records('', emptyReply(rcode.serverFailure)));
  }

  #finish(reply: ChainReply): Buffer {
    let answer: Buffer;
    try {
      answer = this.#write(reply);
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      return this.#finish(records('', emptyReply(rcode.serverFailure)));
    }
    this.#note(reply, answer);
    return answer;
  }

  #write(reply: ChainReply): Buffer {
    const { edns } = this.#query;
    const limit = this.#transport === 'tcp' ? largestTcp : Math.max(smallestUdp, Math.min(edns?.size ?? 0, udpSize));
    if (reply.kind === 'records') return writeReply(this.#query, reply.reply, limit);
    const { answer, ttl, stale: isStale } = reply.cached;
    return writeAnswer(answer, this.#query, { limit, ttl, turn: reply.turn, ...(isStale && { explanation: stale }) });
  }

  #note(reply: ChainReply, answer: Buffer): void {
    const { metrics, queryLog, port } = this.#options;
    const { question, edns } = this.#query;
    const code = reply.kind === 'records' ? reply.reply.rcode : reply.cached.answer.rcode;
    const seconds = (performance.now() - this.#begin) / 1000;
    const common = {
      transport: this.#transport,
      type: question.type,
      rcode: code,
      by: reply.by,
      dnssecOk: edns?.dnssecOk ?? false,
      size: this.#message.length,
      answerSize: answer.length,
      seconds,
    } as const;
    const family = this.#client.address.includes(':') && !this.#client.address.startsWith('::ffff:') ? 2 : 1;
    const zone = this.#block === undefined ? 'dropped' : zoneLabel(this.#block.zone);
    metrics.answered({ ...common, server: serverLabel(port), zone, family });
    if (reply.by === 'autopath' && code === rcode.noError) metrics.autopath.value++;
    if (code === rcode.serverFailure && this.#block?.server.parts.block.errors === true) {
      const reason = reply.kind === 'records' ? reply.reply.explanation?.text : 'the DNS upstream says SERVFAIL';
      this.#options.onServerFailure(question.name, question.type, reason ?? 'the server failed');
    }
    if (reply.kind === 'records' && reply.reply.explanation?.text === noUpstream)
      this.#options.onNobody(question.name, question.type, noUpstream);
    const logs = this.#block?.server.parts.block.logs ?? [];
    if (logs.length === 0 && !queryLog.active) return;
    const event: QueryEvent = {
      ...common,
      time: Date.now(),
      client: this.#client,
      id: this.#query.id,
      opcode: this.#query.opcode,
      name: question.name,
      class: question.class,
      bufferSize: edns?.size ?? smallestUdp,
      flags: answer.readUInt16BE(2),
      answers: answer.readUInt16BE(6),
      ...(reply.kind === 'message' && { from: reply.cached.from }),
    };
    queryLog.add(event);
    this.#print(logs, event);
  }

  #print(logs: readonly LogOptions[], event: QueryEvent): void {
    for (const log of logs) if (isLogged(log, event)) this.#options.print(formatEvent(log.format, event));
  }
}
