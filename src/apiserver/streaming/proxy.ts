// What the API server does with requests that it does not answer itself: exec, attach and port-forward go to the
// kubelet as upgraded connections; logs and the proxy subresources go on as plain HTTP.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { joinUpgraded } from '../../net/join-streams.ts';
import { failure, refuse, relayHead, relayRefusal } from './answer.ts';
import { type BackendTls, forwardedHeaders, requestTo, type Target, upgrade } from './backend.ts';
import { type StreamKind, selectedStreams } from './kubelet-paths.ts';
import {
  acceptWebSocket,
  channelProtocols,
  offeredProtocols,
  translateChannels,
  translateTunnel,
  tunnelProtocol,
} from './websocket.ts';

export type { BackendTls, Target } from './backend.ts';
export { kubeletLogPath, kubeletStreamPath, type PodStream, type StreamKind } from './kubelet-paths.ts';

/** An `upgrade` event of the server: the request, its connection, and what was read of it after the request. */
export interface UpgradeRequest {
  readonly req: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

/**
 * Runs an exec, attach or port-forward session between the client and the kubelet. The client may speak SPDY/3.1
 * (passed through) or WebSocket (translated). It owns the socket from here on and answers every failure on it itself:
 * what the kubelet refuses is relayed with its status and text.
 */
export function proxyToKubelet(
  options: UpgradeRequest & { readonly target: Target; readonly tls: BackendTls; readonly kind: StreamKind },
): void {
  const { req, socket } = options;
  socket.on('error', () => socket.destroy());
  const session =
    (req.headers.upgrade ?? '').toLowerCase() === 'websocket' ? webSocketSession(options) : passThrough(options);
  session.catch((error: unknown) => refuseUnreachable(socket, options.target, error));
}

/** Passes any upgrade (a WebSocket to a pod through pods/proxy) to the target as it is. */
export function proxyUpgrade(
  options: UpgradeRequest & { readonly target: Target; readonly tls?: BackendTls | undefined },
): void {
  options.socket.on('error', () => options.socket.destroy());
  passThrough(options).catch((error: unknown) => refuseUnreachable(options.socket, options.target, error));
}

async function passThrough(
  options: UpgradeRequest & { readonly target: Target; readonly tls?: BackendTls | undefined },
): Promise<void> {
  const { req, socket, head, target, tls } = options;
  const headers = { ...forwardedHeaders(req), connection: 'Upgrade', upgrade: req.headers.upgrade };
  const backend = await upgrade(target, tls, req.method ?? 'POST', { ...headers, host: hostHeader(target) });
  if (!backend.ok) return relayRefusal(socket, backend.res);
  if (socket.destroyed) return void backend.socket.destroy();
  relayHead(socket, backend.res);
  joinUpgraded({ socket, head }, backend);
}

async function webSocketSession(
  options: UpgradeRequest & { readonly target: Target; readonly tls: BackendTls; readonly kind: StreamKind },
): Promise<void> {
  const { req, socket, head, target, tls, kind } = options;
  const offered = offeredProtocols(req);
  const protocol =
    kind === 'portforward'
      ? offered.find((one) => one === tunnelProtocol)
      : channelProtocols.find((one) => offered.includes(one));
  if (protocol === undefined) {
    const known = kind === 'portforward' ? [tunnelProtocol] : channelProtocols;
    const message = `none of the WebSocket sub-protocols "${offered.join(', ')}" is served; use ${known.join(', ')}`;
    return refuse(socket, failure(400, 'BadRequest', message));
  }
  // The kubelet is asked first, so that its refusal is still an answer to the HTTP request.
  const backend = await upgrade(target, tls, 'POST', {
    host: hostHeader(target),
    connection: 'Upgrade',
    upgrade: 'SPDY/3.1',
    'x-stream-protocol-version': kind === 'portforward' ? 'portforward.k8s.io' : 'v4.channel.k8s.io',
    'content-length': 0,
  });
  if (!backend.ok) return relayRefusal(socket, backend.res);
  if (socket.destroyed) return void backend.socket.destroy();
  const ws = await acceptWebSocket(req, socket, head, protocol);
  const channels = channelProtocols.find((one) => one === protocol);
  if (channels === undefined) return translateTunnel(ws, backend);
  translateChannels(ws, channels, backend, selectedStreams(new URL(target.path, 'http://kubelet').searchParams));
}

/**
 * Passes one HTTP request to a kubelet (with `tls`) or a pod (without) and streams the answer as it comes. Failures
 * are answered with a Status.
 */
export function proxyHttp(options: {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  readonly target: Target;
  readonly tls?: BackendTls | undefined;
}): void {
  const { req, res, target, tls } = options;
  const headers = { ...forwardedHeaders(req), host: hostHeader(target) };
  const backend = requestTo(target, tls, req.method ?? 'GET', headers);
  res.on('close', () => backend.destroy());
  backend.on('response', (answer) => {
    res.writeHead(answer.statusCode ?? 502, answer.statusMessage, forwardedHeaders(answer));
    res.flushHeaders();
    answer.on('error', () => res.destroy());
    answer.pipe(res);
  });
  backend.on('error', (error) => {
    if (res.headersSent || res.destroyed) return void res.destroy();
    const status = unreachable(target, error);
    res.writeHead(status.code ?? 503, { 'content-type': 'application/json' }).end(JSON.stringify(status));
  });
  req.pipe(backend);
}

function hostHeader({ host, port }: Target): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function refuseUnreachable(socket: Duplex, target: Target, error: unknown): void {
  refuse(socket, unreachable(target, error));
}

function unreachable(target: Target, error: unknown) {
  const cause = error instanceof Error ? error.message : String(error);
  return failure(503, 'ServiceUnavailable', `error trying to reach ${hostHeader(target)}: ${cause}`);
}
