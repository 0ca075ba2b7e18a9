// A Client for tests that knows Nodes as the test tells it; of all other kinds there is nothing.
import type { Cache, Change, Client } from '../../src/k8s/client.ts';
import { type KubeObject, keyOf, type Resource, type Stored } from '../../src/k8s/object.ts';
import type { Node } from '../../src/k8s/types.generated.ts';

export interface StaticClient extends Client {
  /** From now on these are all Nodes of the cluster. */
  setNodes(nodes: readonly Stored<Node>[]): void;
}

export function node(name: string, podCIDRs: readonly string[], addresses: readonly string[] = []): Stored<Node> {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, uid: name, resourceVersion: '1', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { podCIDRs: [...podCIDRs] },
    status: { addresses: addresses.map((address) => ({ type: 'InternalIP', address })) },
  };
}

const refuse = (): Promise<never> => Promise.reject(new Error('this client knows Nodes alone'));

const nothing = <T extends KubeObject>(): Cache<T> => ({
  synced: Promise.resolve(),
  isSynced: true,
  get: () => undefined,
  list: () => [],
  subscribe: () => () => {},
  stop: () => {},
});

export function staticClient(initial: readonly Stored<Node>[]): StaticClient {
  let current = new Map(initial.map((object) => [object.metadata.name, object]));
  const listeners = new Set<(change: Change<Node>) => void>();
  const cache = {
    synced: Promise.resolve(),
    isSynced: true,
    get: (key: { name: string }) => current.get(key.name),
    list: () => [...current.values()],
    subscribe: (listener: (change: Change<Node>) => void) => {
      listeners.add(listener);
      for (const object of current.values()) listener({ type: 'added', object });
      return () => listeners.delete(listener);
    },
    stop: () => listeners.clear(),
  };
  return {
    setNodes(objects) {
      const old = current;
      current = new Map(objects.map((object) => [object.metadata.name, object]));
      const changes: Change<Node>[] = [
        ...[...old.values()]
          .filter((o) => !current.has(keyOf(o)))
          .map((object) => ({ type: 'deleted' as const, object })),
        ...objects.map((object): Change<Node> => {
          const before = old.get(object.metadata.name);
          return before === undefined ? { type: 'added', object } : { type: 'updated', object, old: before };
        }),
      ];
      for (const change of changes) for (const listener of listeners) listener(change);
    },
    cache<T extends KubeObject>(resource: Resource<T>): Cache<T> {
      if (resource.plural !== 'nodes') return nothing();
      // The kind was checked above; a type parameter cannot say that it is Node here.
      return cache as unknown as Cache<T>;
    },
    get: refuse,
    list: refuse,
    create: refuse,
    update: refuse,
    patch: refuse,
    delete: refuse,
    deleteCollection: refuse,
    watch: () => {
      throw new Error('this client knows Nodes alone');
    },
    request: refuse,
    close: () => Promise.resolve(),
  };
}
