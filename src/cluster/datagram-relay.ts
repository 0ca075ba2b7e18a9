// Passes UDP datagrams through a byte stream: each with its length before it (two octets, most significant first).
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import type { Family, Ip } from '../net/address.ts';
import { dial } from './byte-relay.ts';

/** A conversation in which nothing is said for so long is over: as conntrack keeps one that was answered, in ms. */
const usualIdleMs = 120_000;
/** So many at a time; the one that was quiet for longest makes room. */
const mostConversations = 1_024;
/** What waits to be written into a stream: more is dropped, as a full queue of UDP does. In octets. */
const mostWaiting = 1 << 20;

/** A datagram as the stream carries it. */
export function frameDatagram(datagram: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(datagram.length);
  return Buffer.concat([length, datagram]);
}

/** Takes a stream apart: returns what is to be called with each chunk, and calls back with each whole datagram. */
export function datagramReader(each: (datagram: Buffer) => void): (chunk: Buffer) => void {
  let read: Buffer = Buffer.alloc(0);
  return (chunk) => {
    read = read.length === 0 ? chunk : Buffer.concat([read, chunk]);
    while (read.length >= 2) {
      const end = 2 + read.readUInt16BE(0);
      if (read.length < end) return;
      each(read.subarray(2, end));
      read = read.subarray(end);
    }
  };
}

const sendInto = (stream: Socket, datagram: Buffer): void => {
  if (stream.writableLength < mostWaiting) stream.write(frameDatagram(datagram));
};

/** Where datagrams go. */
export interface DatagramTarget {
  readonly host: string;
  readonly port: number;
}

/** So long a target is waited for before the next one hears the same, in ms. */
const nextAfterMs = 600;

/**
 * The far end: what comes by the stream goes to the first target from a port of its own, and the answers back. While
 * nothing comes from it, the next target hears the same. `onAnswer` is told who answers.
 */
export function carryDatagrams(
  stream: Socket,
  targets: readonly DatagramTarget[],
  onAnswer: (target: DatagramTarget) => void = () => {},
): void {
  const sockets = new Map<DatagramTarget, Promise<UdpSocket | undefined>>();
  const timers = new Set<NodeJS.Timeout>();
  let heard = 0;
  let isOpen = true;
  const end = (): void => {
    if (!isOpen) return;
    isOpen = false;
    stream.destroy();
    for (const timer of timers) clearTimeout(timer);
    for (const socket of sockets.values()) void socket.then((udp) => udp?.close());
  };
  const socketTo = (target: DatagramTarget): Promise<UdpSocket | undefined> => {
    const known = sockets.get(target);
    if (known !== undefined) return known;
    const onMessage = (datagram: Buffer): void => {
      heard++;
      onAnswer(target);
      sendInto(stream, datagram);
    };
    // Where there is one target alone, the sender is to begin anew.
    const made = connected(target, onMessage, targets.length > 1 ? () => {} : end);
    sockets.set(target, made);
    return made;
  };
  const send = (datagram: Buffer, index: number): void => {
    const target = targets[index];
    if (!isOpen || target === undefined) return;
    // Nobody listens there at the moment (ECONNREFUSED): the sender hears nothing, as with UDP.
    void socketTo(target).then((udp) => isOpen && udp?.send(datagram, () => {}));
    if (index + 1 >= targets.length) return;
    const before = heard;
    const timer = setTimeout(() => {
      timers.delete(timer);
      if (heard === before) send(datagram, index + 1);
    }, nextAfterMs);
    timers.add(timer);
  };
  stream.on('close', end);
  stream.on('error', end);
  stream.on('end', end);
  stream.on(
    'data',
    datagramReader((datagram) => send(Buffer.from(datagram), 0)),
  );
  stream.resume();
}

/** A socket that hears that target alone; undefined where there is no way to it. */
function connected(
  { host, port }: DatagramTarget,
  onMessage: (datagram: Buffer) => void,
  onFailure: () => void,
): Promise<UdpSocket | undefined> {
  const udp = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', onMessage);
  return new Promise((resolve) => {
    udp.once('error', () => {
      udp.close();
      resolve(undefined);
      onFailure();
    });
    udp.once('connect', () => {
      udp.removeAllListeners('error');
      udp.on('error', onFailure);
      resolve(udp);
    });
    udp.connect(port, host);
  });
}

interface Conversation {
  readonly stream: Socket;
  lastHeard: number;
}

/** The near end: a UDP port; each client's datagrams go through a stream of their own. */
export interface DatagramRelay {
  /** The port that it listens on. */
  readonly port: number;
  close(): void;
}

export interface DatagramRelayOptions {
  readonly family: Family;
  /** Where it listens; the loopback address of the family where absent. */
  readonly address?: Ip;
  /** 0 for any free one. */
  readonly port: number;
  /** A conversation in which nothing is said for so long is over; two minutes where absent. */
  readonly idleMs?: number;
  /** The Unix socket to dial, and what to say first on it. */
  readonly path: string;
  readonly greeting: () => string;
}

/** Listens there; rejects with the system's error (EADDRINUSE …). */
export async function relayDatagrams(options: DatagramRelayOptions): Promise<DatagramRelay> {
  const { idleMs = usualIdleMs } = options;
  const udp = await bound(options);
  const conversations = new Map<string, Conversation>();
  udp.on('message', (datagram, from) => {
    const key = `${from.address} ${from.port}`;
    const known = conversations.get(key);
    const conversation = known === undefined || known.stream.destroyed ? begin(options, udp, from) : known;
    if (conversation !== known)
      conversation.stream.on('close', () => {
        if (conversations.get(key) === conversation) conversations.delete(key);
      });
    conversation.lastHeard = performance.now();
    // The first key is that of the one that has been quiet for longest.
    conversations.delete(key);
    conversations.set(key, conversation);
    if (conversations.size > mostConversations) conversations.values().next().value?.stream.destroy();
    sendInto(conversation.stream, datagram);
  });
  const look = setInterval(() => {
    const before = performance.now() - idleMs;
    for (const { stream, lastHeard } of conversations.values()) if (lastHeard < before) stream.destroy();
  }, idleMs / 2).unref();
  return {
    port: udp.address().port,
    close() {
      clearInterval(look);
      for (const { stream } of conversations.values()) stream.destroy();
      udp.close();
    },
  };
}

function begin(options: DatagramRelayOptions, udp: UdpSocket, to: RemoteInfo): Conversation {
  const stream = dial({ path: options.path });
  const conversation: Conversation = { stream, lastHeard: 0 };
  stream.write(options.greeting());
  stream.on(
    'data',
    datagramReader((datagram) => {
      conversation.lastHeard = performance.now();
      udp.send(datagram, to.port, to.address, () => {});
    }),
  );
  stream.on('error', () => stream.destroy());
  return conversation;
}

function bound({ family, address, port }: DatagramRelayOptions): Promise<UdpSocket> {
  const [type, loopback] = family === 'IPv4' ? (['udp4', '127.0.0.1'] as const) : (['udp6', '::1'] as const);
  const udp = createSocket({ type, ipv6Only: family === 'IPv6' });
  return new Promise((resolve, reject) => {
    udp.once('error', (error) => {
      udp.close();
      reject(error);
    });
    udp.bind(port, address ?? loopback, () => {
      udp.removeAllListeners('error');
      udp.on('error', () => {});
      resolve(udp);
    });
  });
}
