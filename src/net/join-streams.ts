// Two connections made into one: bytes both ways with back-pressure, each side's end passed on, nothing lost at the end.
import type { Duplex } from 'node:stream';

/** How long a peer may take to read its last bytes, once the other side has gone, and to close, in ms. */
const lastBytesMs = 30_000;

/**
 * Joins two streams. Each side's end is passed on while the other direction goes on (half-closed connections are how
 * many protocols say "that was all"). A side that breaks ends the other one, which first gets all that was read: who
 * closes while somebody still writes to him (containerd, at the end of a command) breaks his connection on purpose.
 */
export function joinStreams(one: Duplex, other: Duplex): void {
  for (const [from, to] of [
    [one, other],
    [other, one],
  ] as const) {
    from.on('error', () => endAndLinger(to));
    from.on('close', () => {
      // After a proper end of both directions the other side has its own end still to send.
      if (!from.readableEnded || !from.writableFinished) endAndLinger(to);
    });
    from.pipe(to);
  }
}

/** A connection that began as an HTTP upgrade; `head` is what was read of it already. */
export interface Upgraded {
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * Joins a client's upgraded connection and the one that serves it. SPDY and WebSocket have a half-close of their own: a
 * client that ends its TCP side has gone, and the session with it.
 */
export function joinUpgraded(client: Upgraded, server: Upgraded): void {
  for (const { socket } of [client, server]) {
    // Interactive sessions send single keys: they must not wait for more (Nagle's algorithm).
    if ('setNoDelay' in socket && typeof socket.setNoDelay === 'function') socket.setNoDelay(true);
  }
  client.socket.on('end', () => server.socket.once('finish', () => server.socket.destroy()));
  if (client.head.length > 0) server.socket.write(client.head);
  if (server.head.length > 0) client.socket.write(server.head);
  joinStreams(client.socket, server.socket);
}

/**
 * Ends a stream whose partner has gone, and waits for its peer's end. What the peer still says is read and let go: to
 * close with something unread would reset the connection, and the peer would lose what it has not read yet.
 */
function endAndLinger(stream: Duplex): void {
  if (stream.destroyed || stream.writableEnded) return;
  const giveUp = setTimeout(() => stream.destroy(), lastBytesMs);
  giveUp.unref();
  stream.once('close', () => clearTimeout(giveUp));
  stream.end();
  stream.resume();
}
