// Netlink: the message format (RFC 3549, linux/netlink.h), and a socket for short synchronous exchanges.
import { closeSync, write } from 'node:fs';
import { promisify } from 'node:util';
import * as libc from './libc.ts';
import { inNetns, type NetnsRef } from './netns.ts';

/** Flags of a request (linux/netlink.h). */
export const flag = { request: 1, ack: 4, dump: 0x300, replace: 0x100, exclusive: 0x200, create: 0x400, append: 0x800 };

const headerLength = 16;
const NLMSG_ERROR = 2;
const NLMSG_DONE = 3;
const NLM_F_DUMP_INTR = 0x10;
/** After so many the last one is taken: consumers compare again at the next event. */
const dumpTries = 5;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
const align = (length: number): number => (length + 3) & ~3;

/** An attribute as it travels: length, type, payload, padding to four bytes. */
export function attribute(type: number, payload: Buffer): Buffer {
  const out = Buffer.alloc(align(4 + payload.length));
  out.writeUInt16LE(4 + payload.length, 0);
  out.writeUInt16LE(type, 2);
  payload.copy(out, 4);
  return out;
}

export function u8(type: number, value: number): Buffer {
  return attribute(type, Buffer.from([value]));
}

export function u32(type: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(value >>> 0);
  return attribute(type, payload);
}

/** Text with its terminating zero. */
export function text(type: number, value: string): Buffer {
  return attribute(type, Buffer.from(`${value}\0`));
}

export function nested(type: number, attributes: readonly Buffer[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(attributes));
}

/** The attributes in a payload by their type (the last of each type wins, as in the kernel). */
export function parseAttributes(payload: Buffer): Map<number, Buffer> {
  const found = new Map<number, Buffer>();
  for (let at = 0; at + 4 <= payload.length; ) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) break;
    found.set(payload.readUInt16LE(at + 2) & NLA_TYPE_MASK, payload.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** The payloads of a list: attributes of which only the order counts. */
export function parseList(payload: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0; at + 4 <= payload.length; ) {
    const length = payload.readUInt16LE(at);
    if (length < 4 || at + length > payload.length) break;
    found.push(payload.subarray(at + 4, at + length));
    at += align(length);
  }
  return found;
}

/** The text of an attribute, without its terminating zero. */
export function readText(payload: Buffer | undefined): string | undefined {
  if (payload === undefined) return undefined;
  const end = payload.indexOf(0);
  return payload.toString('utf8', 0, end < 0 ? payload.length : end);
}

/** A message that came from the kernel: its type, and what follows the header. */
export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly body: Buffer;
}

/** Takes a datagram apart into its messages; what is cut off at the end is left out. */
export function parseMessages(datagram: Buffer): Message[] {
  const messages: Message[] = [];
  for (let at = 0; at + headerLength <= datagram.length; ) {
    const length = datagram.readUInt32LE(at);
    if (length < headerLength || at + length > datagram.length) break;
    messages.push({
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      sequence: datagram.readUInt32LE(at + 8),
      body: datagram.subarray(at + headerLength, at + length),
    });
    at += align(length);
  }
  return messages;
}

/** A request: its type, flags besides `request`, the fixed part of its family, and attributes. */
export interface Request {
  readonly type: number;
  readonly flags?: number;
  readonly body: Buffer;
  readonly attributes?: readonly Buffer[];
  /** What it does, for the error's text: `adding the route 10.1.0.0/16`. */
  readonly what: string;
}

export function encodeRequest(request: Request, flags: number, sequence: number): Buffer {
  const payload = Buffer.concat([request.body, ...(request.attributes ?? [])]);
  const header = Buffer.alloc(headerLength);
  header.writeUInt32LE(headerLength + payload.length, 0);
  header.writeUInt16LE(request.type, 4);
  header.writeUInt16LE(flags | flag.request | (request.flags ?? 0), 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, payload]);
}

/** The kernel's refusal of a request; `message` has the kernel's own explanation where it gives one. */
class NetlinkError extends libc.SystemCallError {
  constructor(what: string, errno: number, explanation: string | undefined) {
    super(explanation === undefined ? what : `${what}: ${explanation}`, errno);
  }
}

/**
 * A netlink socket. It belongs to the namespace in which it was opened and goes on speaking to that one. The kernel
 * answers rtnetlink requests while they are sent, so an exchange never waits for anything but the kernel's own work.
 */
export class Netlink implements Disposable {
  readonly fd: number;
  #sequence = 0;
  #open = true;
  /** Bytes that are known to fit. */
  #sendBuffer = 64 * 1024;

  /** Opens a socket in a namespace (in the calling thread's own where none is given); protocol 0 is NETLINK_ROUTE. */
  static open(netns?: NetnsRef, protocol = 0): Netlink {
    const open = (): Netlink => new Netlink(protocol);
    return netns === undefined ? open() : inNetns(netns, open);
  }

  private constructor(protocol: number) {
    this.fd = libc.netlinkSocket(protocol);
    libc.setNetlinkOption(this.fd, 11 /* NETLINK_EXT_ACK */, 1);
    libc.setNetlinkOption(this.fd, 10 /* NETLINK_CAP_ACK */, 1);
  }

