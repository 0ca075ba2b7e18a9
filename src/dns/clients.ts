// Who asks: the namespace of the pod that has an address. It follows the pods of its node only, where it has a node.
import type { Client } from '../k8s/client.ts';
import type { Stored } from '../k8s/object.ts';
import { pods } from '../k8s/resources.ts';
import type { Pod } from '../k8s/types.generated.ts';
import { parseIp } from '../net/address.ts';

export interface Clients {
  /** The namespace of the pod with this address; undefined where it is none's. */
  namespaceOf(address: string): string | undefined;
  /** Whether a pod of that namespace may ask. */
  hasNamespace(namespace: string): boolean;
  /** The namespaces of pods that may ask. */
  namespaces(): readonly string[];
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  stop(): void;
}

/**
 * Starts to follow the pods of a node, or all where none is named. `onNamespaces` is called when there are other
 * namespaces than before.
 */
export function followClients(client: Client, nodeName: string | undefined, onNamespaces: () => void): Clients {
  const cache = client.cache(pods, nodeName === undefined ? {} : { fieldSelector: `spec.nodeName=${nodeName}` });
  /** By address: the pods that have or had it, the latest last. An address may be given again before its pod is gone. */
  const owners = new Map<string, Stored<Pod>[]>();
  const namespaces = new Map<string, number>();
  const addressesOf = (pod: Stored<Pod>): string[] =>
    pod.spec.hostNetwork === true || isOver(pod)
      ? []
      : (pod.status?.podIPs ?? []).flatMap(({ ip = '' }) => parseIp(ip) ?? []);
  const count = (pod: Stored<Pod>, by: number): void => {
    const namespace = pod.metadata.namespace ?? '';
    const before = namespaces.get(namespace) ?? 0;
    const now = before + by;
    if (now > 0) namespaces.set(namespace, now);
    else namespaces.delete(namespace);
    if (now === 0 || before === 0) onNamespaces();
  };
  const forget = (pod: Stored<Pod>): void => {
    for (const ip of addressesOf(pod)) {
      const rest = (owners.get(ip) ?? []).filter((one) => one.metadata.uid !== pod.metadata.uid);
      if (rest.length > 0) owners.set(ip, rest);
      else owners.delete(ip);
      count(pod, -1);
    }
  };
  cache.subscribe((change) => {
    if (change.type === 'updated') forget(change.old);
    if (change.type === 'deleted') return forget(change.object);
    for (const ip of addressesOf(change.object)) {
      owners.set(ip, [...(owners.get(ip) ?? []), change.object].sort(byBirth));
      count(change.object, 1);
    }
  });
  return {
    namespaceOf: (address) => owners.get(address.replace(/^::ffff:(?=[\d.]+$)/, ''))?.at(-1)?.metadata.namespace,
    hasNamespace: (namespace) => namespaces.has(namespace),
    namespaces: () => [...namespaces.keys()],
    synced: cache.synced,
    stop: () => cache.stop(),
  };
}

const isOver = ({ status }: Stored<Pod>): boolean => status?.phase === 'Succeeded' || status?.phase === 'Failed';

const byBirth = (a: Stored<Pod>, b: Stored<Pod>): number =>
  Date.parse(a.metadata.creationTimestamp ?? '') - Date.parse(b.metadata.creationTimestamp ?? '');
