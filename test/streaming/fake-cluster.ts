// For tests of streaming with the real kubectl: an HTTPS server that knows one pod and proxies its streams as the API
// server does, the real kubelet API, and in the place of containerd a SPDY server that runs commands on this machine.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { kubeletLogPath, kubeletStreamPath, proxyHttp, proxyToKubelet } from '../../src/apiserver/streaming/proxy.ts';
import type { Pod } from '../../src/k8s/types.generated.ts';
import type { PodContainer, RuntimeStreams, StreamOptions } from '../../src/kubelet/runtime.ts';
import { startKubeletServer } from '../../src/kubelet/server/server.ts';
import { createLog } from '../../src/log/log.ts';
import { createCa, issue, type KeyPair } from '../../src/pki/pki.ts';
import { type ServerStream, serveSpdy } from './spdy-server.ts';

export interface FakeCluster {
  readonly kubeconfig: string;
  readonly folder: string;
  readonly url: string;
  readonly kubeletPort: number;
  readonly ca: KeyPair;
  readonly admin: KeyPair;
  /** The containers that the kubelet knows; change them in a test. */
  readonly containers: PodContainer[];
  /** The WebSocket and SPDY upgrades that the API server has seen, as `METHOD upgrade`. */
  readonly upgrades: string[];
  readonly resizes: string[];
  stop(): Promise<void>;
}

/** A container of this id has ended, which the kubelet does not know yet. */
export const endedId = 'ended';

const pod: Pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'web', namespace: 'default', uid: '1' },
  spec: { nodeName: 'node', containers: [{ name: 'main', image: 'x' }] },
  status: { phase: 'Running', containerStatuses: [] },
};

export async function startFakeCluster(): Promise<FakeCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'wt-streaming-'));
  const ca = await createCa('test');
  const serving = await issue(ca, { commonName: 'server', usages: ['server'], ips: ['127.0.0.1'] });
  const apiServer = await issue(ca, { commonName: 'system:kube-apiserver', usages: ['client'] });
  const admin = await issue(ca, { commonName: 'admin', organizations: ['system:masters'], usages: ['client'] });
  const resizes: string[] = [];
  const runtime = await startFakeRuntime(resizes);
  const logPath = join(folder, '0.log');
  writeFileSync(logPath, '2026-11-21T06:00:00.000000001Z stdout F hello\n');
  const containers: PodContainer[] = [{ name: 'main', id: 'c1', state: 'running', logPath, attempt: 0 }];
  const kubelet = await startKubeletServer({
    port: 0,
    addresses: ['127.0.0.1'],
    serving: { ...serving, clientCa: ca.cert },
    pods: {
      findPod: (namespace, name) =>
        namespace === 'default' && name === 'web' ? { pod, sandboxId: 's1', containers } : undefined,
      pods: () => [pod],
    },
    runtime: runtime.streams,
    log: createLog('test'),
  });
  const upgrades: string[] = [];
  const backend = { host: '127.0.0.1', port: kubelet.port };
  const tls = { ca: ca.cert, ...apiServer };
  const server = createHttpsServer({ ...serving, ca: ca.cert, requestCert: true });
  server.on('request', (req, res) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://x');
    if (pathname.endsWith('/pods/web/log')) {
      const container = searchParams.get('container') ?? 'main';
      return proxyHttp({
        req,
        res,
        target: { ...backend, path: kubeletLogPath('default', 'web', container, searchParams) },
        tls,
      });
    }
    const body = documents[pathname];
    res.writeHead(body ? 200 : 404, { 'content-type': 'application/json' });
    res.end(JSON.stringify(body ?? { kind: 'Status', apiVersion: 'v1', status: 'Failure', code: 404 }));
  });
  server.on('upgrade', (req, socket, head) => {
    const { pathname, searchParams } = new URL(req.url ?? '/', 'http://x');
    upgrades.push(`${req.method} ${req.headers.upgrade}`);
    const kind = pathname.endsWith('/exec') ? 'exec' : pathname.endsWith('/attach') ? 'attach' : 'portforward';
    const container = searchParams.get('container') ?? 'main';
    const path = kubeletStreamPath({ kind, namespace: 'default', pod: 'web', container, query: searchParams });
    proxyToKubelet({ req, socket, head, target: { ...backend, path }, tls, kind });
  });
  const port = await listen(server);
  const url = `https://127.0.0.1:${port}`;
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, stringify(kubeconfigOf(url, ca.cert, admin)), { mode: 0o600 });
  return {
    kubeconfig,
    folder,
    url,
    kubeletPort: kubelet.port,
    ca,
    admin,
    containers,
    upgrades,
    resizes,
    async stop() {
      await kubelet.stop();
      await runtime.stop();
      await close(server);
      rmSync(folder, { recursive: true });
    },
  };
}

