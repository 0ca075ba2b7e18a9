// When a cluster is ready: every node Ready, and cluster DNS answering.
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type Cache, type Client } from '../k8s/client.ts';
import type { Node } from '../k8s/types.generated.ts';
import { familyOf, type Ip } from '../net/address.ts';
import { dnsAnswers } from './dns-check.ts';
import type { ClusterLayout } from './layout.ts';

/** How often something is asked that tells nobody when it changes; only while a cluster starts. */
const askEveryMs = 25;

export function isNodeReady(node: Node): boolean {
  return node.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}

/** Which of these nodes are not Ready. Pure. */
export function unreadyNodes(names: readonly string[], nodes: readonly Node[]): string[] {
  const ready = new Set(nodes.filter(isNodeReady).map(({ metadata }) => metadata.name));
  return names.filter((name) => !ready.has(name));
}

/** Resolves when all nodes of the cluster are Ready. */
export function nodesReady(
  nodes: Cache<Node>,
  layout: { readonly nodes: readonly { readonly name: string }[] },
): Promise<void> {
  const names = layout.nodes.map(({ name }) => name);
  return new Promise((resolve) => {
    const end: { subscription?: () => void } = {};
    end.subscription = nodes.subscribe(() => {
      if (unreadyNodes(names, nodes.list()).length > 0) return;
      resolve();
      queueMicrotask(() => end.subscription?.());
    });
  });
}

/** Resolves when the API server serves requests. */
export async function apiAnswers(client: Client, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    try {
      await client.request('GET', '/readyz');
      return;
    } catch (error) {
      if (error instanceof ApiError && error.code < 500) throw error;
      await delay(askEveryMs);
    }
  }
}

/** Resolves when cluster DNS answers at each of its Service's addresses, asked from every node: each has a server. */
export async function dnsReady(
  layout: ClusterLayout,
  addresses: readonly [Ip, ...Ip[]],
  signal: AbortSignal,
): Promise<void> {
  // The API server's own Service has an address of the main family only.
  const family = familyOf(addresses[0]);
  const answers = async (dialSocket: string): Promise<void> => {
    for (const address of addresses)
      while (!signal.aborted && !(await dnsAnswers(dialSocket, address, family))) await delay(askEveryMs);
  };
  await Promise.all(layout.nodes.map(({ dialSocket }) => answers(dialSocket)));
}
