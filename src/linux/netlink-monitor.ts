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

/** What a monitor tells: one datagram's messages, or that some were lost and everything must be read anew. */
export type MonitorEvent =
  | { readonly type: 'messages'; readonly messages: readonly Message[] }
  | { readonly type: 'overrun' };

export interface MonitorOptions {
  /** The netlink protocol; default 0, NETLINK_ROUTE. */
  readonly protocol?: number;
  readonly groups: readonly number[];
  readonly netns?: NetnsRef;
}

interface Watched {
  readonly fd: number;
  readonly listener: (event: MonitorEvent) => void;
}

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
  const open = (): number => libc.netlinkSocket(options.protocol ?? 0);
  const fd = options.netns === undefined ? open() : inNetns(options.netns, open);
  const entry: Watched = { fd, listener };
  watched.add(entry);
  libc.setReceiveBuffer(fd, 1 << 20);
  libc.signalWhenReadable(fd);
  for (const group of options.groups) libc.setNetlinkOption(fd, 1 /* NETLINK_ADD_MEMBERSHIP */, group);
  return () => {
    if (watched.delete(entry)) closeSync(fd);
  };
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
      entry.listener({ type: 'overrun' });
    }
  }
}
