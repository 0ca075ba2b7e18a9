// Passes UDP datagrams through a byte stream: each with its length before it (two octets, most significant first).
import { createSocket, type RemoteInfo, type Socket as UdpSocket } from 'node:dgram';
import type { Socket } from 'node:net';
import type { Family } from '../net/address.ts';
import { dial } from './byte-relay.ts';

/** A conversation in which nothing is said for so long is over: as conntrack keeps one that was answered, in ms. */
const idleMs = 120_000;
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

/** The far end: what comes by the stream goes to that address from a port of its own, and the answers back. */
export function carryDatagrams(stream: Socket, target: { readonly host: string; readonly port: number }): void {
  const udp = createSocket(target.host.includes(':') ? 'udp6' : 'udp4');
  const end = (): void => {
    stream.destroy();
    if (isOpen) udp.close();
    isOpen = false;
  };
  let isOpen = true;
  udp.on('error', end);
  udp.on('message', (datagram) => sendInto(stream, datagram));
  stream.on('close', end);
  stream.on('error', end);
  stream.on('end', end);
  stream.pause();
  udp.connect(target.port, target.host, () => {
    stream.on(
      'data',
      datagramReader((datagram) => {
        // Nobody listens there at the moment (ECONNREFUSED): the sender hears nothing, as with UDP.
        if (isOpen) udp.send(datagram, () => {});
      }),
    );
    stream.resume();
  });
}

interface Conversation {
  readonly stream: Socket;
  lastHeard: number;
}

/** The near end: a UDP port of the loopback; each client's datagrams go through a stream of their own. */
export interface DatagramRelay {
  /** The port that it listens on. */
  readonly port: number;
  close(): void;
}

export interface DatagramRelayOptions {
  readonly family: Family;
  /** 0 for any free one. */
  readonly port: number;
  /** The Unix socket to dial, and what to say first on it. */
  readonly path: string;
  readonly greeting: () => string;
}

/** Listens on the loopback address of that family; rejects with the system's error (EADDRINUSE …). */
export async function relayDatagrams(options: DatagramRelayOptions): Promise<DatagramRelay> {
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

function bound({ family, port }: DatagramRelayOptions): Promise<UdpSocket> {
  const [type, address] = family === 'IPv4' ? (['udp4', '127.0.0.1'] as const) : (['udp6', '::1'] as const);
  const udp = createSocket({ type, ipv6Only: family === 'IPv6' });
  return new Promise((resolve, reject) => {
    udp.once('error', (error) => {
      udp.close();
      reject(error);
    });
    udp.bind(port, address, () => {
      udp.removeAllListeners('error');
      udp.on('error', () => {});
      resolve(udp);
    });
  });
}
