// HTTP answers on a raw socket, where Node has handed over the connection for an upgrade that will not happen.
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Status } from '../../k8s/types.generated.ts';

/** A failure in Kubernetes' own form. */
export function failure(code: number, reason: string, message: string): Status {
  return { apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', message, reason, code };
}

/** Answers with a Status and ends the connection. */
export function refuse(socket: Duplex, status: Status): void {
  writeAnswer(socket, status.code ?? 500, 'application/json', Buffer.from(JSON.stringify(status)));
}

/** Answers as the other server has answered, with its text. */
export function relayRefusal(socket: Duplex, res: IncomingMessage): void {
  const chunks: Buffer[] = [];
  let size = 0;
  res.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size <= 64 * 1024) chunks.push(chunk);
  });
  const done = () => {
    const type = res.headers['content-type'] ?? 'text/plain';
    writeAnswer(socket, res.statusCode ?? 502, type, Buffer.concat(chunks));
  };
  res.on('end', done);
  res.on('error', done);
}

/** The head of the answer that the other server has given, unchanged. */
export function relayHead(socket: Duplex, res: IncomingMessage): void {
  const lines = [`HTTP/1.1 ${res.statusCode} ${res.statusMessage}`];
  for (let i = 0; i + 1 < res.rawHeaders.length; i += 2) lines.push(`${res.rawHeaders[i]}: ${res.rawHeaders[i + 1]}`);
  socket.write(`${lines.join('\r\n')}\r\n\r\n`);
}

function writeAnswer(socket: Duplex, code: number, type: string, body: Buffer): void {
  if (!socket.writable) return;
  const head = [
    `HTTP/1.1 ${code} ${STATUS_CODES[code] ?? ''}`,
    `Content-Type: ${type}`,
    `Content-Length: ${body.length}`,
    'Connection: close',
  ];
  socket.end(Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`), body]));
}
