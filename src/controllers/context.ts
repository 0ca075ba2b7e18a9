// What every controller is given: the client, caches that they share, a clock, a log.
import { type CacheIndex, createIndex } from '../k8s/cache-index.ts';
import type { Cache, Client } from '../k8s/client.ts';
import { createRecorder, type Recorder } from '../k8s/events.ts';
import type { KubeObject, Resource } from '../k8s/object.ts';
import { collectionPath } from '../k8s/paths.ts';
import { controllerOf } from '../k8s/pod.ts';
import { pods } from '../k8s/resources.ts';
import type { Pod } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';

export interface ControllerContext {
  readonly client: Client;
  readonly log: Log;
  /** The cache of all objects of a resource; the same one for everybody who asks. */
  cache<T extends KubeObject>(resource: Resource<T>): Cache<T>;
  /** Pods by the uid of their controller; those without one under `namespace/`. */
  readonly podsByOwner: CacheIndex<Pod>;
  recorder(component: string): Recorder;
  /** The time in ms since 1970. */
  now(): number;
  stop(): void;
}

/** The key under which podsByOwner has the pods of a namespace that no controller owns. */
export const orphansOf = (namespace: string): string => `${namespace}/`;

export function createContext(client: Client, log: Log, now: () => number = Date.now): ControllerContext {
  const caches = new Map<string, Cache<KubeObject>>();
  const cache = <T extends KubeObject>(resource: Resource<T>): Cache<T> => {
    const path = collectionPath(resource);
    // The path stands for the type of the resource, so what is kept under it is a cache of that type.
    const known = caches.get(path) as Cache<T> | undefined;
    if (known !== undefined) return known;
    const made = client.cache(resource);
    caches.set(path, made as Cache<KubeObject>);
    return made;
  };
  const podsByOwner = createIndex(cache(pods), (pod) => [
    controllerOf(pod)?.uid ?? orphansOf(pod.metadata.namespace ?? ''),
  ]);
  return {
    client,
    log,
    cache,
    podsByOwner,
    recorder: (component) => createRecorder(client, component),
    now,
    stop() {
      for (const each of caches.values()) each.stop();
    },
  };
}
