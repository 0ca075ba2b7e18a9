// Passing an upgraded connection on to the container runtime's streaming server, byte by byte.
import { type IncomingMessage, request, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { joinUpgraded } from '../../net/join-streams.ts';
import { statusOfFailure } from './containers.ts';

/** The request that asked for the upgrade, its connection, and what was read of it after the request. */
export interface UpgradeRequest {
  readonly req: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * Answers an upgrade that will not happen, and ends the connection. kubectl prints a text as it is, but reads it as YAML
 * first: one with a colon would become an object without a message, so it is sent as a Status.
 */
export function refuseUpgrade(socket: Duplex, code: number, message: string): void {
  if (!socket.writable) return;
  const plain = !/:\s/.test(message);
  const body = Buffer.from(plain ? message : JSON.stringify(statusOfFailure({ code, message })));
  const head = [
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`,
    `Content-Type: ${plain ? 'text/plain; charset=utf-8' : 'application/json'}`,
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}

/** Asks the runtime's streaming URL for the same upgrade and joins both connections; relays what the runtime refuses. */
export function joinRuntime({ req, socket, head }: UpgradeRequest, url: string): void {
  const headers: Record<string, string | string[] | undefined> = { connection: 'Upgrade', 'content-length': '0' };
  for (const name of ['upgrade', 'x-stream-protocol-version']) headers[name] = req.headersDistinct[name];
  const runtime = request(url, { method: 'POST', headers, agent: false });
  runtime.on('error', (error) => refuseUpgrade(socket, 500, `error dialing the container runtime: ${error.message}`));
  runtime.on('response', (res) => {
    const chunks: Buffer[] = [];
    res.on('data', (chunk: Buffer) => chunks.push(chunk));
    res.on('end', () => refuseUpgrade(socket, res.statusCode ?? 500, Buffer.concat(chunks).toString()));
  });
  runtime.on('upgrade', (res, backend, backendHead) => {
    const lines = [`HTTP/1.1 ${res.statusCode} ${res.statusMessage}`];
    for (let i = 0; i + 1 < res.rawHeaders.length; i += 2) lines.push(`${res.rawHeaders[i]}: ${res.rawHeaders[i + 1]}`);
    socket.write(`${lines.join('\r\n')}\r\n\r\n`);
    joinUpgraded({ socket, head }, { socket: backend, head: backendHead });
  });
  socket.on('close', () => runtime.destroy());
  runtime.end();
}
