// The sockets of the DNS server: UDP and TCP on the same address and port.
import { createServer, type Server, type Socket } from 'node:net';
import type { HotPath } from './hot-path.ts';
import type { HotTally } from './metrics/hot-tally.ts';
import type { Responder } from './responder.ts';
import type { Sources } from './sources.ts';
import { serveConnection } from './tcp-connection.ts';
import { UdpListener } from './udp-listener.ts';

/** What answers: the hot path first, and the responder what that leaves. */
export interface Answerer {
  readonly hot: Pick<HotPath, 'answer' | 'last'>;
  readonly responder: Responder;
  /** Whose datagrams are believed to come from them. */
  readonly sources: Sources;
  /** Counts the answers of the hot path. */
  readonly tally: HotTally;
}

export interface Listeners {
  /** The port that both listen on. */
  readonly port: number;
  /** Those of UDP, one for each address. */
  readonly udp: readonly UdpListener[];
  close(): Promise<void>;
}

const largestConnections = 1000;

/** Listens at several addresses, all on the same port; where one of them cannot be, none is listened at. */
export async function listenOnAll(
  answerer: Answerer,
  [first, ...others]: readonly [string, ...string[]],
  port: number,
): Promise<Listeners> {
  const main = await listen(answerer, first, port);
  const made = await Promise.allSettled(others.map((address) => listen(answerer, address, main.port)));
  const all = [main, ...made.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))];
  const close = async (): Promise<void> => {
    await Promise.all(all.map((one) => one.close()));
  };
  const failed = made.find((one) => one.status === 'rejected');
  if (failed !== undefined) {
    await close();
    throw failed.reason;
  }
  return { port: main.port, udp: all.flatMap(({ udp }) => udp), close };
}

/** Listens on UDP and TCP; rejects with the system's error when the port is taken. */
export async function listen(answerer: Answerer, address: string, port: number): Promise<Listeners> {
  const tcp = await listenTcp(answerer, address, port);
  const bound = tcp.address();
  const actual = typeof bound === 'object' && bound !== null ? bound.port : port;
  const connections = new Set<Socket>();
  tcp.on('connection', (socket) => {
    connections.add(socket);
    socket.on('close', () => connections.delete(socket));
  });
  try {
    // TCP has the address for itself: another server that ends has it first, though sockets of UDP are shared.
    const udp = new UdpListener(answerer, address, actual);
    await udp.read();
    return {
      port: actual,
      udp: [udp],
      async close() {
        for (const socket of connections) socket.destroy();
        udp.close();
        await new Promise<void>((resolve) => tcp.close(() => resolve()));
      },
    };
  } catch (error) {
    tcp.close();
    throw error;
  }
}

function listenTcp(answerer: Answerer, address: string, port: number): Promise<Server> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => serveConnection(answerer, socket));
    server.maxConnections = largestConnections;
    server.once('error', reject);
    server.listen(port, address, () => {
      server.off('error', reject);
      server.on('error', () => {});
      resolve(server);
    });
  });
}
