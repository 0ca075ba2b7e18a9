// The service proxy of a node: watches Services and EndpointSlices; keeps the nftables tables true.
import { readFile, writeFile } from 'node:fs/promises';
import type { Cache, Client } from '../k8s/client.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { endpointSlices, services } from '../k8s/resources.ts';
import type { EndpointSlice, Service } from '../k8s/types.generated.ts';
import { monitorNftables } from '../linux/nft-monitor.ts';
import { type Nft, openNft } from '../linux/nft-run.ts';
import type { Log } from '../log/log.ts';
import type { Cidr, Ip } from '../net/address.ts';
import type { Frontend, ProxyNode } from './frontend.ts';
import { ProxyTables } from './proxy-tables.ts';
import { clusterAddresses, serviceFrontends } from './service-model.ts';
import { keepServiceRoutes } from './service-route.ts';

export interface ProxyOptions {
  readonly client: Client;
  readonly nodeName: string;
  /** The addresses that NodePorts are open on. */
  readonly nodeAddresses: readonly Ip[];
  /** The ranges of the pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
  /** The ranges of Services, for which a node without a way out needs a route; none where it has a default route. */
  readonly serviceCidrs?: readonly Cidr[];
  readonly log: Log;
  /** The way to nftables; by default that of this process's network namespace. */
  readonly nft?: Nft;
}

const sliceOwner = 'kubernetes.io/service-name';

/**
 * Starts the proxy in this process's network namespace. Resolves when the first complete set of rules is in the
 * kernel. Stopping leaves the rules in place, so that connections go on while the proxy is restarted.
 */
export async function startProxy(options: ProxyOptions): Promise<{ stop(): Promise<void> }> {
  const { client, log, nodeName } = options;
  const node: ProxyNode = { name: nodeName, addresses: options.nodeAddresses };
  await letBridgesPassThrough(log);
  const { serviceCidrs = [], nodeAddresses } = options;
  const endRoutes = serviceCidrs.length > 0 ? keepServiceRoutes({ serviceCidrs, nodeAddresses, log }) : () => {};
  const tables = new ProxyTables(options.nft ?? (await openNft()), options, log);
  const serviceCache = client.cache(services);
  const sliceCache = client.cache(endpointSlices);
  const slices = new Map<string, Map<string, Stored<EndpointSlice>>>();

  const updateService = (key: string): void => {
    const [namespace = '', name = ''] = key.split('/');
    const service = serviceCache.get({ namespace, name });
    tables.set(`service ${key}`, () => describeService(service, [...(slices.get(key)?.values() ?? [])], node));
  };
  const ends = [
    endRoutes,
    serviceCache.subscribe(({ object }) => updateService(keyOf(object))),
    sliceCache.subscribe((change) => {
      const old = change.type === 'updated' ? change.old : undefined;
      for (const key of indexSlice(slices, change.type === 'deleted' ? undefined : change.object, old ?? change.object))
        updateService(key);
    }),
  ];
  const caches: readonly Pick<Cache<KubeObject>, 'synced' | 'stop'>[] = [serviceCache, sliceCache];
  await Promise.all(caches.map((cache) => cache.synced));
  await tables.start();
  ends.push(monitorNftables((written) => tables.disturbed(written)));
  log.info({ services: serviceCache.list().length, elements: tables.size }, 'Services are in the kernel');
  return {
    async stop() {
      for (const end of ends) end();
      for (const cache of caches) cache.stop();
      await tables.stop();
    },
  };
}

/** What a Service is on this node. */
function describeService(
  service: Service | undefined,
  ofService: readonly EndpointSlice[],
  node: ProxyNode,
): { frontends: Frontend[]; clusterIps: Ip[] } {
  if (service === undefined) return { frontends: [], clusterIps: [] };
  return { frontends: serviceFrontends(service, ofService, node), clusterIps: clusterAddresses(service) };
}

/** Puts a slice under its Service; returns the Services that this concerns (two when the slice changed hands). */
function indexSlice(
  index: Map<string, Map<string, Stored<EndpointSlice>>>,
  now: Stored<EndpointSlice> | undefined,
  before: Stored<EndpointSlice>,
): Set<string> {
  const ownerOf = ({ metadata }: EndpointSlice): string =>
    `${metadata.namespace}/${metadata.labels?.[sliceOwner] ?? ''}`;
  const name = before.metadata.name;
  const concerned = new Set<string>();
  const old = ownerOf(before);
  const own = index.get(old);
  if (own?.delete(name)) concerned.add(old);
  if (own?.size === 0) index.delete(old);
  if (now !== undefined) {
    const key = ownerOf(now);
    const group = index.get(key) ?? new Map<string, Stored<EndpointSlice>>();
    group.set(name, now);
    index.set(key, group);
    concerned.add(key);
  }
  return concerned;
}

/**
 * Answers between two pods of one bridge would not pass the node's IP layer, where the translation of Service
 * addresses is undone; these settings of br_netfilter make them.
 */
async function letBridgesPassThrough(log: Log): Promise<void> {
  for (const key of ['bridge-nf-call-iptables', 'bridge-nf-call-ip6tables']) {
    const path = `/proc/sys/net/bridge/${key}`;
    try {
      if ((await readFile(path, 'utf8')).trim() !== '1') await writeFile(path, '1');
    } catch (error) {
      log.warn({ path, error: String(error) }, 'Services may not be reachable between pods of the same node');
    }
  }
}
