// Locks between processes of one machine: a name in the abstract space of Unix sockets, freed by the kernel.
import { createServer } from 'node:net';

/** Takes the lock; undefined where another process has it. It is held until it is released or the process ends. */
export function takeLock(name: string): Promise<{ release(): void } | undefined> {
  return new Promise((resolve, reject) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error) => {
      if ('code' in error && error.code === 'EADDRINUSE') resolve(undefined);
      else reject(error);
    });
    server.listen(`\0weft/${name}`, () => {
      server.unref();
      resolve({ release: () => void server.close() });
    });
  });
}
