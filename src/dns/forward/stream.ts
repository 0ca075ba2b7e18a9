// Questions over one TCP or TLS connection that is kept: many at once, answers in any order (RFC 7766, RFC 7858).
import { connect, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { readAnswer, type UpstreamAnswer } from './answer.ts';
import { type Asked, writeQuestion } from './question.ts';

export interface StreamTarget {
  readonly address: string;
  readonly port: number;
  readonly tls?: {
    /** The name that the certificate must have; the address itself where absent. */
    readonly serverName?: string;
    readonly ca?: string;
    readonly certificate?: string;
    readonly key?: string;
  };
  /** How long an idle connection is kept, in ms. */
  readonly expireMs: number;
}

interface Waiting {
  readonly asked: Asked;
  readonly resolve: (answer: UpstreamAnswer) => void;
  readonly reject: (error: Error) => void;
}

const connectMs = 2000;

/** One connection to an upstream, made when it is needed and made anew when the other side has closed it. */
export class Stream {
  readonly #target: StreamTarget;
  readonly #onConnection: (reused: boolean) => void;
  #connection: Connection | undefined;

  /** `onConnection` is told for each question whether a connection was there already. */
  constructor(target: StreamTarget, onConnection: (reused: boolean) => void = () => {}) {
    this.#target = target;
    this.#onConnection = onConnection;
  }

  /** Asks. Rejects with the system's error, or when nothing came in time. */
  async ask(asked: Asked, timeoutMs: number, recursionDesired = true): Promise<UpstreamAnswer> {
    const kept = this.#connection;
    if (kept?.usable === true) {
      this.#onConnection(true);
      try {
        return await kept.ask(asked, timeoutMs, recursionDesired);
      } catch (error) {
        // The other side closes idle connections when it likes: a question that met its end is asked again.
        if (!kept.closedByPeer) throw error;
      }
    }
    this.#onConnection(false);
    if (this.#connection?.usable !== true) this.#connection = new Connection(this.#target);
    return await this.#connection.ask(asked, timeoutMs, recursionDesired);
  }

  close(): void {
    this.#connection?.end(new Error('closed'));
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #received: Buffer = Buffer.alloc(0);
  #ended: Error | undefined;
  closedByPeer = false;

  constructor(target: StreamTarget) {
    this.#socket = dial(target);
    this.#socket.setNoDelay(true);
    this.#socket.setTimeout(connectMs);
    this.#socket.once(target.tls === undefined ? 'connect' : 'secureConnect', () =>
      this.#socket.setTimeout(target.expireMs),
    );
    this.#socket.on('timeout', () => this.end(new Error('the connection was not made in time, or idle')));
    const broken = (error: Error): void => {
      this.closedByPeer ||= this.#ended === undefined;
      this.end(error);
    };
    this.#socket.on('error', broken);
    this.#socket.on('close', () => broken(new Error('the connection was closed')));
    this.#socket.on('data', (chunk: Buffer) => this.#read(chunk));
  }

  get usable(): boolean {
    return this.#ended === undefined && this.#waiting.size < 0xf000;
  }

  ask(asked: Asked, timeoutMs: number, recursionDesired: boolean): Promise<UpstreamAnswer> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      const query = writeQuestion(asked, recursionDesired);
      while (this.#waiting.has(query.readUInt16BE(0))) query.writeUInt16BE((query.readUInt16BE(0) + 1) & 0xffff, 0);
      const id = query.readUInt16BE(0);
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`no answer in ${timeoutMs} ms`));
      }, timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(id);
      };
      this.#waiting.set(id, {
        asked,
        resolve: (answer) => {
          settle();
          resolve(answer);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      });
      this.#socket.write(framed(query));
    });
  }

  end(error: Error): void {
    if (this.#ended !== undefined) return;
    this.#ended = error;
    this.#socket.destroy();
    for (const waiting of [...this.#waiting.values()]) waiting.reject(error);
  }

  #read(chunk: Buffer): void {
    this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    while (this.#received.length >= 2) {
      const length = this.#received.readUInt16BE(0);
      if (this.#received.length < 2 + length) return;
      const message = this.#received.subarray(2, 2 + length);
      this.#received = this.#received.subarray(2 + length);
      if (length < 12) continue;
      const id = message.readUInt16BE(0);
      const waiting = this.#waiting.get(id);
      const answer = waiting === undefined ? undefined : readAnswer(message, id, waiting.asked);
      if (answer !== undefined) waiting?.resolve(answer);
      else waiting?.reject(new Error('the answer cannot be read'));
    }
  }
}

function dial({ address, port, tls }: StreamTarget): Socket {
  if (tls === undefined) return connect(port, address);
  return connectTls({
    host: address,
    port,
    minVersion: 'TLSv1.2',
    ALPNProtocols: ['dot'],
    ...(tls.serverName !== undefined && { servername: tls.serverName }),
    ...(tls.ca !== undefined && { ca: tls.ca }),
    ...(tls.certificate !== undefined && { cert: tls.certificate }),
    ...(tls.key !== undefined && { key: tls.key }),
  });
}

/** A message as TCP carries it: its length before it. */
export function framed(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}
