// A client whose caches are shared: parts of one process that ask for the same selection get the same copy of it.
import type { Cache, Change, Client, Selection, Trim } from './client.ts';
import type { KubeObject, Resource } from './object.ts';
import { collectionPath } from './paths.ts';

interface Shared {
  readonly cache: Cache<KubeObject>;
  holders: number;
}

/** The same client; a call of its cache() gives a holder of a shared cache, which ends with its last holder. */
export function shareCaches(client: Client): Client {
  const known = new Map<string, Shared>();
  return {
    ...client,
    cache<T extends KubeObject>(resource: Resource<T>, selection: Selection = {}, trim?: Trim<T>): Cache<T> {
      // What is kept of an object is the own choice of whoever asks.
      if (trim !== undefined) return client.cache(resource, selection, trim);
      const { namespace, labelSelector, fieldSelector } = selection;
      const key = JSON.stringify([collectionPath(resource, namespace), labelSelector, fieldSelector]);
      const shared = known.get(key) ?? { cache: client.cache(resource, selection) as Cache<KubeObject>, holders: 0 };
      known.set(key, shared);
      shared.holders++;
      // The path stands for the type of the resource, so what is kept under it is a cache of that type.
      return holderOf(shared.cache as Cache<T>, () => {
        if (--shared.holders > 0) return;
        known.delete(key);
        shared.cache.stop();
      });
    },
  };
}

function holderOf<T extends KubeObject>(cache: Cache<T>, released: () => void): Cache<T> {
  const ends = new Set<() => void>();
  let isStopped = false;
  return {
    synced: cache.synced,
    get isSynced() {
      return cache.isSynced;
    },
    get: (key) => cache.get(key),
    list: (namespace) => cache.list(namespace),
    subscribe(listener: (change: Change<T>) => void) {
      const unsubscribe = cache.subscribe(listener);
      const end = (): void => {
        ends.delete(end);
        unsubscribe();
      };
      ends.add(end);
      return end;
    },
    stop() {
      for (const end of [...ends]) end();
      if (!isStopped) released();
      isStopped = true;
    },
  };
}
