// The system calls that Node.js does not offer, through node:ffi: namespaces, mounts, netlink sockets.
import { dlopen, getInt32 } from 'node:ffi';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';

const { functions: c } = dlopen(null, {
  __errno_location: { return: 'pointer', arguments: [] },
  socket: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
  bind: { return: 'i32', arguments: ['i32', 'buffer', 'u32'] },
  setsockopt: { return: 'i32', arguments: ['i32', 'i32', 'i32', 'buffer', 'u32'] },
  send: { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] },
  recv: { return: 'i64', arguments: ['i32', 'buffer', 'u64', 'i32'] },
  fcntl: { return: 'i32', arguments: ['i32', 'i32', 'i32'] },
  setns: { return: 'i32', arguments: ['i32', 'i32'] },
  unshare: { return: 'i32', arguments: ['i32'] },
  mount: { return: 'i32', arguments: ['string', 'string', 'string', 'u64', 'string'] },
  umount2: { return: 'i32', arguments: ['string', 'i32'] },
  malloc_trim: { return: 'i32', arguments: ['u64'] },
  if_nametoindex: { return: 'u32', arguments: ['string'] },
});

/** A system call that failed; `code` is the name of its errno (`EPERM`), as in Node's own errors. */
export class SystemCallError extends Error {
  override readonly name = 'SystemCallError';
  readonly errno: number;
  readonly code: string;

  /** `what` says what was being done, to what; `errno` is the kernel's positive number. */
  constructor(what: string, errno: number) {
    super(`${what}: ${getSystemErrorMessage(-errno) ?? `error ${errno}`} (${errnoName(errno)})`);
    this.errno = errno;
    this.code = errnoName(errno);
  }
}

/** Numbers that libuv has no name for, though netlink answers with them. */
const extraNames: Record<number, string> = { 95: 'EOPNOTSUPP', 6: 'ENXIO', 99: 'EADDRNOTAVAIL', 16: 'EBUSY' };

function errnoName(errno: number): string {
  return extraNames[errno] ?? getSystemErrorName(-errno);
}

/** Whether the error is a failed system call with one of these codes; also true for errors of node:fs. */
export function failedWith(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}

function check(result: number, what: string): number {
  if (result < 0) throw new SystemCallError(what, getInt32(c.__errno_location()));
  return result;
}

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const AF_NETLINK = 16;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;

/** Opens a netlink socket of a protocol (0 is NETLINK_ROUTE) in the calling thread's network namespace. */
export function netlinkSocket(protocol: number): number {
  const fd = check(c.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol), 'opening a netlink socket');
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  check(c.bind(fd, address, address.length), 'binding a netlink socket');
  return fd;
}

/** Sets a whole-number option of the netlink level, such as 1 (NETLINK_ADD_MEMBERSHIP) with a group's number. */
export function setNetlinkOption(fd: number, option: number, value: number): void {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  check(c.setsockopt(fd, SOL_NETLINK, option, buffer, 4), `setting the netlink option ${option}`);
}

/** Sets the receive buffer in bytes, past the limit of the system. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  setSocketOption(fd, SO_RCVBUFFORCE, bytes, 'setting a receive buffer');
}

/** Sets the send buffer in bytes, past the limit of the system: netlink refuses messages that are larger (EMSGSIZE). */
export function setSendBuffer(fd: number, bytes: number): void {
  setSocketOption(fd, SO_SNDBUFFORCE, bytes, 'setting a send buffer');
}

function setSocketOption(fd: number, option: number, value: number, what: string): void {
  const buffer = Buffer.alloc(4);
  buffer.writeInt32LE(value);
  check(c.setsockopt(fd, SOL_SOCKET, option, buffer, 4), what);
}

export function send(fd: number, message: Buffer): void {
  check(Number(c.send(fd, message, BigInt(message.length), 0)), 'sending to netlink');
}

/** Receives one datagram without waiting: its length, or undefined where there is none. */
export function receive(fd: number, into: Buffer): number | undefined {
  const length = Number(c.recv(fd, into, BigInt(into.length), 0x40 /* MSG_DONTWAIT */));
  if (length >= 0) return length;
  const errno = getInt32(c.__errno_location());
  if (errno === 11 /* EAGAIN */) return undefined;
  throw new SystemCallError('receiving from netlink', errno);
}

/** Lets the kernel send SIGIO to this process whenever the socket becomes readable. */
export function signalWhenReadable(fd: number): void {
  check(c.fcntl(fd, 8 /* F_SETOWN */, process.pid), 'asking for SIGIO');
  check(c.fcntl(fd, 4 /* F_SETFL */, 0o20000 /* O_ASYNC */ | 0o4000 /* O_NONBLOCK */), 'asking for SIGIO');
}

/** The index of an interface of the calling thread's namespace; undefined where there is none of that name. */
export function interfaceIndex(name: string): number | undefined {
  const index = c.if_nametoindex(name);
  return index === 0 ? undefined : index;
}

export const CLONE_NEWNET = 0x40000000;

/** Moves the calling thread into the namespace behind an open file (setns(2)). */
export function setns(fd: number, type: number): void {
  check(c.setns(fd, type), 'entering a namespace');
}

/** Gives the calling thread namespaces of its own (unshare(2)). */
export function unshare(flags: number): void {
  check(c.unshare(flags), 'making a namespace');
}

/** mount(2); flags as in sys/mount.h. */
export function mount(source: string, target: string, type: string, flags: number, data: string): void {
  check(c.mount(source, target, type, BigInt(flags), data), `mounting ${source || type} on ${target}`);
}

/** umount2(2); flags as in sys/mount.h. */
export function umount(target: string, flags: number): void {
  check(c.umount2(target, flags), `unmounting ${target}`);
}

/** Gives memory that malloc(3) holds and nobody uses back to the kernel. */
export function trimMalloc(): void {
  c.malloc_trim(0n);
}
