// A DNS server of the tests: UDP, TCP and TLS on 127.0.0.1, with a codec that is not ours (dns-packet) as the judge.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import {
  type Answer,
  type DecodedPacket,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
} from 'dns-packet';

export interface Asked {
  readonly name: string;
  readonly type: string;
  readonly transport: 'udp' | 'tcp' | 'tls';
}

/** What is answered: records, a whole packet, or nothing at all. */
export type Behaviour = (asked: Asked, query: DecodedPacket) => Partial<Packet> | 'silence' | Promise<Partial<Packet>>;

export interface TestUpstream {
  readonly port: number;
  /** Every question so far, in order; those of health checks (`. NS`) and for loops are in `checks`. */
  readonly asked: Asked[];
  readonly checks: Asked[];
  /** How many connections were made. */
  connections: number;
  behaviour: Behaviour;
  /** Ends every connection that is open. */
  hangUp(): void;
  stop(): Promise<void>;
}

/** An answer with the address for every A question, and none for all others. */
export const addressed =
  (ip: string, ttl = 60): Behaviour =>
  ({ name, type }) =>
    type === 'A' ? { answers: [{ name, type: 'A', ttl, data: ip }] } : {};

export const rcodes = { NOERROR: 0, SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;

/** Only an answer's code, with an SOA as of a zone that says how long it may be kept. */
export const denied =
  (rcode: keyof typeof rcodes, minimum = 60): Behaviour =>
  () => ({
    flags: rcodes[rcode],
    authorities: [
      {
        name: 'example.org',
        type: 'SOA',
        ttl: 300,
        data: {
          mname: 'ns.example.org',
          rname: 'root.example.org',
          serial: 1,
          refresh: 1,
          retry: 1,
          expire: 1,
          minimum,
        },
      },
    ],
  });

interface Options {
  readonly port?: number;
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** Starts a server; on UDP and TCP alike, or with TLS alone. */
export async function startUpstream(behaviour: Behaviour, options: Options = {}): Promise<TestUpstream> {
  const sockets = new Set<Socket>();
  const answer = async (message: Buffer, transport: Asked['transport']): Promise<Buffer | undefined> => {
    const query = decode(message);
    const [question] = query.questions ?? [];
    if (question === undefined) return undefined;
    const asked: Asked = { name: question.name, type: question.type, transport };
    const isCheck = question.name === '.' || question.name === '' || question.name.startsWith('weft-loop-');
    (isCheck ? upstream.checks : upstream.asked).push(asked);
    const given = await upstream.behaviour(asked, query);
    if (given === 'silence') return undefined;
    const flags = RECURSION_DESIRED | RECURSION_AVAILABLE | (given.flags ?? 0);
    const additionals = (query.additionals ?? []).some(({ type }) => type === 'OPT')
      ? [...(given.additionals ?? []), optRecord]
      : given.additionals;
    return encode({
      answers: [],
      ...given,
      type: 'response',
      flags,
      id: query.id ?? 0,
      questions: [question],
      ...(additionals !== undefined && { additionals }),
    });
  };
  const stream = serveStream(options, sockets, answer, () => upstream.connections++);
  stream.listen(options.port ?? 0, '127.0.0.1');
  await once(stream, 'listening');
  const bound = stream.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  const udp = options.tls === undefined ? await serveUdp(port, answer) : undefined;
  const upstream: TestUpstream = {
    port,
    asked: [],
    checks: [],
    connections: 0,
    behaviour,
    hangUp() {
      for (const socket of sockets) socket.destroy();
    },
    async stop() {
      if (!stream.listening) return;
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => stream.close(() => resolve()));
      if (udp !== undefined) await new Promise<void>((resolve) => udp.close(() => resolve()));
    },
  };
  return upstream;
}

const optRecord: Answer = {
  name: '.',
  type: 'OPT',
  udpPayloadSize: 1232,
  extendedRcode: 0,
  ednsVersion: 0,
  flags: 0,
  flag_do: false,
  options: [],
};

type Answering = (message: Buffer, transport: Asked['transport']) => Promise<Buffer | undefined>;

async function serveUdp(port: number, answer: Answering): Promise<UdpSocket> {
  const udp = createSocket('udp4');
  udp.on('message', (message, from) => {
    void answer(message, 'udp').then((reply) => {
      if (reply !== undefined) udp.send(reply, from.port, from.address, () => {});
    });
  });
  udp.bind(port, '127.0.0.1');
  await once(udp, 'listening');
  return udp;
}

function serveStream(options: Options, sockets: Set<Socket>, answer: Answering, onConnection: () => void): Server {
  const transport = options.tls === undefined ? 'tcp' : 'tls';
  const serve = (socket: Socket): void => {
    onConnection();
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    let received = Buffer.alloc(0);
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        void answer(Buffer.from(received.subarray(2, end)), transport).then((reply) => {
          if (reply === undefined || socket.destroyed) return;
          const length = Buffer.alloc(2);
          length.writeUInt16BE(reply.length);
          socket.write(Buffer.concat([length, reply]));
        });
        received = received.subarray(end);
      }
    });
  };
  return options.tls === undefined ? createServer(serve) : createTlsServer(options.tls, serve);
}
