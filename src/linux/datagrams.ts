// UDP sockets that take and give many datagrams by one system call: recvmmsg(2) and sendmmsg(2) through node:ffi.
import { dlopen, getInt32, getRawPointer } from 'node:ffi';
import { familyOf, formatIp, type Ip } from '../net/address.ts';
import { ipBytes } from './addresses.ts';
import { SystemCallError } from './libc.ts';

const { functions: c } = dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
  bind: { return: 'i32', arguments: ['i32', 'buffer', 'u32'] },
  close: { return: 'i32', arguments: ['i32'] },
  setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'] },
  recvmmsg: { return: 'i32', arguments: ['i32', 'pointer', 'u32', 'i32', 'pointer'] },
  sendmmsg: { return: 'i32', arguments: ['i32', 'pointer', 'u32', 'i32'] },
  sendto: { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32', 'buffer', 'u32'] },
  fcntl: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
});

const [AF_INET, AF_INET6] = [2, 10];
const SOCK_DGRAM_CLOEXEC_NONBLOCK = 2 | 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
const [SO_SNDBUF, SO_RCVBUF, SO_REUSEPORT, SO_SNDBUFFORCE, SO_RCVBUFFORCE] = [7, 8, 15, 32, 33];
const bufferOptions = [
  [SO_SNDBUFFORCE, SO_SNDBUF],
  [SO_RCVBUFFORCE, SO_RCVBUF],
] as const;
const [SOL_IP, IP_FREEBIND] = [0, 15];
const [SOL_IPV6, IPV6_V6ONLY, IPV6_FREEBIND] = [41, 26, 78];
const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const F_DUPFD_CLOEXEC = 1030;

export interface DatagramSocketOptions {
  readonly address: Ip;
  /** 0 takes any free one. */
  readonly port: number;
  /** Others may be bound to the same address and port; the kernel spreads the clients over them. */
  readonly reusePort?: boolean;
  /** The address need not be there (yet). */
  readonly freeBind?: boolean;
  /** Octets that wait in either direction; without CAP_NET_ADMIN within the limits of the system. */
  readonly bufferSize?: number;
}

/** Opens a UDP socket and returns its descriptor; throws a SystemCallError (EADDRINUSE, EADDRNOTAVAIL, EACCES). */
export function openDatagramSocket(options: DatagramSocketOptions): number {
  const { address, port } = options;
  const isV4 = familyOf(address) === 'IPv4';
  const what = `listening for UDP on ${address} port ${port}`;
  const fd = check(c.socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM_CLOEXEC_NONBLOCK, 0), what);
  const trySet = (level: number, option: number, value: number): number => {
    const buffer = Buffer.alloc(4);
    buffer.writeInt32LE(value);
    return c.setsockopt(fd, level, option, buffer, 4);
  };
  const set = (level: number, option: number, value: number): void => {
    check(trySet(level, option, value), what);
  };
  try {
    // The unspecified address takes both families.
    if (!isV4 && address !== '::') set(SOL_IPV6, IPV6_V6ONLY, 1);
    if (options.reusePort === true) set(SOL_SOCKET, SO_REUSEPORT, 1);
    if (options.freeBind === true) set(isV4 ? SOL_IP : SOL_IPV6, isV4 ? IP_FREEBIND : IPV6_FREEBIND, 1);
    if (options.bufferSize !== undefined)
      for (const [force, option] of bufferOptions)
        if (trySet(SOL_SOCKET, force, options.bufferSize) < 0) set(SOL_SOCKET, option, options.bufferSize);
    const name = socketAddress(address, port);
    check(c.bind(fd, name, name.length), what);
    return fd;
  } catch (error) {
    c.close(fd);
    throw error;
  }
}

/** Another descriptor of the same socket: the socket is there until the last of them is closed. */
export const duplicateDescriptor = (fd: number): number =>
  check(c.fcntl(fd, F_DUPFD_CLOEXEC, 0), `duplicating the descriptor ${fd}`);

/**
 * Sends a datagram to where another one came from ({@link DatagramBatch.name}). One that the kernel refuses is left out:
 * its client is gone, or its buffer is full.
 */
export function sendDatagram(fd: number, message: Uint8Array, to: Uint8Array): void {
  c.sendto(fd, message, BigInt(message.length), MSG_DONTWAIT, to, to.length);
}

/** struct sockaddr_in or sockaddr_in6, without a scope. */
export function socketAddress(address: Ip, port: number): Buffer {
  const isV4 = familyOf(address) === 'IPv4';
  const name = Buffer.alloc(isV4 ? 16 : 28);
  name.writeUInt16LE(isV4 ? AF_INET : AF_INET6, 0);
  name.writeUInt16BE(port, 2);
  name.set(ipBytes(address), isV4 ? 4 : 8);
  return name;
}

function check(result: number, what: string): number {
  if (result < 0) throw new SystemCallError(what, getInt32(c.__errno_location()));
  return result;
}

// struct mmsghdr of 64-bit Linux: msg_name, msg_namelen, msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags;
// then msg_len.
const header = { size: 64, name: 0, nameLength: 8, vector: 16, vectorLength: 24, flags: 48, length: 56 } as const;
const vectorSize = 16;
const nameRoom = 32;
const MSG_TRUNC = 0x20;

/** Where a datagram came from. */
export interface DatagramSource {
  readonly address: Ip;
  readonly port: number;
}

export interface BatchSizes {
  /** How many datagrams a system call takes at most. */
  readonly count: number;
  /** How long a datagram may be in each direction, in octets; longer ones that come are left out. */
  readonly received: number;
  readonly sent: number;
}

/**
 * Room for a batch of datagrams and their answers. One batch serves all sockets of a thread: it is filled, worked off
 * and sent before it is filled again.
 */
