// Follows the cluster's objects: keeps the table of Services equal to the API's Services, EndpointSlices and Namespaces.
import type { Cache, Client } from '../k8s/client.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { endpointSlices, namespaces, services } from '../k8s/resources.ts';
import type { EndpointSlice } from '../k8s/types.generated.ts';
import type { ZoneView } from './resolve.ts';
import { type EntryOptions, serviceEntry } from './service-entry.ts';
import { ServiceTable } from './service-table.ts';

export interface ContentOptions extends EntryOptions {
  /** The cluster domain, `cluster.local`. */
  readonly zone: string;
  /** For how many seconds clients may keep an answer. */
  readonly ttl: number;
}

export interface Content {
  readonly view: ZoneView;
  /** Resolves after the first complete lists. */
  readonly synced: Promise<void>;
  isSynced(): boolean;
  stop(): void;
}

const sliceOwner = 'kubernetes.io/service-name';

/** Starts to follow the objects. Each change touches one Service of the table. */
export function followObjects(client: Client, options: ContentOptions): Content {
  const { zone, ttl } = options;
  const table = new ServiceTable();
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
    const own = [...(slices.get(key)?.values() ?? [])];
    table.set(namespace, name, service === undefined ? undefined : serviceEntry(service, own, options));
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
