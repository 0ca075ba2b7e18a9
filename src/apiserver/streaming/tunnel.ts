// Two connections made into one: bytes both ways, with back-pressure, each side's end passed on.
import type { Duplex } from 'node:stream';

/**
 * Joins the client's connection and the one that serves it; `head` of a side is what was read of it already. SPDY and
 * WebSocket have their own half-close: a client that ends its TCP side has gone, and the session with it.
 */
export function tunnel(client: Duplex, clientHead: Buffer, backend: Duplex, backendHead: Buffer): void {
  const both = [client, backend];
  for (const side of both) {
    side.on('error', () => {
      for (const one of both) one.destroy();
    });
    side.on('close', () => {
      for (const one of both) if (one !== side) one.destroy();
    });
    // Interactive sessions send single keys: they must not wait for more (Nagle's algorithm).
    if ('setNoDelay' in side && typeof side.setNoDelay === 'function') side.setNoDelay(true);
  }
  client.on('end', () => backend.once('finish', () => backend.destroy()));
  if (clientHead.length > 0) backend.write(clientHead);
  if (backendHead.length > 0) client.write(backendHead);
  client.pipe(backend);
  backend.pipe(client);
}