export class DatagramBatch {
  /** The memory that all datagrams are in. */
  readonly memory: Buffer;
  readonly #sizes: BatchSizes;
  readonly #words: Uint32Array;
  readonly #at: { received: number; sent: number; vectors: number; names: number; messages: number; answers: number };
  readonly #base: bigint;
  readonly #low: number;
  readonly #high: number;
  #answers = 0;

  constructor(sizes: BatchSizes) {
    this.#sizes = sizes;
    const { count } = sizes;
    const sent = count * header.size;
    const vectors = 2 * sent;
    const names = vectors + 2 * count * vectorSize;
    const messages = names + count * nameRoom;
    const answers = messages + count * sizes.received;
    const memory = new ArrayBuffer(answers + count * sizes.sent);
    this.#at = { received: 0, sent, vectors, names, messages, answers };
    this.memory = Buffer.from(memory);
    this.#words = new Uint32Array(memory);
    this.#base = getRawPointer(memory);
    this.#low = Number(this.#base & 0xffffffffn);
    this.#high = Number(this.#base >> 32n);
    for (let index = 0; index < count; index++) this.#layOut(index);
  }

  #layOut(index: number): void {
    const { count, received, sent } = this.#sizes;
    const at = this.#at;
    const pointer = (where: number, to: number): unknown =>
      this.memory.writeBigUInt64LE(this.#base + BigInt(to), where);
    for (const [head, vector, octets, length] of [
      [at.received, at.vectors, at.messages + index * received, received],
      [at.sent, at.vectors + count * vectorSize, at.answers + index * sent, sent],
    ] as const) {
      const own = head + index * header.size;
      const ownVector = vector + index * vectorSize;
      pointer(own + header.name, at.names + index * nameRoom);
      pointer(own + header.vector, ownVector);
      this.memory.writeBigUInt64LE(1n, own + header.vectorLength);
      pointer(ownVector, octets);
      this.memory.writeBigUInt64LE(BigInt(length), ownVector + 8);
    }
  }

  /** Takes what waits at a socket, without waiting; how many datagrams that is. */
  receive(fd: number): number {
    const { count } = this.#sizes;
    this.#answers = 0;
    for (let index = 0; index < count; index++)
      this.#words[(this.#at.received + index * header.size + header.nameLength) >> 2] = nameRoom;
    const received = c.recvmmsg(fd, this.#base, count, MSG_DONTWAIT, 0n);
    return Math.max(0, received);
  }

  /** Where a datagram is in the memory, and how long it is: 0 for one that was too long. */
  start(index: number): number {
    return this.#at.messages + index * this.#sizes.received;
  }

  length(index: number): number {
    const own = this.#at.received + index * header.size;
    if (((this.#words[(own + header.flags) >> 2] ?? 0) & MSG_TRUNC) !== 0) return 0;
    return this.#words[(own + header.length) >> 2] ?? 0;
  }

  /** Who sent a datagram, as the number of an address of IPv4; -1 for others. */
  sourceV4(index: number): number {
    const at = this.#at.names + index * nameRoom;
    const { memory } = this;
    if (memory[at] !== AF_INET) return -1;
    const octet = (place: number): number => memory[at + 4 + place] ?? 0;
    return octet(0) * 0x1000000 + ((octet(1) << 16) | (octet(2) << 8) | octet(3));
  }

  /** Who sent a datagram. */
  source(index: number): DatagramSource {
    const at = this.#at.names + index * nameRoom;
    const isV4 = this.memory.readUInt16LE(at) === AF_INET;
    const octets = this.memory.subarray(at + (isV4 ? 4 : 8), at + (isV4 ? 8 : 24));
    const address = formatIp(BigInt(`0x${octets.toString('hex')}`), isV4 ? 'IPv4' : 'IPv6');
    return { address, port: this.memory.readUInt16BE(at + 2) };
  }

  /** Who sent a datagram, as the kernel says it: for {@link sendDatagram}. It is a copy. */
  name(index: number): Uint8Array {
    const at = this.#at.names + index * nameRoom;
    const length = this.#words[(this.#at.received + index * header.size + header.nameLength) >> 2] ?? 0;
    return Uint8Array.from(this.memory.subarray(at, at + length));
  }

  /** Where the answer to a datagram is to be written. */
  answerAt(index: number): number {
    return this.#at.answers + index * this.#sizes.sent;
  }

  /** Says that the answer to this datagram is written and this long; the answers are given in the order of datagrams. */
  answered(index: number, length: number): void {
    const { count } = this.#sizes;
    const own = this.#at.sent + this.#answers++ * header.size;
    const vector = this.#at.vectors + (count + index) * vectorSize;
    this.#point(own + header.name, this.#at.names + index * nameRoom);
    this.#point(own + header.vector, vector);
    this.#words[(own + header.nameLength) >> 2] =
      this.#words[(this.#at.received + index * header.size + header.nameLength) >> 2] ?? 0;
    this.#words[(vector + 8) >> 2] = length;
  }

  /** Points at an offset of the memory, without a big number for each datagram. */
  #point(where: number, to: number): void {
    const low = this.#low + to;
    this.#words[where >> 2] = low >>> 0;
    this.#words[(where + 4) >> 2] = this.#high + (low > 0xffffffff ? 1 : 0);
  }

  /** Sends the answers; one that the kernel refuses (its client is gone, or its buffer is full) is left out. */
  send(fd: number): void {
    for (let sent = 0; sent < this.#answers; ) {
      const from = this.#base + BigInt(this.#at.sent + sent * header.size);
      const more = c.sendmmsg(fd, from, this.#answers - sent, MSG_DONTWAIT);
      if (more > 0) sent += more;
      else if (getInt32(c.__errno_location()) !== EINTR) sent++;
    }
    this.#answers = 0;
  }
}
