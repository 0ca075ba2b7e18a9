// Passes bytes between a listening socket and another one, both ways, until both have ended.
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Log } from '../log/log.ts';
import { joinStreams } from '../net/join-streams.ts';

/** Where connections go: a Unix socket, or a TCP address. */
export type Target = { readonly path: string } | { readonly host: string; readonly port: number };

/** Connects to a target. */
export function dial(target: Target): Socket {
  const socket = connect({ ...target, allowHalfOpen: true });
  socket.setNoDelay(true);
  return socket;
}

/** A server that passes each connection on. `greeting` is sent first on the outgoing side. */
export function relayServer(target: Target, greeting?: string): Server {
  return createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
    const outgoing = dial(target);
    if (greeting !== undefined) outgoing.write(greeting);
    joinStreams(incoming, outgoing);
  });
}

/** Resolves when the server listens there; rejects with the system's error (EADDRINUSE …). */
export function listening(server: Server, at: { path: string } | { host: string; port: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(at, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** Beside 127.0.0.1, which serves all the same where the host has no IPv6 or another process has the port of ::1. */
export function listenOnIpv6Too(server: Server, port: number, log: Log): void {
  listening(server, { host: '::1', port }).catch((error: unknown) =>
    log.warn({ port, error: String(error) }, 'the port is not forwarded from ::1'),
  );
}

/** The port that a listening TCP server has got. */
export function portOf(server: Server): number {
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the server does not listen on a port');
  return address.port;
}
