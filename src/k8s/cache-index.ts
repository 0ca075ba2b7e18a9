// An index over a cache: the objects under keys that a function derives from them.
import type { Cache, Change } from './client.ts';
import { type KubeObject, keyOf, type Stored } from './object.ts';

export interface CacheIndex<T extends KubeObject> {
  get(key: string): readonly Stored<T>[];
  stop(): void;
}

/**
 * Keeps the objects of a cache under each of their keys. Made before other listeners subscribe, it is up to date
 * when they are called.
 */
export function createIndex<T extends KubeObject>(
  cache: Cache<T>,
  keysOf: (object: Stored<T>) => readonly string[],
): CacheIndex<T> {
  const index = new Map<string, Map<string, Stored<T>>>();
  const drop = (object: Stored<T>): void => {
    for (const key of keysOf(object)) {
      const under = index.get(key);
      under?.delete(keyOf(object));
      if (under?.size === 0) index.delete(key);
    }
  };
  const put = (object: Stored<T>): void => {
    for (const key of keysOf(object)) {
      const under = index.get(key) ?? new Map<string, Stored<T>>();
      index.set(key, under.set(keyOf(object), object));
    }
  };
  const stop = cache.subscribe((change: Change<T>) => {
    if (change.type === 'updated') drop(change.old);
    if (change.type === 'deleted') drop(change.object);
    else put(change.object);
  });
  return { get: (key) => [...(index.get(key)?.values() ?? [])], stop };
}
