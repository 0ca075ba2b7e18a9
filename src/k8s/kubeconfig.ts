// Reads a kubeconfig file into the options of a connection.
import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { ConnectOptions } from './transport.ts';

/** The parts of a kubeconfig that are read here (Config of client.authentication.k8s.io v1). */
interface Kubeconfig {
  readonly 'current-context'?: string;
  readonly contexts?: readonly { name: string; context?: { cluster?: string; user?: string } }[];
  readonly clusters?: readonly { name: string; cluster?: Record<string, string> }[];
  readonly users?: readonly { name: string; user?: Record<string, string> }[];
}

/** The options for one context of the file, the current one by default. An Error that says what is missing. */
export async function readKubeconfig(path: string, context?: string): Promise<ConnectOptions> {
  const { parse } = await import('yaml');
  const config: Kubeconfig = parse(await readFile(path, 'utf8')) ?? {};
  const name = context ?? config['current-context'];
  const missing = (what: string): Error => new Error(`kubeconfig ${path} has no ${what}`);
  const chosen = config.contexts?.find((entry) => entry.name === name)?.context;
  if (chosen === undefined) throw missing(name === undefined ? 'current-context' : `context '${name}'`);
  const cluster = config.clusters?.find((entry) => entry.name === chosen.cluster)?.cluster;
  if (cluster === undefined) throw missing(`cluster '${chosen.cluster}' that its context '${name}' names`);
  const user = config.users?.find((entry) => entry.name === chosen.user)?.user ?? {};
  const { server } = cluster;
  if (server === undefined) throw missing(`server in its cluster '${chosen.cluster}'`);
  const pem = async (from: Record<string, string>, field: string): Promise<string | undefined> => {
    const data = from[`${field}-data`];
    if (data !== undefined) return Buffer.from(data, 'base64').toString('utf8');
    const file = from[field];
    return file === undefined ? undefined : readFile(resolve(dirname(path), file), 'utf8');
  };
  const [ca, cert, key] = await Promise.all([
    pem(cluster, 'certificate-authority'),
    pem(user, 'client-certificate'),
    pem(user, 'client-key'),
  ]);
  const { token, tokenFile } = user;
  return {
    server,
    ...(ca !== undefined && { ca }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(token !== undefined && { token }),
    ...(tokenFile !== undefined && { tokenFile: resolve(dirname(path), tokenFile) }),
  };
}
