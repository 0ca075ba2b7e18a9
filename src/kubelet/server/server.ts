// The kubelet's HTTPS API: what the API server asks of a node. Logs, exec, attach, port-forward, the node's pods.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import type { Log } from '../../log/log.ts';
import type { PodSource, RuntimeStreams, StreamOptions } from '../runtime.ts';
import { type Failure, loggedContainer, runningContainer, statusOfFailure } from './containers.ts';
import { parseLogOptions } from './log-lines.ts';
import { streamLog } from './log-stream.ts';
import { joinRuntime, refuseUpgrade, type UpgradeRequest } from './upgrade.ts';

export interface KubeletServerOptions {
  /** 10250 by convention; 0 takes a free one. */
  readonly port: number;
  /** The addresses to listen on; all of them where the list is empty. */
  readonly addresses: readonly string[];
  /** PEM; clients must show a certificate by `clientCa`. */
  readonly serving: { readonly cert: string; readonly key: string; readonly clientCa: string };
  readonly pods: PodSource;
  readonly runtime: RuntimeStreams;
  readonly log: Log;
}

/**
 * Listens until stopped; stopping cuts running sessions. Only the API server may ask: everyone else with a certificate
 * of the cluster gets 403, without one 401.
 */
export async function startKubeletServer(
  options: KubeletServerOptions,
): Promise<{ readonly port: number; stop(): Promise<void> }> {
  const addresses = options.addresses.length > 0 ? options.addresses : ['::'];
  const servers: { port: number; stop(): Promise<void> }[] = [];
  try {
    for (const address of addresses) servers.push(await listen(options, address, servers[0]?.port ?? options.port));
  } catch (error) {
    await Promise.all(servers.map((server) => server.stop()));
    throw error;
  }
  return {
    port: servers[0]?.port ?? options.port,
    async stop() {
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

async function listen(options: KubeletServerOptions, host: string, port: number) {
  const { cert, key, clientCa } = options.serving;
  const sockets = new Set<Duplex>();
  const server = createServer({ cert, key, ca: clientCa, requestCert: true, rejectUnauthorized: false });
  server.on('request', (req, res) => {
    answer(options, req, res).catch((error: unknown) => {
      options.log.warn({ err: error, path: req.url }, 'a request to the kubelet failed');
      if (res.headersSent) res.destroy();
      else sendFailure(res, { code: 500, message: messageOf(error) });
    });
  });
  server.on('upgrade', (req, socket, head) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    startSession(options, { req, socket, head }).catch((error: unknown) => {
      options.log.info({ err: error, path: req.url }, 'a streaming session could not start');
      refuseUpgrade(socket, 500, messageOf(error));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen({ port, host }, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const address: AddressInfo | string | null = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : port,
    async stop() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await closed;
    },
  };
}

const apiServerNames = ['kube-apiserver-kubelet-client', 'system:kube-apiserver'];

/** Why the sender of this request may not ask; undefined for the API server. */
function refusal(req: IncomingMessage): Failure | undefined {
  const { socket } = req;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return { code: 401, message: 'Unauthorized' };
  const { subject } = socket.getPeerCertificate();
  const name = [subject?.CN ?? []].flat().at(-1);
  if (name === undefined) return { code: 401, message: 'Unauthorized' };
  if (apiServerNames.includes(name) || [subject?.O ?? []].flat().includes('system:masters')) return undefined;
  return { code: 403, message: `Forbidden (user=${name}, path=${new URL(req.url ?? '/', 'http://kubelet').pathname})` };
}

async function answer(options: KubeletServerOptions, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const refused = refusal(req);
  if (refused) return sendFailure(res, refused);
  const { pathname, searchParams } = new URL(req.url ?? '/', 'http://kubelet');
  const [kind = '', ...names] = pathname.split('/').slice(1).map(decodeURIComponent);
  if (req.method !== 'GET' && req.method !== 'HEAD')
    return ['exec', 'attach', 'portForward'].includes(kind)
      ? sendFailure(res, { code: 400, message: 'this path needs an upgrade of the connection (Upgrade: SPDY/3.1)' })
      : sendFailure(res, { code: 405, message: `the method ${req.method} is not allowed here` });
  switch (kind) {
    case 'healthz':
      res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('ok');
      return;
    case 'pods':
      return sendJson(res, 200, { apiVersion: 'v1', kind: 'PodList', metadata: {}, items: options.pods.pods() });
    case 'containerLogs':
      return sendLogs(options, names, searchParams, res);
    default:
      return sendFailure(res, { code: 404, message: `404 page not found: ${pathname}` });
  }
}

async function sendLogs(
  options: KubeletServerOptions,
  [namespace = '', pod = '', container = '']: readonly string[],
  query: URLSearchParams,
  res: ServerResponse,
): Promise<void> {
  const wanted = parseLogOptions(query, new Date());
  if ('error' in wanted) return sendFailure(res, { code: 400, message: wanted.error });
  const instance = options.pods.findPod(namespace, pod);
  const previous = ['1', 'true'].includes(query.get('previous') ?? '');
  const found = loggedContainer(instance, { namespace, pod, container }, previous);
  if (!found.ok) return sendFailure(res, found.failure);
  const { id, logPath } = found.value;
  const isRunning = () =>
    options.pods.findPod(namespace, pod)?.containers.some((one) => one.id === id && one.state === 'running') ?? false;
  res.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' });
  res.flushHeaders();
  try {
    await streamLog({ path: logPath, isRunning }, wanted, res);
  } catch (error) {
    // A container that has never been able to write has no file: its log is empty.
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error;
  }
  res.end();
}

async function startSession(options: KubeletServerOptions, upgrade: UpgradeRequest): Promise<void> {
  const { req, socket } = upgrade;
  const refused = refusal(req);
  if (refused) return refuseUpgrade(socket, refused.code, refused.message);
  if (!/^spdy\/3\.1$/i.test(req.headers.upgrade ?? ''))
    return refuseUpgrade(socket, 400, `cannot upgrade to "${req.headers.upgrade}": the kubelet speaks SPDY/3.1`);
  const { pathname, searchParams } = new URL(req.url ?? '/', 'http://kubelet');
  const [kind = '', namespace = '', pod = '', ...rest] = pathname.split('/').slice(1).map(decodeURIComponent);
  const instance = options.pods.findPod(namespace, pod);
  if (kind === 'portForward') {
    if (instance?.sandboxId === undefined) return refuseUpgrade(socket, 404, 'pod does not exist or is not running');
    return joinRuntime(upgrade, await options.runtime.portForward(instance.sandboxId, []));
  }
  if (kind !== 'exec' && kind !== 'attach') return refuseUpgrade(socket, 404, `404 page not found: ${pathname}`);
  // NAMESPACE/POD/CONTAINER, or NAMESPACE/POD/UID/CONTAINER.
  const found = runningContainer(instance, rest.at(-1) ?? '');
  if (!found.ok) return refuseUpgrade(socket, found.failure.code, found.failure.message);
  const streams = selectedStreams(searchParams);
  if (!streams.stdin && !streams.stdout && !streams.stderr)
    return refuseUpgrade(socket, 400, 'you must specify at least 1 of stdin, stdout, stderr');
  const { id } = found.value;
  const url =
    kind === 'exec'
      ? await options.runtime.exec(id, searchParams.getAll('command'), streams)
      : await options.runtime.attach(id, streams);
  joinRuntime(upgrade, url);
}

/** By the kubelet's own names for the streams (input, output, error), or those of the API server. */
function selectedStreams(query: URLSearchParams): StreamOptions {
  const on = (...names: string[]) => names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
  const tty = on('tty');
  return { stdin: on('input', 'stdin'), stdout: on('output', 'stdout'), stderr: on('error', 'stderr') && !tty, tty };
}

function sendFailure(res: ServerResponse, failure: Failure): void {
  sendJson(res, failure.code, statusOfFailure(failure));
}

function sendJson(res: ServerResponse, code: number, body: unknown): void {
  res.writeHead(code, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
