// Netlink multicast as an event source without polling: the kernel's SIGIO says that a socket has something to read.
import { closeSync } from 'node:fs';
import * as libc from './libc.ts';
import { type Message, parseMessages } from './netlink.ts';
import { inNetns, type NetnsRef } from './netns.ts';

/** Groups of NETLINK_ROUTE (enum rtnetlink_groups). */
export const routeGroup = {
  link: 1,
  neighbour: 3,
  ipv4Address: 5,
  ipv4Route: 7,
  ipv4Rule: 8,
  ipv6Address: 9,
  ipv6Route: 11,
  ipv6Rule: 19,
  /** Changes of forwarding and the like (RTNLGRP_IPV4_NETCONF). */
  ipv4Settings: 24,
  ipv6Settings: 25,
} as const;

/** NETLINK_NETFILTER and its group in which nftables announces changes (NFNLGRP_NFTABLES). */
export const netfilterProtocol = 12;
export const nftablesGroup = 7;

/**
 * What a monitor tells: one datagram's messages, or that some were lost and everything must be read anew (`unheard`
 * where no part of them was or will be told; see {@link unannounced}).
 */
export type MonitorEvent =
  | { readonly type: 'messages'; readonly messages: readonly Message[] }
  | { readonly type: 'overrun'; readonly unheard?: boolean };

export interface MonitorOptions {
  /** The netlink protocol; default 0, NETLINK_ROUTE. */
  readonly protocol?: number;
  readonly groups: readonly number[];
  readonly netns?: NetnsRef;
}

interface Watched {
  readonly fd: number;
  readonly protocol: number;
  readonly groups: readonly number[];
  readonly listener: (event: MonitorEvent) => void;
}

// Options of the netlink level (linux/netlink.h).
const addMembership = 1;
const dropMembership = 2;

const watched = new Set<Watched>();
let listening = false;
const receiveBuffer = Buffer.alloc(64 * 1024);

/**
 * Calls the listener for what the kernel announces in the groups, from the moment of the call on. Costs nothing while
 * nothing happens. For the main thread only: signals are not delivered to workers. Returns the end of it.
 */
export function monitorNetlink(options: MonitorOptions, listener: (event: MonitorEvent) => void): () => void {
  // SIGIO would end the process without a handler, also one that comes late: so the handler stays for good.
  if (!listening) process.on('SIGIO', drainAll);
  listening = true;
  const { protocol = 0, groups } = options;
  const open = (): number => libc.netlinkSocket(protocol);
  const fd = options.netns === undefined ? open() : inNetns(options.netns, open);
  const entry: Watched = { fd, protocol, groups, listener };
  watched.add(entry);
  libc.setReceiveBuffer(fd, 1 << 20);
  libc.signalWhenReadable(fd);
  for (const group of groups) libc.setNetlinkOption(fd, addMembership, group);
  return () => {
    if (watched.delete(entry)) closeSync(fd);
  };
}

/**
 * Does work of which the kernel would announce more than a socket holds: meanwhile no monitor of this process listens to
 * the protocol, so that the kernel need not put the announcements together; then each is told that it may have missed
 * some. (Where nobody listens, an announcement costs nothing; otherwise more than what it is about.)
 */
export async function unannounced<T>(protocol: number, work: () => Promise<T>): Promise<T> {
  const deaf = [...watched].filter((entry) => entry.protocol === protocol);
  for (const { fd, groups } of deaf) for (const group of groups) libc.setNetlinkOption(fd, dropMembership, group);
  try {
    return await work();
  } finally {
    for (const entry of deaf.filter((one) => watched.has(one))) {
      for (const group of entry.groups) libc.setNetlinkOption(entry.fd, addMembership, group);
      entry.listener({ type: 'overrun', unheard: true });
    }
  }
}

/** Signals merge, so each one means: read every socket until it is empty. */
function drainAll(): void {
  for (const entry of watched) drain(entry);
}

function drain(entry: Watched): void {
  while (watched.has(entry)) {
    try {
      const length = libc.receive(entry.fd, receiveBuffer);
      if (length === undefined) return;
      entry.listener({ type: 'messages', messages: parseMessages(Buffer.from(receiveBuffer.subarray(0, length))) });
    } catch (error) {
      if (!libc.failedWith(error, 'ENOBUFS')) throw error;
      entry.listener({ type: 'overrun', unheard: true });
    }
  }
}
