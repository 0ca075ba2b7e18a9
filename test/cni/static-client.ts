// A Client for tests that knows Nodes and the network's settings as the test tells them; of all other kinds there is
// nothing. What is patched is told to the test.
import type { Cache, Change, Client } from '../../src/k8s/client.ts';
import { networkConfigKey } from '../../src/k8s/network-config.ts';
import { type KubeObject, keyOf, type Resource, type Stored } from '../../src/k8s/object.ts';
import type { ConfigMap, Node } from '../../src/k8s/types.generated.ts';

export interface StaticClient extends Client {
  /** From now on these are all Nodes of the cluster. */
  setNodes(nodes: readonly Stored<Node>[]): void;
  setConfig(config: Stored<ConfigMap>): void;
}

/** Told of each merge patch of a Node or of the settings: the kind, the name, the body. */
export type OnPatch = (plural: string, name: string, body: object) => void;

export function node(name: string, podCIDRs: readonly string[], addresses: readonly string[] = []): Stored<Node> {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { podCIDRs: [...podCIDRs] },
    status: {
      addresses: addresses.map((address) => ({ type: 'InternalIP', address })),
      conditions: [{ type: 'Ready', status: 'True' }],
    },
  };
}

export function networkConfig(
  data: Record<string, string>,
  annotations: Record<string, string> = {},
): Stored<ConfigMap> {
  const stored = { uid: 'config', resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' };
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { ...networkConfigKey, ...stored, annotations }, data };
}

const refuse = (): Promise<never> => Promise.reject(new Error('this client knows Nodes and settings alone'));

const nothing = <T extends KubeObject>(): Cache<T> => ({
  synced: Promise.resolve(),
  isSynced: true,
  get: () => undefined,
  list: () => [],
  subscribe: () => () => {},
  stop: () => {},
});

/** A cache whose content is set as a whole. */
function settable<T extends KubeObject>(): { readonly cache: Cache<T>; set(objects: readonly Stored<T>[]): void } {
  let current = new Map<string, Stored<T>>();
  const listeners = new Set<(change: Change<T>) => void>();
  return {
    cache: {
      synced: Promise.resolve(),
      isSynced: true,
      get: (key) => current.get(keyOf(key)),
      list: () => [...current.values()],
      subscribe: (listener) => {
        listeners.add(listener);
        for (const object of current.values()) listener({ type: 'added', object });
        return () => listeners.delete(listener);
      },
      // Several parts share it: each ends its own subscription.
      stop: () => {},
    },
    set(objects) {
      const old = current;
      current = new Map(objects.map((object) => [keyOf(object), object]));
      const changes: Change<T>[] = [
        ...[...old].filter(([key]) => !current.has(key)).map(([, object]) => ({ type: 'deleted' as const, object })),
        ...[...current].map(([key, object]): Change<T> => {
          const before = old.get(key);
          return before === undefined ? { type: 'added', object } : { type: 'updated', object, old: before };
        }),
      ];
      for (const change of changes) for (const listener of listeners) listener(change);
    },
  };
}

export function staticClient(initial: readonly Stored<Node>[], onPatch: OnPatch = () => {}): StaticClient {
  const nodes = settable<Node>();
  const configs = settable<ConfigMap>();
  nodes.set(initial);
  return {
    setNodes: nodes.set,
    setConfig: (config) => configs.set([config]),
    cache<T extends KubeObject>(resource: Resource<T>): Cache<T> {
      const known: Record<string, unknown> = { nodes: nodes.cache, configmaps: configs.cache };
      // The kind is that of the resource; a type parameter cannot say so.
      return (known[resource.plural] as Cache<T> | undefined) ?? nothing();
    },
    get: refuse,
    list: refuse,
    create: refuse,
    update: refuse,
    patch<T extends KubeObject>(
      resource: Resource<T>,
      key: { readonly name: string },
      patch: { readonly type: string; readonly body?: object },
    ): Promise<Stored<T>> {
      if (patch.type !== 'merge' || patch.body === undefined) return refuse();
      onPatch(resource.plural, key.name, patch.body);
      // Nobody in these tests reads the answer of a patch.
      return Promise.resolve({} as Stored<T>);
    },
    delete: refuse,
    deleteCollection: refuse,
    watch: () => {
      throw new Error('this client knows Nodes and settings alone');
    },
    request: refuse,
    close: () => Promise.resolve(),
  };
}
