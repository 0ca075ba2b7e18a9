// An API server with thousands of Services in it, and a proxy in a namespace of its own that follows it.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import { shelves } from '../src/apiserver/kinds.ts';
import { type ApiServer, startApiServer } from '../src/apiserver/server.ts';
import { Storage } from '../src/apiserver/storage.ts';
import type { Client } from '../src/k8s/client.ts';
import { connect } from '../src/k8s/connect.ts';
import { asIp } from '../src/net/address.ts';
import { createCa, createSigningKey, issue } from '../src/pki/pki.ts';
import { benchNode, benchService, benchSlices } from './proxy-objects.ts';

const log = pino({ level: process.env.WEFT_LOG ?? 'silent' }, pino.destination(2));

/** What the proxy process says, one object a line. */
export type Said = Readonly<Record<string, unknown>>;

export interface BenchCluster {
  readonly client: Client;
  /** Starts a proxy in a fresh namespace; `said` is told each of its lines. */
  startProxy(said: (line: Said) => void): Promise<ProxyChild>;
  stop(): Promise<void>;
}

export interface ProxyChild {
  /** Milliseconds from the start of the program until its rules were in the kernel. */
  readonly started: number;
  /** How many of them its main thread was at work: less depends on what else the machine does. */
  readonly thread: number;
  memory(): Promise<Said>;
  stop(): Promise<void>;
}

/** Puts the objects into the database before the server starts: 10,000 requests would measure something else. */
function fill(file: string, services: number, endpoints: number): void {
  const storage = new Storage(file);
  for (let index = 0; index < services; index++) {
    const { spec, status, ...rest } = benchService(index);
    storage.put(shelves.services, { ...rest, spec: { ...spec }, status: { ...status } });
    for (const slice of benchSlices(index, endpoints)) storage.put(shelves.endpointSlices, { ...slice });
  }
  storage.close();
}

export async function startBenchCluster(services: number, endpoints: number): Promise<BenchCluster> {
  const folder = mkdtempSync(join(tmpdir(), 'wb-proxy-'));
  const ca = await createCa('wb-ca');
  const serving = await issue(ca, { commonName: 'server', usages: ['server'], dnsNames: ['kubernetes'] });
  const admin = await issue(ca, { commonName: 'admin', organizations: ['system:masters'], usages: ['client'] });
  for (const [name, text] of Object.entries({ ca: ca.cert, cert: admin.cert, key: admin.key }))
    writeFileSync(join(folder, `${name}.pem`), text, { mode: 0o600 });
  const socketPath = join(folder, 'api.sock');
  fill(join(folder, 'db'), services, endpoints);
  const server: ApiServer = await startApiServer({
    dataFile: join(folder, 'db'),
    listen: [{ path: socketPath }],
    tls: { cert: serving.cert, key: serving.key, clientCa: ca.cert },
    serviceAccount: { ...(await createSigningKey()), issuer: 'https://kubernetes.default.svc' },
    serviceCidrs: [...benchNode.serviceCidrs],
    advertise: { addresses: [asIp('172.18.0.2')], port: 6443 },
    kubelet: { ca: ca.cert, cert: admin.cert, key: admin.key },
    log,
  });
  const client = connect({
    server: 'https://kubernetes:6443',
    socketPath,
    ca: ca.cert,
    cert: admin.cert,
    key: admin.key,
  });
  return {
    client,
    startProxy: (said) => startProxyChild(socketPath, folder, said),
    async stop() {
      await client.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function startProxyChild(socketPath: string, folder: string, said: (line: Said) => void): Promise<ProxyChild> {
  const netns = `wb-${process.pid}-${Math.random().toString(36).slice(2, 6)}`;
  execFileSync('ip', ['netns', 'add', netns]);
  const program = join(import.meta.dirname, 'proxy-agent.ts');
  const begin = performance.now();
  const child: ChildProcess = spawn(
    'ip',
    ['netns', 'exec', netns, process.execPath, '--disable-warning=ExperimentalWarning', program, socketPath, folder],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const waiting = new Map<string, (line: Said) => void>();
  const next = (word: string): Promise<Said> => new Promise((resolve) => waiting.set(word, resolve));
  if (child.stdout === null) throw new Error('the proxy has no output');
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line: Said = JSON.parse(text);
    const [word = ''] = Object.keys(line);
    const waiter = waiting.get(word);
    waiting.delete(word);
    if (waiter === undefined) said(line);
    else waiter(line);
  });
  const failed = ended.then(() => Promise.reject(new Error('the proxy ended')));
  const { thread } = await Promise.race([next('started'), failed]);
  return {
    started: performance.now() - begin,
    thread: Number(thread),
    memory() {
      const answer = next('rss');
      child.stdin?.write('memory\n');
      return answer;
    },
    async stop() {
      child.stdin?.end();
      await ended;
      execFileSync('ip', ['netns', 'delete', netns]);
    },
  };
}
