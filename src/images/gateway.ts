// The image gateway: the registry and the forward proxy of a cluster, each on a Unix socket of the host's side.
import { chmod, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { Log } from '../log/log.ts';
import { refusalRule, serveConnect, serveForward } from './forward-proxy.ts';
import { serveRegistry } from './registry.ts';
import { defaultStoreFolder, ImageStore } from './store.ts';

export interface ImageGatewayOptions {
  /** The path of the socket on which the registry listens. */
  readonly registrySocket: string;
  /** The path of the socket on which the forward proxy listens. */
  readonly proxySocket: string;
  /** The folder of the image store. */
  readonly store?: string;
  /** No connections to outside registries. */
  readonly offline: boolean;
  readonly log: Log;
}

/** Starts both servers; the sockets are for root alone. */
export async function startImageGateway(options: ImageGatewayOptions): Promise<{ stop(): Promise<void> }> {
  const { log } = options;
  const store = new ImageStore(options.store ?? defaultStoreFolder());
  const refusal = refusalRule(options.offline);
  const registry = createServer((req, res) => {
    serveRegistry(req, res, store, log).catch((error: unknown) => {
      log.error({ error: String(error) }, 'the registry failed');
      res.destroy();
    });
  });
  const proxy = createServer((req, res) => serveForward(req, res, refusal));
  proxy.on('connect', (req, socket, head) => serveConnect(req, socket, head, refusal, log));
  await Promise.all([listen(registry, options.registrySocket), listen(proxy, options.proxySocket)]);
  return {
    async stop() {
      await Promise.all([close(registry), close(proxy)]);
    },
  };
}

async function listen(server: Server, path: string): Promise<void> {
  await rm(path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  await chmod(path, 0o600);
}

async function close(server: Server): Promise<void> {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
}
