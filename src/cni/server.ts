// The Unix socket on which the shim brings the runtime's calls.
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type Answer, type Call, encodeAnswer, parseCall } from './frame.ts';

/** A configuration is a few kilobytes; with the list of all valid attachments of a node some hundred. */
const frameLimit = 16 * 1024 * 1024;

export interface CniServer {
  stop(): Promise<void>;
}

/** Listens on the socket (mode 0600, an old one is replaced); resolves when it accepts calls. */
export async function serveCalls(socketPath: string, answer: (call: Call) => Promise<Answer>): Promise<CniServer> {
  mkdirSync(dirname(socketPath), { recursive: true, mode: 0o755 });
  rmSync(socketPath, { force: true });
  const open = new Set<Socket>();
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on('close', () => open.delete(socket));
    socket.on('error', () => socket.destroy());
    receive(socket, answer);
  });
  await listen(server, socketPath);
  chmodSync(socketPath, 0o600);
  return {
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function receive(socket: Socket, answer: (call: Call) => Promise<Answer>): void {
  const chunks: Buffer[] = [];
  let length = 0;
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    length += chunk.length;
    if (length > frameLimit) socket.destroy();
  });
  socket.on('end', () => {
    const call = parseCall(Buffer.concat(chunks));
    if (call === undefined) {
      socket.destroy();
      return;
    }
    answer(call).then(
      (result) => socket.end(encodeAnswer(result)),
      () => socket.destroy(),
    );
  });
}