  close(): void {
    if (this.#open) closeSync(this.fd);
    this.#open = false;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** Sends a request and returns when the kernel has done it. Throws NetlinkError with the kernel's errno. */
  request(request: Request): void {
    this.#exchange(request, flag.ack, () => {});
  }

  /** Asks for one object: the answer's messages. Throws NetlinkError (ENODEV, ESRCH …) where there is none. */
  query(request: Request): Message[] {
    const answers: Message[] = [];
    this.#exchange(request, flag.ack, (message) => answers.push(message));
    return answers;
  }

  /** Asks for all objects of a kind: one message each. Asks again where they changed while they were listed. */
  dump(request: Request): Message[] {
    for (let tries = 1; ; tries++) {
      const answers: Message[] = [];
      this.#exchange(request, flag.dump, (message) => answers.push(message));
      if (tries === dumpTries || answers.every(({ flags }) => (flags & NLM_F_DUMP_INTR) === 0)) return answers;
    }
  }

  /**
   * As {@link dump}, a part at a time. The kernel makes the first part while it is sent to, on a thread of libuv's pool:
   * that is its whole search where little is found. It makes each next part when that is asked for. Objects that change
   * meanwhile may be missed. The socket must not be used for anything else until the last part.
   */
  async *dumpInParts(request: Request): AsyncGenerator<Message[]> {
    const sequence = ++this.#sequence;
    await writeInPool(this.fd, encodeRequest(request, flag.dump, sequence));
    for (;;) {
      const part: Message[] = [];
      const isLast = this.#readPart(sequence, request.what, (message) => part.push(message));
      yield part;
      if (isLast) return;
    }
  }

  /**
   * As {@link request}, on a thread of libuv's pool: for what the kernel takes long for (it answers rtnetlink while it
   * is sent to). The socket must not be used for anything else until then.
   */
  async requestInBackground(request: Request): Promise<void> {
    const sequence = ++this.#sequence;
    await writeInPool(this.fd, encodeRequest(request, flag.ack, sequence));
    this.#readAnswer(sequence, request.what, () => {});
  }

  /**
   * Sends messages that make one transaction, at once or on a thread of libuv's pool, and returns the kernel's answers.
   * Their numbers are the sender's own; the socket must not be used for anything else until then.
   */
  async transact(messages: Buffer, where: 'here' | 'in-pool'): Promise<Message[]> {
    if (messages.length + sendMargin > this.#sendBuffer) {
      this.#sendBuffer = 2 * messages.length + sendMargin;
      libc.setSendBuffer(this.fd, this.#sendBuffer);
    }
    if (where === 'here') libc.send(this.fd, messages);
    else await writeInPool(this.fd, messages);
    const answers: Message[] = [];
    for (let length = 0; ; ) {
      length = libc.receive(this.fd, receiveBuffer) ?? 0;
      if (length === 0) return answers;
      answers.push(...parseMessages(Buffer.from(receiveBuffer.subarray(0, length))));
    }
  }

  #exchange(request: Request, flags: number, each: (message: Message) => void): void {
    const sequence = ++this.#sequence;
    libc.send(this.fd, encodeRequest(request, flags, sequence));
    this.#readAnswer(sequence, request.what, each);
  }

  #readAnswer(sequence: number, what: string, each: (message: Message) => void): void {
    while (!this.#readPart(sequence, what, each));
  }

  /** One datagram of an answer; true where it was the last one. */
  #readPart(sequence: number, what: string, each: (message: Message) => void): boolean {
    const length = libc.receive(this.fd, receiveBuffer);
    if (length === undefined) throw new Error(`${what}: the kernel gave no answer`);
    for (const message of parseMessages(Buffer.from(receiveBuffer.subarray(0, length)))) {
      if (message.sequence !== sequence) continue;
      if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
        throwRefusal(message, what);
        return true;
      }
      each(message);
    }
    return false;
  }
}

/** The kernel keeps some of a send buffer for itself. */
const sendMargin = 1024;

/** write(2) on a netlink socket is sending to the kernel. */
const writeInPool = promisify((fd: number, message: Buffer, done: (error: Error | null) => void) =>
  write(fd, message, (error) => done(error)),
);

/** One buffer for all sockets: exchanges are synchronous. A datagram of a dump is at most 32 KB. */
const receiveBuffer = Buffer.alloc(64 * 1024);

/** Throws where the message that ends an exchange carries an errno. */
function throwRefusal(message: Message, what: string): void {
  const refusal = refusalIn(message);
  if (refusal !== undefined) throw refusalError(what, refusal);
}

/** What the kernel says of a request that it did not do. */
export interface Refusal {
  /** The number of the request. */
  readonly sequence: number;
  readonly errno: number;
  /** In the kernel's own words, where it has any. */
  readonly explanation?: string;
  /** Where in the request the attribute is that it did not like. */
  readonly offset?: number;
}

/** The refusal that a message carries; undefined where it says that all went well, or something else. */
export function refusalIn({ type, sequence, body }: Message): Refusal | undefined {
  const errno = (type === NLMSG_ERROR || type === NLMSG_DONE) && body.length >= 4 ? -body.readInt32LE(0) : 0;
  if (errno <= 0) return undefined;
  // With NETLINK_CAP_ACK an error carries the failed request's header alone; then the kernel's explanation.
  const more = type === NLMSG_ERROR ? parseAttributes(body.subarray(4 + headerLength)) : new Map<number, Buffer>();
  const explanation = readText(more.get(1));
  const offset = more.get(2)?.readUInt32LE(0);
  return {
    sequence,
    errno,
    ...(explanation !== undefined && { explanation }),
    ...(offset !== undefined && { offset }),
  };
}

/** Whether the message is the kernel's answer to the request of that number, whatever it says. */
export const isAnswer = ({ type, sequence }: Message, number: number): boolean =>
  type === NLMSG_ERROR && sequence === number;

export const refusalError = (what: string, { errno, explanation }: Refusal): libc.SystemCallError =>
  new NetlinkError(what, errno, explanation);

export function isGone(error: unknown): boolean {
  return libc.failedWith(error, 'ENODEV', 'ESRCH', 'ENOENT', 'EADDRNOTAVAIL', 'ENXIO');
}