const documents: Record<string, unknown> = {
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
  '/api/v1': {
    kind: 'APIResourceList',
    groupVersion: 'v1',
    resources: [{ name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', verbs: ['get', 'list'] }],
  },
  '/api/v1/namespaces/default/pods/web': pod,
};

function kubeconfigOf(server: string, ca: string, user: { cert: string; key: string }): object {
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'c', cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{ name: 'u', user: { 'client-certificate-data': base64(user.cert), 'client-key-data': base64(user.key) } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  };
}

/** Answers as containerd's streaming server: a one-time URL for each session, SPDY on it. */
async function startFakeRuntime(resizes: string[]): Promise<{ streams: RuntimeStreams; stop(): Promise<void> }> {
  const sessions = new Map<string, (stream: ServerStream, close: () => void) => void>();
  const server = createHttpServer();
  server.on('upgrade', (req: IncomingMessage, socket, head) => {
    const session = sessions.get(req.url ?? '');
    if (session === undefined) return void socket.destroy();
    const protocol = (req.headersDistinct['x-stream-protocol-version'] ?? []).join(', ').split(', ')[0];
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    serveSpdy(socket, head, (stream) => session(stream, () => socket.end()));
  });
  const port = await listen(server);
  const add = (session: (stream: ServerStream, close: () => void) => void): string => {
    const path = `/${randomBytes(8).toString('hex')}`;
    sessions.set(path, session);
    return `http://127.0.0.1:${port}${path}`;
  };
  return {
    streams: {
      exec: async (_id, command, options) => add(execSession(command, options, resizes)),
      attach: async (id, options) => {
        if (id === endedId) throw new Error('rpc error: code = Unknown desc = container is in CONTAINER_EXITED state');
        return add(execSession(['cat'], options, resizes));
      },
      portForward: async () => add(forwardSession()),
      reopenContainerLog: async () => {},
    },
    stop: () => close(server),
  };
}

/** Waits for all streams, then runs the command; the exit code goes into the error stream as a Status. */
function execSession(command: readonly string[], options: StreamOptions, resizes: string[]) {
  const streams = new Map<string, ServerStream>();
  const expected = 1 + Number(options.stdin) + Number(options.stdout) + Number(options.stderr) + Number(options.tty);
  return (stream: ServerStream, closeConnection: () => void) => {
    streams.set(stream.headers.streamtype ?? '', stream);
    if (streams.size < expected) return;
    const child = spawn(command[0] ?? 'true', command.slice(1));
    streams.get('resize')?.onData((data) => resizes.push(data.toString()));
    streams.get('stdin')?.onData((data) => child.stdin.write(data));
    streams.get('stdin')?.onEnd(() => child.stdin.end());
    child.stdin.on('error', () => {});
    child.stdout.on('data', (data: Buffer) => streams.get('stdout')?.write(data));
    child.stderr.on('data', (data: Buffer) => streams.get('stderr')?.write(data));
    child.on('close', (code) => {
      const status =
        code === 0
          ? { metadata: {}, status: 'Success' }
          : {
              metadata: {},
              status: 'Failure',
              reason: 'NonZeroExitCode',
              message: `command terminated with non-zero exit code: exit status ${code}`,
              details: { causes: [{ reason: 'ExitCode', message: `${code}` }] },
            };
      streams.get('error')?.write(Buffer.from(JSON.stringify(status)));
      for (const one of streams.values()) one.end();
      closeConnection();
    });
  };
}

/** Connects each pair of streams to a port of this machine. */
function forwardSession() {
  const pairs = new Map<string, Map<string, ServerStream>>();
  return (stream: ServerStream) => {
    const id = stream.headers.requestid ?? '';
    const pair = pairs.get(id) ?? new Map<string, ServerStream>();
    pairs.set(id, pair.set(stream.headers.streamtype ?? '', stream));
    const data = pair.get('data');
    const error = pair.get('error');
    if (data === undefined || error === undefined) return;
    const socket = connect(Number(data.headers.port), '127.0.0.1');
    data.onData((bytes) => socket.write(bytes));
    data.onEnd(() => socket.end());
    socket.on('data', (bytes: Buffer) => data.write(bytes));
    socket.on('error', (problem) => error.write(Buffer.from(problem.message)));
    socket.on('close', () => {
      data.end();
      error.end();
    });
  };
}

export async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

export async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  server.closeAllConnections();
  await closed;
}
