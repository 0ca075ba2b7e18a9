// exec, attach and port-forward over WebSocket: the server's side of the *.channel.k8s.io sub-protocols and of the
// tunnel, each translated to the SPDY connection that a kubelet speaks.
// Source: client-go tools/remotecommand/websocket.go, apiserver pkg/util/proxy; KEP-4006.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { RawData, WebSocket } from 'ws';
import { createSpdyConnection, type SpdyConnection } from './spdy-client.ts';

/** The sub-protocols for exec and attach, the preferred one first. */
export const channelProtocols = ['v5.channel.k8s.io', 'v4.channel.k8s.io', 'v4.base64.channel.k8s.io'] as const;
export type ChannelProtocol = (typeof channelProtocols)[number];

/** SPDY, wrapped byte for byte in binary messages (kubectl port-forward since 1.31). */
export const tunnelProtocol = 'SPDY/3.1+portforward.k8s.io';

export interface StreamSelection {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly tty: boolean;
}

const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;
type ChannelName = Exclude<keyof typeof channel, 'close'>;

/** Above this many unsent bytes the sender is held back. */
const highWater = 1024 * 1024;

/** Completes the WebSocket handshake with this sub-protocol. */
export async function acceptWebSocket(
  req: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<WebSocket> {
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    handleProtocols: () => protocol,
  });
  return new Promise((resolve) => server.handleUpgrade(req, socket, head, resolve));
}

/** The sub-protocols that the client offers, in its order. */
export function offeredProtocols(req: IncomingMessage): string[] {
  return (req.headers['sec-websocket-protocol'] ?? '').split(',').map((protocol) => protocol.trim());
}

/** Runs one exec or attach session between a WebSocket and an upgraded connection to a kubelet. */
export function translateChannels(
  ws: WebSocket,
  protocol: ChannelProtocol,
  backend: { socket: Duplex; head: Buffer },
  selection: StreamSelection,
): void {
  const base64 = protocol === 'v4.base64.channel.k8s.io';
  const channelOf = new Map<number, number>();
  const streams = new Map<number, number>();
  const spdy = createSpdyConnection(backend.socket, backend.head, {
    data(stream, data) {
      const number = channelOf.get(stream);
      if (number !== undefined && ws.readyState === ws.OPEN) send(ws, encode(number, data, base64), spdy);
    },
    end: () => {},
    close: () => ws.close(1000),
  });
  for (const name of wantedStreams(selection)) {
    const stream = spdy.open({ streamtype: name });
    channelOf.set(stream, channel[name]);
    streams.set(channel[name], stream);
  }
  ws.on('message', (message, isBinary) => {
    const [number, data] = decode(bytesOf(message), !isBinary && base64);
    if (number === channel.close && protocol === 'v5.channel.k8s.io') {
      const stream = streams.get(data[0] ?? channel.close);
      if (stream !== undefined) spdy.end(stream);
      return;
    }
    const stream = number === channel.stdin || number === channel.resize ? streams.get(number) : undefined;
    if (stream !== undefined && data.length > 0) forward(ws, spdy, stream, data);
  });
  ws.on('close', () => spdy.close());
  ws.on('error', () => spdy.close());
}

/** Passes the bytes of binary messages to the connection and back, unread. */
export function translateTunnel(ws: WebSocket, backend: { socket: Duplex; head: Buffer }): void {
  const { socket, head } = backend;
  socket.on('data', (data: Buffer) => send(ws, data, socket));
  socket.on('error', () => ws.close(1011));
  socket.on('close', () => ws.close(1000));
  socket.on('end', () => ws.close(1000));
  if (head.length > 0) ws.send(head);
  ws.on('message', (message) => {
    if (!socket.writable || socket.write(bytesOf(message))) return;
    ws.pause();
    socket.once('drain', () => ws.resume());
  });
  ws.on('close', () => socket.destroy());
  ws.on('error', () => socket.destroy());
}

/** Kubelets expect the error stream first, stderr only without a terminal, and resize only with one. */
function wantedStreams({ stdin, stdout, stderr, tty }: StreamSelection): ChannelName[] {
  const names: ChannelName[] = ['error'];
  if (stdin) names.push('stdin');
  if (stdout) names.push('stdout');
  if (stderr && !tty) names.push('stderr');
  if (tty) names.push('resize');
  return names;
}

/** Holds the source back while the WebSocket has much to send. */
function send(ws: WebSocket, data: Buffer | string, source: { pause(): unknown; resume(): unknown }): void {
  if (ws.readyState !== ws.OPEN) return;
  ws.send(data, () => {
    if (ws.bufferedAmount < highWater) source.resume();
  });
  if (ws.bufferedAmount >= highWater) source.pause();
}

function forward(ws: WebSocket, spdy: SpdyConnection, stream: number, data: Buffer): void {
  if (spdy.write(stream, data)) return;
  ws.pause();
  void spdy.drained().then(() => ws.resume());
}

function encode(number: number, data: Buffer, base64: boolean): Buffer | string {
  return base64 ? `${number}${data.toString('base64')}` : Buffer.concat([Buffer.from([number]), data]);
}

function decode(message: Buffer, base64: boolean): [number: number, data: Buffer] {
  if (message.length === 0) return [channel.stdin, message];
  const rest = message.subarray(1);
  return base64 ? [(message[0] ?? 0) - 0x30, Buffer.from(rest.toString('latin1'), 'base64')] : [message[0] ?? 0, rest];
}

function bytesOf(message: RawData): Buffer {
  if (Array.isArray(message)) return Buffer.concat(message);
  return Buffer.isBuffer(message) ? message : Buffer.from(message);
}
