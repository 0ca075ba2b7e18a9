// Follows the cluster's objects: keeps the table of Services equal to the API's Services, EndpointSlices and Namespaces.
import type { Cache, Client } from '../k8s/client.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { endpointSlices, namespaces, pods, services } from '../k8s/resources.ts';
import { type Labels, parseLabelSelector } from '../k8s/selectors.ts';
import type { EndpointSlice, Pod } from '../k8s/types.generated.ts';
import type { Ip } from '../net/address.ts';
import type { ZoneView } from './resolve.ts';
import { type EntryOptions, serviceEntry } from './service-entry.ts';
import { ServiceTable } from './service-table.ts';
import { readSnapshot, writeSnapshot } from './snapshot.ts';
import { triggerAnnotation, trimNamespace, trimService, trimSlice } from './trimmed.ts';

export interface ContentOptions extends EntryOptions {
  /** The cluster domain, `cluster.local`. */
  readonly zone: string;
  /** For how many seconds clients may keep an answer. */
  readonly ttl: number;
  /** Names such as 10-244-1-2.default.pod.cluster.local; `verified` follows all pods. */
  readonly pods?: 'disabled' | 'insecure' | 'verified';
  /** Only these namespaces have names. */
  readonly namespaces?: readonly string[];
  /** Only namespaces with these labels have names; a label selector. */
  readonly namespaceLabels?: string;
  /** Only Services with these labels have names; a label selector. */
  readonly labels?: string;
  /** Told when a change of endpoints is in the answers: of which kind of Service, and how many seconds it took. */
  onProgrammed?(kind: 'headless_with_selector' | 'cluster_ip', seconds: number): void;
  /** Where what it knows is kept for its next start; nowhere where absent. */
  readonly snapshot?: string;
}

export interface Content {
  readonly view: ZoneView;
  /** Resolves after the first complete lists. */
  readonly synced: Promise<void>;
  /** Whether it knows enough to answer: all, or what an earlier process knew last. */
  isSynced(): boolean;
  /** Whether it answers from what an earlier process knew. */
  isStale(): boolean;
  /** Resolves when what an earlier process knew is in the table, or there is nothing. */
  readonly remembered: Promise<void>;
  stop(): void;
}

/** The label of an EndpointSlice that names its Service. */
export const endpointSliceOwner = 'kubernetes.io/service-name';

/** Starts to follow the objects. Each change touches one Service of the table. */
export function followObjects(client: Client, options: ContentOptions): Content {
  const { zone, ttl } = options;
  const table = new ServiceTable();
  const serviceCache = client.cache(services, {}, trimService);
  const sliceCache = client.cache(endpointSlices, {}, trimSlice);
  const namespaceCache = client.cache(namespaces, {}, trimNamespace);
  const podAddresses = options.pods === 'verified' ? followPods(client) : undefined;
  const caches: readonly Pick<Cache<KubeObject>, 'synced' | 'isSynced' | 'stop'>[] = [
    serviceCache,
    sliceCache,
    namespaceCache,
    ...(podAddresses === undefined ? [] : [podAddresses.cache]),
  ];
  const isExposed = exposure(options);
  const hasNames = options.labels === undefined ? () => true : parseLabelSelector(options.labels);
  const namespaceExists = (name: string): boolean => {
    const found = namespaceCache.get({ name });
    return found === undefined ? memory.namespaceExists(name) : isExposed(found.metadata);
  };
  const isComplete = (): boolean => caches.every((cache) => cache.isSynced);
  const synced = Promise.all(caches.map((cache) => cache.synced)).then(() => {});
  const exposedNow = (): string[] =>
    namespaceCache.list().flatMap(({ metadata }) => (isExposed(metadata) ? [metadata.name] : []));
  const memory = remember(options.snapshot, table, isComplete, exposedNow);
  const slices = new Map<string, Map<string, Stored<EndpointSlice>>>();
  // Seconds since 1970, and one more for each change: a serial number that only grows.
  let serial = Math.floor(Date.now() / 1000);
  const isOpen =
    options.namespaces === undefined && options.namespaceLabels === undefined ? () => true : namespaceExists;
  const update = (key: string): void => {
    // Half of the lists would contradict what is remembered: all is looked at when they are complete.
    if (memory.isLoaded() && !isComplete()) return;
    const [namespace = '', name = ''] = key.split('/');
    const found = serviceCache.get({ namespace, name });
    // A namespace that is not known yet is known soon: its Services are looked at again then.
    const service = found !== undefined && isOpen(namespace) && hasNames(found.metadata.labels) ? found : undefined;
    const own = [...(slices.get(key)?.values() ?? [])];
    table.set(namespace, name, service === undefined ? undefined : serviceEntry(service, own, options));
    serial++;
    memory.changed();
  };
  const tell = (slice: Stored<EndpointSlice>, old: Stored<EndpointSlice> | undefined): void => {
    const trigger = slice.metadata.annotations?.[triggerAnnotation];
    if (trigger === undefined || trigger === old?.metadata.annotations?.[triggerAnnotation]) return;
    const seconds = (Date.now() - Date.parse(trigger)) / 1000;
    const [namespace = '', name = ''] = ownerOf(slice).split('/');
    const kind = table.get(namespace, name)?.kind === 'headless' ? 'headless_with_selector' : 'cluster_ip';
    if (seconds >= 0) options.onProgrammed?.(kind, seconds);
  };
  void synced.then(() => {
    if (!memory.isLoaded()) return;
    for (const key of new Set([...memory.forget(), ...serviceCache.list().map(keyOf)])) update(key);
  });
  const ends = [
    serviceCache.subscribe(({ object }) => update(keyOf(object))),
    namespaceCache.subscribe(({ type, object }) => {
      if (type !== 'updated') serial++;
      if (options.namespaceLabels !== undefined || options.namespaces !== undefined)
        for (const service of serviceCache.list(object.metadata.name)) update(keyOf(service));
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
      if (change.type !== 'deleted' && isComplete()) tell(change.object, before === change.object ? undefined : before);
    }),
  ];
  const view: ZoneView = {
    zone,
    ttl,
    table,
    get serial() {
      return serial;
    },
    namespaceExists,
    ...(options.pods !== undefined && { pods: options.pods }),
    ...(podAddresses !== undefined && { podHasAddress: podAddresses.has }),
  };
  return {
    view,
    synced,
    isSynced: () => isComplete() || memory.isLoaded(),
    isStale: () => !isComplete() && memory.isLoaded(),
    remembered: memory.loaded,
    stop() {
      memory.stop();
      for (const end of ends) end();
      for (const cache of caches) cache.stop();
    },
  };
}

