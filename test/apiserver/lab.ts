// An API server on 127.0.0.1 for tests: its identities, raw requests, and the real kubectl.
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { type ApiServer, startApiServer } from '../../src/apiserver/server.ts';
import type { Client } from '../../src/k8s/client.ts';
import { connect } from '../../src/k8s/connect.ts';
import { serviceAccounts } from '../../src/k8s/resources.ts';
import { asCidr, asIp } from '../../src/net/address.ts';
import { createCa, createSigningKey, issue, type KeyPair } from '../../src/pki/pki.ts';

export interface Answer {
  readonly code: number;
  readonly body: Record<string, unknown>;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

export interface RequestOptions {
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Whose certificate; none for `anonymous`. */
  readonly as?: 'admin' | 'node' | 'stranger' | 'anonymous';
}

export interface Lab {
  readonly client: Client;
  readonly port: number;
  readonly kubeconfig: string;
  readonly folder: string;
  /** The cluster's authority, and an identity of it. */
  readonly ca: KeyPair;
  readonly admin: KeyPair;
  send(method: string, path: string, options?: RequestOptions): Promise<Answer>;
  /** Runs the kubectl of the machine. */
  kubectl(...args: string[]): Promise<{ code: number; out: string; err: string }>;
  write(name: string, text: string): string;
  /** Ends the server and starts it again on the same data. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

const log = pino({ level: process.env.WEFT_LOG ?? 'silent' }, pino.destination(2));

export async function startLab(serviceCidrs = ['10.96.0.0/16']): Promise<Lab> {
  const folder = mkdtempSync(join(tmpdir(), 'wt-apiserver-'));
  const ca = await createCa('wt-ca');
  const serving = await issue(ca, { commonName: 'kube-apiserver', usages: ['server'], ips: ['127.0.0.1'] });
  const people = {
    admin: await issue(ca, { commonName: 'admin', organizations: ['system:masters'], usages: ['client'] }),
    node: await issue(ca, { commonName: 'system:node:n1', organizations: ['system:nodes'], usages: ['client'] }),
    stranger: await issue(await createCa('other'), {
      commonName: 'admin',
      organizations: ['system:masters'],
      usages: ['client'],
    }),
  };
  const signing = await createSigningKey();
  const start = (port: number): Promise<ApiServer> =>
    startApiServer({
      dataFile: join(folder, 'data.db'),
      listen: [{ host: '127.0.0.1', port }],
      tls: { cert: serving.cert, key: serving.key, clientCa: ca.cert },
      serviceAccount: { ...signing, issuer: 'https://kubernetes.default.svc.cluster.local' },
      serviceCidrs: serviceCidrs.map(asCidr),
      advertise: { addresses: [asIp('172.18.0.2')], port: 6443 },
      kubelet: { ca: ca.cert, cert: people.admin.cert, key: people.admin.key },
      log,
    });
  let server = await start(0);
  const port = server.address?.port ?? 0;
  const client = connect({ server: `https://127.0.0.1:${port}`, ca: ca.cert, ...people.admin });
  await client.create(serviceAccounts, {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: 'default' },
  });
  const kubeconfig = join(folder, 'kubeconfig');
  writeFileSync(kubeconfig, kubeconfigOf(port, ca, people.admin), { mode: 0o600 });
  return {
    client,
    port,
    kubeconfig,
    folder,
    ca,
    admin: people.admin,
    send: (method, path, options = {}) => send(port, ca, people, method, path, options),
    kubectl: (...args) =>
      new Promise((resolve) => {
        const env = { ...process.env, KUBECONFIG: kubeconfig, HOME: folder };
        execFile('kubectl', args, { env, timeout: 30_000 }, (error, out, err) =>
          resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err }),
        );
      }),
    write(name, text) {
      const file = join(folder, name);
      writeFileSync(file, text);
      return file;
    },
    async restart() {
      await server.stop();
      server = await start(port);
    },
    async stop() {
      await client.close();
      await server.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function kubeconfigOf(port: number, ca: KeyPair, { cert, key }: KeyPair): string {
  const data = (pem: string): string => Buffer.from(pem).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: 'c', cluster: { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': data(ca.cert) } },
    ],
    users: [{ name: 'u', user: { 'client-certificate-data': data(cert), 'client-key-data': data(key) } }],
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    'current-context': 'x',
  });
}

function send(
  port: number,
  ca: KeyPair,
  people: Record<'admin' | 'node' | 'stranger', KeyPair>,
  method: string,
  path: string,
  { body, headers = {}, as = 'admin' }: RequestOptions,
): Promise<Answer> {
  const payload = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
  const identity = as === 'anonymous' ? {} : { cert: people[as].cert, key: people[as].key };
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port,
        path,
        method,
        ca: ca.cert,
        ...identity,
        agent: false,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload), ...headers },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => {
          const json = response.headers['content-type']?.startsWith('application/json') && !text.includes('\n{');
          resolve({
            code: response.statusCode ?? 0,
            body: json ? JSON.parse(text) : {},
            headers: response.headers,
            text,
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(payload);
  });
}
