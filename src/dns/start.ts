// The cluster's DNS server: watches Services, EndpointSlices and Namespaces, answers from the table of their records.
import type { Server } from 'node:http';
import type { Cache, Client } from '../k8s/client.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { endpointSlices, namespaces, services } from '../k8s/resources.ts';
import type { EndpointSlice } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { Forwarder, parseUpstream } from './forward.ts';
import { listen } from './listeners.ts';
import { Metrics } from './metrics.ts';
import { RecordTable } from './record-table.ts';
import type { ZoneView } from './resolve.ts';
import { Responder } from './responder.ts';
import { serviceRecords } from './service-records.ts';
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

const sliceOwner = 'kubernetes.io/service-name';

/**
 * Starts the server. Resolves as soon as it listens; until the first lists are complete it answers SERVFAIL for names
 * of the cluster and is not ready. Throws a RangeError for an upstream that is no address.
 */
export async function startDns(options: DnsOptions): Promise<Dns> {
  const { client, log } = options;
  const zone = options.zone.toLowerCase().replace(/\.$/, '');
  const forwarder = new Forwarder(options.upstreams.map(parseUpstream));
  const content = followObjects(client, zone, options.ttl ?? 30);
  const metrics = new Metrics();
  const responder = new Responder({
    view: content.view,
    forwarder,
    isSynced: () => content.isSynced(),
    onAnswer: (code) => metrics.answered(code),
  });
  const listeners = await listen(responder, options.address, options.port);
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

interface Content {
  readonly view: ZoneView;
  readonly synced: Promise<void>;
  isSynced(): boolean;
  stop(): void;
}

/** Keeps the table equal to the objects of the API. */
function followObjects(client: Client, zone: string, ttl: number): Content {
  const table = new RecordTable();
  const serviceCache = client.cache(services);
  const sliceCache = client.cache(endpointSlices);
  const namespaceCache = client.cache(namespaces);
  const caches: readonly Pick<Cache<KubeObject>, 'synced' | 'isSynced' | 'stop'>[] = [
    serviceCache,
    sliceCache,
    namespaceCache,
  ];
  const slices = new Map<string, Map<string, Stored<EndpointSlice>>>();
  // Seconds since 1970, and one more for each change: a serial number that only grows.
  let serial = Math.floor(Date.now() / 1000);
  const update = (key: string): void => {
    const [namespace = '', name = ''] = key.split('/');
    const service = serviceCache.get({ namespace, name });
    table.set(key, service === undefined ? [] : serviceRecords(service, [...(slices.get(key)?.values() ?? [])], zone));
    serial++;
  };
  const ends = [
    serviceCache.subscribe(({ object }) => update(keyOf(object))),
    namespaceCache.subscribe(({ type }) => {
      if (type !== 'updated') serial++;
    }),
    sliceCache.subscribe((change) => {
      const before = change.type === 'updated' ? change.old : change.object;
      const group = slices.get(ownerOf(before));
      group?.delete(before.metadata.name);
      if (group?.size === 0) slices.delete(ownerOf(before));
      const concerned = new Set([ownerOf(before)]);
      if (change.type !== 'deleted') {
        const key = ownerOf(change.object);
        const own = slices.get(key) ?? new Map<string, Stored<EndpointSlice>>();
        own.set(change.object.metadata.name, change.object);
        slices.set(key, own);
        concerned.add(key);
      }
      for (const key of concerned) update(key);
    }),
  ];
  const view: ZoneView = {
    zone,
    ttl,
    table,
    get serial() {
      return serial;
    },
    namespaceExists: (name) => namespaceCache.get({ name }) !== undefined,
  };
  return {
    view,
    synced: Promise.all(caches.map((cache) => cache.synced)).then(() => {}),
    isSynced: () => caches.every((cache) => cache.isSynced),
    stop() {
      for (const end of ends) end();
      for (const cache of caches) cache.stop();
    },
  };
}

const ownerOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[sliceOwner] ?? ''}`;
