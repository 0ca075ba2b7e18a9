// Whole Ethernet frames in and out of one interface (packet(7)), with a filter in the kernel: it wakes nobody for others.

import { dlopen, getInt32, getRawPointer } from 'node:ffi';
import { closeSync } from 'node:fs';
import * as libc from './libc.ts';
import { inNetns, type NetnsRef } from './netns.ts';
import { type FilterProgram, filterBytes } from './packet-filter.ts';

const { functions: c } = dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
  bind: { return: 'i32', arguments: ['i32', 'buffer', 'u32'] },
  setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'] },
  send: { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] },
});

const AF_PACKET = 17;
const SOCK_RAW_CLOEXEC_NONBLOCK = 3 | 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23;

export const etherType = { arp: 0x0806, ipv6: 0x86dd } as const;

export interface PacketSocketOptions {
  /** The interface's index. */
  readonly link: number;
  readonly etherType: number;
  readonly filter: FilterProgram;
  readonly netns?: NetnsRef;
}

/** A socket that hears what passes its filter and can send frames. For the main thread only: it is woken by a signal. */
export interface PacketSocket {
  /** Puts another filter in place of the present one. */
  setFilter(filter: FilterProgram): void;
  /** Sends a frame, from its destination address on. False where the interface cannot take it now. */
  send(frame: Buffer): boolean;
  close(): void;
}

interface Open {
  readonly fd: number;
  readonly listener: (frame: Buffer) => void;
}

const open = new Set<Open>();
let listening = false;
const received = Buffer.alloc(2048);

/** Opens a socket; each frame is given to the listener from its destination address on. Throws a SystemCallError. */
export function openPacketSocket(options: PacketSocketOptions, listener: (frame: Buffer) => void): PacketSocket {
  // SIGIO would end the process without a handler, also one that comes late: so the handler stays for good.
  if (!listening) process.on('SIGIO', drainAll);
  listening = true;
  const make = (): number => openFd(options);
  const entry: Open = { fd: options.netns === undefined ? make() : inNetns(options.netns, make), listener };
  open.add(entry);
  libc.signalWhenReadable(entry.fd);
  drain(entry);
  return {
    setFilter: (filter) => attach(entry.fd, filter),
    send: (frame) => Number(c.send(entry.fd, frame, BigInt(frame.length), 0)) === frame.length,
    close() {
      if (open.delete(entry)) closeSync(entry.fd);
    },
  };
}

function openFd({ link, etherType: type, filter }: PacketSocketOptions): number {
  const what = `opening a packet socket on the interface number ${link}`;
  // Protocol 0 hears nothing: the filter is there before the first frame is.
  const fd = check(c.socket(AF_PACKET, SOCK_RAW_CLOEXEC_NONBLOCK, 0), what);
  try {
    attach(fd, filter);
    const one = Buffer.from([1, 0, 0, 0]);
    check(c.setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, one, 4), what);
    // struct sockaddr_ll
    const address = Buffer.alloc(20);
    address.writeUInt16LE(AF_PACKET, 0);
    address.writeUInt16BE(type, 2);
    address.writeInt32LE(link, 4);
    check(c.bind(fd, address, address.length), what);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

function attach(fd: number, filter: FilterProgram): void {
  const program = filterBytes(filter);
  // struct sock_fprog: the number of instructions, and a pointer to them, which stay in place during the call.
  const descriptor = Buffer.alloc(16);
  descriptor.writeUInt16LE(filter.length, 0);
  descriptor.writeBigUInt64LE(getRawPointer(program), 8);
  check(c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, descriptor, descriptor.length), 'setting a packet filter');
}

/** Signals merge, so each one means: read every socket until it is empty. */
function drainAll(): void {
  for (const entry of [...open]) drain(entry);
}

function drain(entry: Open): void {
  while (open.has(entry)) {
    try {
      const length = libc.receive(entry.fd, received);
      if (length === undefined) return;
      entry.listener(Buffer.from(received.subarray(0, Math.min(length, received.length))));
    } catch (error) {
      // The interface went down or away; whoever watches the links will close this socket.
      if (!libc.failedWith(error, 'ENETDOWN', 'ENODEV', 'ENXIO', 'ENOBUFS')) throw error;
      return;
    }
  }
}

function check(result: number, what: string): number {
  if (result < 0) throw new libc.SystemCallError(what, getInt32(c.__errno_location()));
  return result;
}
