// The cluster's DNS server: watches Services, EndpointSlices and Namespaces, answers from the table of their records.
import type { Server } from 'node:http';
import type { Client } from '../k8s/client.ts';
import type { Log } from '../log/log.ts';
import { followObjects } from './content.ts';
import { Forwarder, parseUpstream } from './forward.ts';
import { HotPath } from './hot-path.ts';
import { listen } from './listeners.ts';
import { Metrics } from './metrics.ts';
import { Responder } from './responder.ts';
import { serveStatus } from './status-server.ts';

export interface DnsOptions {
  readonly client: Client;
  /** The cluster domain, `cluster.local`. */
  readonly zone: string;
  readonly address: string;
  /** For UDP and TCP; 0 for any free one. */
  readonly port: number;
  /** For how many seconds clients may keep an answer; default 30. */
  readonly ttl?: number;
  /** Who answers for names outside of the cluster, in the order of preference: `10.0.0.53`, `10.0.0.53:5353`. */
  readonly upstreams: readonly string[];
  /** /metrics for Prometheus; default 9153. As for the next two, 0 takes any free port. */
  readonly metricsPort?: number;
  /** /health: the process lives; default 8080. */
  readonly healthPort?: number;
  /** /ready: the lists of Services are complete; default 8181. */
  readonly readyPort?: number;
  readonly log: Log;
}

export interface Dns {
  /** The port of UDP and TCP. */
  readonly port: number;
  readonly metricsPort: number;
  readonly healthPort: number;
  readonly readyPort: number;
  stop(): Promise<void>;
}

/**
 * Starts the server. Resolves as soon as it listens; until the first lists are complete it answers SERVFAIL for names
 * of the cluster and is not ready. Throws a RangeError for an upstream that is no address.
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { client, log } = options;
  const zone = options.zone.toLowerCase().replace(/\.$/, '');
  const forwarder = new Forwarder(options.upstreams.map(parseUpstream));
  const content = followObjects(client, { zone, ttl: options.ttl ?? 30 });
  const metrics = new Metrics();
  const responder = new Responder({
    view: content.view,
    forwarder,
    isSynced: () => content.isSynced(),
    onAnswer: (code) => metrics.answered(code),
  });
  const hot = new HotPath({
    view: content.view,
    recursionAvailable: () => forwarder.enabled,
    isOn: () => content.isSynced(),
  });
  const answerer = { hot, responder, onHotAnswer: (code: number) => metrics.answered(code) };
  const listeners = await listen(answerer, options.address, options.port);
  const { metricsPort = 9153, healthPort = 8080, readyPort = 8181, address } = options;
  const metricsPage = (): string => metrics.text(content.view.table.size);
  const pages = await Promise.all([
    serveStatus({ address, port: metricsPort, path: '/metrics', page: metricsPage }),
    serveStatus({ address, port: healthPort, path: '/health', page: () => 'OK' }),
    serveStatus({ address, port: readyPort, path: '/ready', page: () => (content.isSynced() ? 'OK' : undefined) }),
  ]);
  void content.synced.then(() => log.info({ zone, names: content.view.table.size }, 'all Services are known'));
  log.info({ zone, port: listeners.port, upstreams: options.upstreams }, 'DNS listens');
  return {
    port: listeners.port,
    metricsPort: portOf(pages[0]),
    healthPort: portOf(pages[1]),
    readyPort: portOf(pages[2]),
    async stop() {
      content.stop();
      await listeners.close();
      await Promise.all(pages.map((server) => closePage(server)));
    },
  };
}

const portOf = (server: Server): number => {
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : 0;
};

const closePage = (server: Server): Promise<void> => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
};
