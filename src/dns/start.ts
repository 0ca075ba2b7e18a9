// The cluster's DNS server: watches Services, EndpointSlices and Namespaces, answers from the table of their records.
import type { Client } from '../k8s/client.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import { defaultPort } from './corefile/config.ts';
import { defaultCorefile } from './corefile/default.ts';
import { Engine } from './engine.ts';
import { checkHealth } from './health-check.ts';
import { listenOnAll } from './listeners.ts';
import { type Opening, Openings } from './openings.ts';
import { queryStreamPort, serveQueryStream } from './query-stream.ts';
import { closable, type StatusEndpoint, serveStatus } from './status-server.ts';
import { AnsweringThreads } from './threads/threads.ts';

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
  /** Where on 127.0.0.1 questions can be followed; default 9154, 0 takes any free port. */
  readonly queryPort?: number;
  /** The node whose pods ask: their namespaces are known, for `autopath`. All pods may ask where it is absent. */
  readonly nodeName?: string;
  /**
   * Ranges of the cluster that are none of the private ones. Datagrams from elsewhere may have a made-up source: they get
   * no answer that is longer than the question, but are told to ask over TCP.
   */
  readonly clientRanges?: readonly Cidr[];
  /** The folder where it keeps what it knows for its next start; nowhere where absent. */
  readonly stateFolder?: string;
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
  /** For how long a server that ends goes on to answer, by its Corefile, in ms. */
  lameduckMs(): number;
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
    ...(options.nodeName !== undefined && { nodeName: options.nodeName }),
    onConfig: () => {
      void openings.follow(wantedBy(engine, options));
      void threads?.follow(engine.threads);
    },
    ...(options.clientRanges !== undefined && { clientRanges: options.clientRanges }),
    ...(options.stateFolder !== undefined && { stateFolder: options.stateFolder }),
  });
  const openings = new Openings(log);
  let threads: AnsweringThreads | undefined;
  await engine.configured;
  const opened: { close(): Promise<void> }[] = [openings];
  let closed: Promise<unknown> | undefined;
  const close = async (): Promise<void> => {
    if (closed === undefined) {
      engine.close();
      // They read the sockets that are closed then.
      closed = (threads?.close() ?? Promise.resolve()).then(() => Promise.all(opened.map((one) => one.close())));
    }
    await closed;
  };
  try {
    const listeners = await listenOnAll(engine.answerer(defaultPort), options.addresses, options.port);
    opened.push(listeners);
    threads = new AnsweringThreads({
      listeners: listeners.udp,
      feed: engine.feed,
      clientRanges: options.clientRanges ?? [],
      count: (tally) => engine.count(tally),
      log,
    });
    await threads.follow(engine.threads);
    const pages = await Promise.all(statusPages(engine, options).map((endpoint) => serveStatus(endpoint)));
    opened.push(...pages);
    const [metrics, health, ready] = pages;
    opened.push(checkOwnHealth(engine, options.statusAddress ?? options.addresses[0], health?.port ?? 0));
    log.info({ zone, addresses: options.addresses, port: listeners.port, upstreams: options.upstreams }, 'DNS listens');
    return {
      port: listeners.port,
      metricsPort: metrics?.port ?? 0,
      healthPort: health?.port ?? 0,
      readyPort: ready?.port ?? 0,
      isReady: () => engine.plan.synced,
      lameduckMs: () => engine.lameduckMs,
      stop: close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Where the Corefile has `health`: as CoreDNS, the server tells how fast it answers there itself. */
function checkOwnHealth(engine: Engine, host: string, port: number): { close(): Promise<void> } {
  const { metrics } = engine;
  return checkHealth({
    target: () => (engine.plan.blocks.some(({ health }) => health !== undefined) ? { host, port } : undefined),
    answered: (seconds) => metrics.healthAnswered(seconds),
    failed: () => {
      metrics.healthFailures.value++;
    },
  });
}

/** The pages that are there whatever the Corefile says: probes and the Service know their ports. */
function statusPages(engine: Engine, options: DnsOptions): StatusEndpoint[] {
  const { metricsPort = 9153, healthPort = 8080, readyPort = 8181, addresses } = options;
  const { statusAddress: address = addresses[0], metricsAddress = addresses[0] } = options;
  return [
    { address: metricsAddress, port: metricsPort, path: '/metrics', page: () => engine.metricsPage() },
    { address, port: healthPort, path: '/health', page: () => 'OK' },
    { address, port: readyPort, path: '/ready', page: () => (engine.plan.synced ? 'OK' : undefined) },
  ];
}

/** What the Corefile wants besides: other ports of DNS, its pages at other addresses, and the stream of questions. */
function wantedBy(engine: Engine, options: DnsOptions): Map<string, Opening> {
  const wanted = new Map<string, Opening>();
  for (const port of engine.plan.ports)
    if (port !== defaultPort)
      wanted.set(`port ${port} of the Corefile`, () => listenOnAll(engine.answerer(port), options.addresses, port));
  const pages = statusPages(engine, options);
  for (const { prometheus, health, ready } of engine.plan.blocks)
    for (const [path, at] of [
      ['/metrics', prometheus],
      ['/health', health?.address],
      ['/ready', ready],
    ] as const) {
      const known = pages.find((page) => page.path === path);
      if (known === undefined || at === undefined || at.port === usualPort[path]) continue;
      const address = at.host ?? known.address;
      wanted.set(`${path} at ${address} port ${at.port}`, () => serveStatus({ ...known, address, port: at.port }));
    }
  const { queryPort = queryStreamPort } = options;
  wanted.set(`the stream of questions at port ${queryPort}`, async () =>
    closable(await serveQueryStream(engine.queryLog, () => engine.status(), queryPort)),
  );
  return wanted;
}

const usualPort = { '/metrics': 9153, '/health': 8080, '/ready': 8181 } as const;
