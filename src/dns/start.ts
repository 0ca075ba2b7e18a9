// The cluster's DNS server: watches Services, EndpointSlices and Namespaces, answers from the table of their records.
import type { Server } from 'node:http';
import type { Client } from '../k8s/client.ts';
import type { Log } from '../log/log.ts';
import { defaultPort } from './corefile/config.ts';
import { defaultCorefile } from './corefile/default.ts';
import { Engine } from './engine.ts';
import { type Listeners, listenOnAll } from './listeners.ts';
import { serveStatus } from './status-server.ts';

export interface DnsOptions {
  readonly client: Client;
  /** The cluster domain, `cluster.local`. */
  readonly zone: string;
  /** Where it answers. */
  readonly addresses: readonly [string, ...string[]];
  /** Where /health and /ready are; default the first of the addresses. */
  readonly statusAddress?: string;
  /** Where /metrics is; default the first of the addresses. */
  readonly metricsAddress?: string;
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
  /** The host that Events name as their source. */
  readonly host?: string;
  /** The node whose pods ask: their namespaces are known, for `autopath`. All pods may ask where it is absent. */
  readonly nodeName?: string;
  readonly log: Log;
}

export interface Dns {
  /** The port of UDP and TCP. */
  readonly port: number;
  readonly metricsPort: number;
  readonly healthPort: number;
  readonly readyPort: number;
  /** Whether it knows all Services: from then on clients may be led to it. */
  isReady(): boolean;
  stop(): Promise<void>;
}

/**
 * Starts the server. Resolves as soon as it listens; until the first lists are complete it answers SERVFAIL for names
 * of the cluster and is not ready. Throws a RangeError for an upstream that is no address.
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { client, log } = options;
  const zone = options.zone.toLowerCase().replace(/\.$/, '');
  const corefile = defaultCorefile({
    zone,
    upstreams: options.upstreams,
    ...(options.ttl !== undefined && { ttl: options.ttl }),
  });
  const engine = new Engine({
    client,
    corefile,
    log,
    ...(options.host !== undefined && { host: options.host }),
    ...(options.nodeName !== undefined && { nodeName: options.nodeName }),
    onConfig: () => void ports.follow(engine.plan.ports),
  });
  const { addresses } = options;
  const ports = new FurtherPorts((port) => listenOnAll(engine.answerer(port), addresses, port), log);
  await engine.configured;
  const listeners = await listenOnAll(engine.answerer(defaultPort), addresses, options.port).catch((error: unknown) => {
    engine.close();
    throw error;
  });
  const { metricsPort = 9153, healthPort = 8080, readyPort = 8181 } = options;
  const { statusAddress: address = addresses[0], metricsAddress = addresses[0] } = options;
  const isReady = (): boolean => engine.plan.synced;
  const pages = await Promise.all([
    serveStatus({ address: metricsAddress, port: metricsPort, path: '/metrics', page: () => engine.metricsPage() }),
    serveStatus({ address, port: healthPort, path: '/health', page: () => 'OK' }),
    serveStatus({ address, port: readyPort, path: '/ready', page: () => (isReady() ? 'OK' : undefined) }),
  ]);
  log.info({ zone, addresses, port: listeners.port, upstreams: options.upstreams }, 'DNS listens');
  return {
    port: listeners.port,
    metricsPort: portOf(pages[0]),
    healthPort: portOf(pages[1]),
    readyPort: portOf(pages[2]),
    isReady,
    async stop() {
      engine.close();
      await Promise.all([listeners.close(), ports.close()]);
      await Promise.all(pages.map((server) => closePage(server)));
    },
  };
}

/** The ports of a Corefile besides the first one; each is listened on while a server block has it. */
class FurtherPorts {
  readonly #listen: (port: number) => Promise<Listeners>;
  readonly #log: Log;
  readonly #open = new Map<number, Listeners>();
  #last: Promise<void> = Promise.resolve();

  constructor(listenOn: (port: number) => Promise<Listeners>, log: Log) {
    this.#listen = listenOn;
    this.#log = log;
  }

  follow(ports: readonly number[]): Promise<void> {
    const wanted = new Set(ports.filter((port) => port !== defaultPort));
    this.#last = this.#last.then(async () => {
      for (const [port, listeners] of this.#open)
        if (!wanted.has(port)) {
          this.#open.delete(port);
          await listeners.close();
        }
      for (const port of wanted)
        if (!this.#open.has(port))
          await this.#listen(port).then(
            (listeners) => this.#open.set(port, listeners),
            (error: unknown) =>
              this.#log.error({ port, error: String(error) }, 'a port of the Corefile cannot be listened on'),
          );
    });
    return this.#last;
  }

  close(): Promise<void> {
    return this.follow([]);
  }
}

const portOf = (server: Server): number => {
  const bound = server.address();
  return typeof bound === 'object' && bound !== null ? bound.port : 0;
};

const closePage = (server: Server): Promise<void> => {
  server.closeAllConnections();
  return new Promise((resolve) => server.close(() => resolve()));
};