/** A change is written to disk this much later, in ms, with all that has changed until then; large ones less often. */
const writeAfterMs = 1000;
const writeShare = 20;

/** What an earlier process knew: in the table until the lists are complete. And what this one knows, kept for the next. */
function remember(
  path: string | undefined,
  table: ServiceTable,
  isComplete: () => boolean,
  namespacesNow: () => readonly string[],
) {
  let namespaces: ReadonlySet<string> = new Set();
  let keys: readonly string[] = [];
  let isLoaded = false;
  let timer: NodeJS.Timeout | undefined;
  let tookMs = 0;
  const load = async (): Promise<void> => {
    const found = path === undefined ? undefined : await readSnapshot(path);
    if (found === undefined || isComplete()) return;
    for (const entry of found.entries) table.set(entry.namespace, entry.name, entry);
    keys = found.entries.map(({ namespace, name }) => `${namespace}/${name}`);
    namespaces = new Set(found.namespaces);
    isLoaded = true;
  };
  const write = async (): Promise<void> => {
    if (path === undefined || !isComplete()) return;
    const begun = performance.now();
    // Where it cannot be written, the next process begins without it.
    await writeSnapshot(path, { entries: table.entries(), namespaces: namespacesNow() }).catch(() => {});
    tookMs = performance.now() - begun;
  };
  return {
    namespaceExists: (name: string): boolean => namespaces.has(name),
    loaded: load(),
    isLoaded: () => isLoaded,
    changed(): void {
      if (path === undefined || timer !== undefined) return;
      timer = setTimeout(
        () => {
          timer = undefined;
          void write();
        },
        Math.max(writeAfterMs, tookMs * writeShare),
      );
    },
    /** Lets go of what is remembered; the keys of the Services that it was of. */
    forget(): readonly string[] {
      const known = keys;
      keys = [];
      namespaces = new Set();
      return known;
    },
    stop: (): void => clearTimeout(timer),
  };
}

const ownerOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace ?? ''}/${metadata.labels?.[endpointSliceOwner] ?? ''}`;

/** Whether a namespace has names at all. */
function exposure({ namespaces: names, namespaceLabels }: ContentOptions) {
  const selects = namespaceLabels === undefined ? () => true : parseLabelSelector(namespaceLabels);
  const named = names === undefined ? undefined : new Set(names);
  return ({ name = '', labels }: { name?: string; labels?: Labels }): boolean =>
    (named === undefined || named.has(name)) && selects(labels);
}

/** Which addresses the pods of each namespace have, for `pods verified`. */
function followPods(client: Client) {
  const cache = client.cache(pods);
  const known = new Map<string, number>();
  const count = (pod: Stored<Pod>, by: 1 | -1): void => {
    // A pod in the network of its node has the node's address, which is none of its own.
    if (pod.spec?.hostNetwork === true) return;
    for (const { ip } of pod.status?.podIPs ?? []) {
      const key = `${pod.metadata.namespace ?? ''}/${ip}`;
      const now = (known.get(key) ?? 0) + by;
      if (now > 0) known.set(key, now);
      else known.delete(key);
    }
  };
  cache.subscribe((change) => {
    if (change.type === 'updated') count(change.old, -1);
    count(change.object, change.type === 'deleted' ? -1 : 1);
  });
  return { cache, has: (namespace: string, ip: Ip): boolean => known.has(`${namespace}/${ip}`) };
}
