// The cache: a local copy of a selection of objects, kept by list and watch, forever.
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type Cache, type Change, type Client, type Selection, type Trim } from './client.ts';
import { type KubeObject, keyOf, type ObjectKey, type Resource, type Stored } from './object.ts';

export interface CacheOptions<T extends KubeObject> {
  /** Told in one line when the cache loses the server, and when a listener throws. */
  readonly onProblem: (problem: string) => void;
  readonly onStop?: () => void;
  readonly trim?: Trim<T>;
}

/** The wait before the attempt after `failures` failed ones, in ms: 100 first, doubling to 5 s, jittered by a quarter. */
function backOff(failures: number, random: number): number {
  return Math.min(100 * 2 ** Math.max(0, failures - 1), 5000) * (0.75 + random / 2);
}

/** A watch that ends sooner than this without an event counts as a failure, in ms. */
const shortWatch = 1000;
/** After how many failures in a row the loss of the server is told; a restart takes fewer. */
const failuresToTell = 4;

/** Starts the cache; `source` needs list and watch only, so that a test double serves as well. */
export function createCache<T extends KubeObject>(
  source: Pick<Client, 'list' | 'watch'>,
  resource: Resource<T>,
  selection: Selection,
  options: CacheOptions<T>,
): Cache<T> {
  const objects = new Map<string, Stored<T>>();
  const byNamespace = new Map<string, Map<string, Stored<T>>>();
  const listeners = new Set<(change: Change<T>) => void>();
  const ended = new AbortController();
  const first = Promise.withResolvers<void>();
  let isSynced = false;

  const tell = (listener: (change: Change<T>) => void, change: Change<T>): void => {
    try {
      listener(change);
    } catch (error) {
      options.onProblem(`a listener to ${resource.plural} failed: ${error instanceof Error ? error.stack : error}`);
    }
  };
  const emit = (change: Change<T>): void => {
    for (const listener of [...listeners]) tell(listener, change);
  };
  const put = (object: Stored<T>): void => {
    // Nobody who reads a cache needs them, and they are often half of an object.
    delete object.metadata.managedFields;
    const key = keyOf(object);
    const old = objects.get(key);
    if (old !== undefined && old.metadata.uid !== object.metadata.uid) remove(key, old);
    objects.set(key, object);
    const namespace = object.metadata.namespace ?? '';
    const same = byNamespace.get(namespace) ?? new Map<string, Stored<T>>();
    byNamespace.set(namespace, same.set(key, object));
    if (old === undefined || old.metadata.uid !== object.metadata.uid) emit({ type: 'added', object });
    else if (old.metadata.resourceVersion !== object.metadata.resourceVersion) emit({ type: 'updated', object, old });
  };
  const remove = (key: string, last: Stored<T>): void => {
    if (!objects.delete(key)) return;
    const namespace = last.metadata.namespace ?? '';
    const same = byNamespace.get(namespace);
    same?.delete(key);
    if (same?.size === 0) byNamespace.delete(namespace);
    emit({ type: 'deleted', object: last });
  };
  const replace = (items: readonly Stored<T>[]): void => {
    const present = new Set(items.map((item) => keyOf(item)));
    for (const [key, object] of [...objects]) if (!present.has(key)) remove(key, object);
    for (const item of items) put(item);
    isSynced = true;
    first.resolve();
  };

  const follow = async (): Promise<void> => {
    let resourceVersion: string | undefined;
    let failures = 0;
    while (!ended.signal.aborted) {
      const started = performance.now();
      let events = 0;
      let problem: unknown;
      try {
        if (resourceVersion === undefined) {
          const listed = await source.list(resource, selection, options.trim);
          if (ended.signal.aborted) return;
          replace(listed.items);
          resourceVersion = listed.resourceVersion;
          failures = 0;
        }
        for await (const event of source.watch(resource, { ...selection, resourceVersion, signal: ended.signal })) {
          if (ended.signal.aborted) return;
          events++;
          failures = 0;
          resourceVersion = event.type === 'BOOKMARK' ? event.resourceVersion : event.object.metadata.resourceVersion;
          if (event.type === 'DELETED') remove(keyOf(event.object), event.object);
          else if (event.type !== 'BOOKMARK') put(options.trim?.(event.object) ?? event.object);
        }
      } catch (error) {
        problem = error;
        // The server answered but would not go on from here (410 and the like), or sent what cannot be read.
        if (error instanceof ApiError || error instanceof SyntaxError) resourceVersion = undefined;
        if (error instanceof ApiError && error.code === 410 && events > 0) continue;
      }
      if (ended.signal.aborted) return;
      if (problem === undefined && (events > 0 || performance.now() - started >= shortWatch)) continue;
      failures++;
      if (failures % 32 === failuresToTell)
        options.onProblem(`cannot follow ${resource.plural}, trying again: ${describe(problem)}`);
      await delay(backOff(failures, Math.random()), undefined, { signal: ended.signal }).catch(() => undefined);
    }
  };
  follow().catch((error: unknown) => options.onProblem(`the cache of ${resource.plural} ended: ${describe(error)}`));

  return {
    synced: first.promise,
    get isSynced() {
      return isSynced;
    },
    get: (key: ObjectKey) => objects.get(keyOf(key)),
    list: (namespace) => [...(namespace === undefined ? objects : (byNamespace.get(namespace) ?? [])).values()],
    subscribe(listener) {
      for (const object of [...objects.values()]) tell(listener, { type: 'added', object });
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    stop() {
      ended.abort();
      listeners.clear();
      options.onStop?.();
    },
  };
}

function describe(error: unknown): string {
  if (error === undefined) return 'the server ends each watch at once';
  return error instanceof Error ? error.message || error.name : String(error);
}
