// Waits for sockets without an event loop: epoll(7) and eventfd(2) through node:ffi, for threads that do nothing else.

import { dlopen, getInt32, getRawPointer } from 'node:ffi';
import { closeSync } from 'node:fs';
import { SystemCallError } from './libc.ts';

const { functions: c } = dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  epoll_create1: { return: 'i32', arguments: ['i32'] },
  epoll_ctl: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer'] },
  epoll_wait: { return: 'i32', arguments: ['i32', 'pointer', 'i32', 'i32'] },
  eventfd: { return: 'i32', arguments: ['u32', 'i32'] },
  write: { return: 'i64', arguments: ['i32', 'buffer', 'u64'] },
  read: { return: 'i64', arguments: ['i32', 'buffer', 'u64'] },
});

const CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
const EPOLL_CTL_ADD = 1;
const EPOLLIN = 1;
const EINTR = 4;

function check(result: number, what: string): number {
  if (result < 0) throw new SystemCallError(what, getInt32(c.__errno_location()));
  return result;
}

/** struct epoll_event is packed on x86-64 alone: 4 octets of events, 8 of data; elsewhere the data is aligned. */
const [eventSize, dataAt] = process.arch === 'x64' ? [12, 4] : [16, 8];
const mostEvents = 64;

/** The descriptors that a thread waits for. */
export class Readiness {
  readonly #epoll = check(c.epoll_create1(CLOEXEC), 'opening an epoll instance');
  readonly #memory = new ArrayBuffer(mostEvents * eventSize);
  readonly #events = Buffer.from(this.#memory);
  readonly #at = getRawPointer(this.#memory);

  /** From now on {@link wait} tells of this descriptor for as long as there is something to read. */
  add(fd: number): void {
    const event = Buffer.alloc(eventSize);
    event.writeUInt32LE(EPOLLIN, 0);
    event.writeInt32LE(fd, dataAt);
    check(c.epoll_ctl(this.#epoll, EPOLL_CTL_ADD, fd, event), `waiting for the descriptor ${fd}`);
  }

  /** Blocks the thread until something can be read, at most that many ms; how many descriptors can be. */
  wait(ms: number): number {
    const count = c.epoll_wait(this.#epoll, this.#at, mostEvents, ms);
    if (count < 0 && getInt32(c.__errno_location()) === EINTR) return 0;
    return check(count, 'waiting for descriptors');
  }

  /** One of the descriptors that the last {@link wait} told of. */
  ready(index: number): number {
    return this.#events.readInt32LE(index * eventSize + dataAt);
  }

  close(): void {
    closeSync(this.#epoll);
  }
}

const one = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0]);
const count = Buffer.alloc(8);

/** A descriptor by which one thread wakes another that waits for it. */
export const openSignal = (): number => check(c.eventfd(0, CLOEXEC | EFD_NONBLOCK), 'opening an event descriptor');

export function raiseSignal(fd: number): void {
  c.write(fd, one, 8n);
}

/** Takes back what was raised. */
export function lowerSignal(fd: number): void {
  c.read(fd, count, 8n);
}
