// What a controller has written and its cache does not show yet: so that it does not decide on its own past.
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';

export interface Written<T extends KubeObject> {
  /** Remembers an object as the server answered it. */
  wrote(object: Stored<T>): void;
  /** Remembers that this object was deleted. */
  deleted(object: Stored<T>): void;
  /** The cached objects with what was written since over them; `mine` says which others to add. */
  over(cached: readonly Stored<T>[], mine: (object: Stored<T>) => boolean): Stored<T>[];
  /** To be told of every change in the cache. */
  saw(object: Stored<T>, gone: boolean): void;
}

export function createWritten<T extends KubeObject>(): Written<T> {
  const newer = new Map<string, Stored<T>>();
  const gone = new Set<string>();
  return {
    wrote: (object) => void newer.set(keyOf(object), object),
    deleted(object) {
      gone.add(object.metadata.uid);
      newer.delete(keyOf(object));
    },
    over(cached, mine) {
      const result = new Map(cached.map((object) => [keyOf(object), object]));
      for (const [key, object] of newer) if (mine(object) && isNewer(object, result.get(key))) result.set(key, object);
      return [...result.values()].filter((object) => !gone.has(object.metadata.uid));
    },
    saw(object, isGone) {
      if (isGone) gone.delete(object.metadata.uid);
      const own = newer.get(keyOf(object));
      if (own !== undefined && !isNewer(own, object)) newer.delete(keyOf(object));
    },
  };
}

/** Resource versions of one resource can be compared as numbers (KEP-5504). */
function isNewer(a: KubeObject, b: KubeObject | undefined): boolean {
  return b === undefined || BigInt(a.metadata.resourceVersion ?? 0) > BigInt(b.metadata.resourceVersion ?? 0);
}
