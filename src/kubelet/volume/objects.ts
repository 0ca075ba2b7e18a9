// The ConfigMaps and Secrets that pods of this node refer to: one watch for each, as long as a pod needs it.
import { type Cache, type Client, isNotFound } from '../../k8s/client.ts';
import type { Stored } from '../../k8s/object.ts';
import { configMaps, secrets } from '../../k8s/resources.ts';
import type { ConfigMap, Pod, Secret } from '../../k8s/types.generated.ts';
import { referencesOf } from './payload.ts';

export interface PodObjects {
  configMap(name: string): ConfigMap | undefined;
  secret(name: string): Secret | undefined;
}

export interface Objects {
  /** Begins to follow what the pod refers to; `onChange` is called when any of it changes later. */
  register(pod: Pod, onChange: () => void): void;
  unregister(uid: string): void;
  /** What the pod refers to, as it is now: read when the watches have it all. */
  read(pod: Pod): Promise<PodObjects>;
  stop(): void;
}

interface Watched<T extends ConfigMap | Secret> {
  readonly cache: Cache<T>;
  readonly users: Map<string, () => void>;
}

export function createObjects(client: Client): Objects {
  const pool = {
    configMap: new Map<string, Watched<ConfigMap>>(),
    secret: new Map<string, Watched<Secret>>(),
  };

  const follow = <T extends ConfigMap | Secret>(
    watched: Map<string, Watched<T>>,
    open: (namespace: string, name: string) => Cache<T>,
    pod: Pod,
    name: string,
    onChange: () => void,
  ): void => {
    const { uid = '', namespace = '' } = pod.metadata;
    const key = `${namespace}/${name}`;
    const present = watched.get(key);
    if (present !== undefined) {
      present.users.set(uid, onChange);
      return;
    }
    const entry: Watched<T> = { cache: open(namespace, name), users: new Map([[uid, onChange]]) };
    watched.set(key, entry);
    entry.cache.subscribe(() => {
      for (const tell of entry.users.values()) tell();
    });
  };

  const release = <T extends ConfigMap | Secret>(watched: Map<string, Watched<T>>, uid: string): void => {
    for (const [key, { cache, users }] of watched) {
      if (!users.delete(uid) || users.size > 0) continue;
      cache.stop();
      watched.delete(key);
    }
  };

  const readOne = async <T extends ConfigMap | Secret>(
    watched: Watched<T> | undefined,
    key: { namespace: string; name: string },
    get: () => Promise<Stored<T>>,
  ): Promise<T | undefined> => {
    await watched?.cache.synced;
    const cached = watched?.cache.get(key);
    if (cached !== undefined) return cached;
    // The watch may lag behind: what was made just before the pod must be seen.
    try {
      return await get();
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };

  const selection = (namespace: string, name: string) => ({ namespace, fieldSelector: `metadata.name=${name}` });
  return {
    register(pod, onChange) {
      const references = referencesOf(pod);
      for (const name of references.configMaps)
        follow(
          pool.configMap,
          (namespace, n) => client.cache(configMaps, selection(namespace, n)),
          pod,
          name,
          onChange,
        );
      for (const name of references.secrets)
        follow(pool.secret, (namespace, n) => client.cache(secrets, selection(namespace, n)), pod, name, onChange);
    },
    unregister(uid) {
      release(pool.configMap, uid);
      release(pool.secret, uid);
    },
    async read(pod) {
      const { namespace = '' } = pod.metadata;
      const references = referencesOf(pod);
      const [maps, hidden] = await Promise.all([
        Promise.all(
          [...references.configMaps].map(async (name) => {
            const key = { namespace, name };
            const watched = pool.configMap.get(`${namespace}/${name}`);
            return [name, await readOne(watched, key, () => client.get(configMaps, key))] as const;
          }),
        ),
        Promise.all(
          [...references.secrets].map(async (name) => {
            const key = { namespace, name };
            const watched = pool.secret.get(`${namespace}/${name}`);
            return [name, await readOne(watched, key, () => client.get(secrets, key))] as const;
          }),
        ),
      ]);
      const [byMap, bySecret] = [new Map(maps), new Map(hidden)];
      return { configMap: (name) => byMap.get(name), secret: (name) => bySecret.get(name) };
    },
    stop() {
      for (const { cache } of [...pool.configMap.values(), ...pool.secret.values()]) cache.stop();
    },
  };
}
