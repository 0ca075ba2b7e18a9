// When a cluster is ready: every node Ready, and cluster DNS answering.
import { setTimeout as delay } from 'node:timers/promises';
import { ApiError, type Cache, type Client } from '../k8s/client.ts';
import type { Node, Pod } from '../k8s/types.generated.ts';
import { familyOf, type Ip } from '../net/address.ts';
import { dnsAnswers } from './dns-check.ts';
import type { ClusterLayout, NodeLayout } from './layout.ts';

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

/** A node's DNS is asked so seldom while its server does not even run: each question costs its agent something too. */
const askSeldomMs = 500;

/** Resolves when cluster DNS answers at each of its Service's addresses, asked from every node: each has a server. */
export async function dnsReady(
  layout: ClusterLayout,
  addresses: readonly [Ip, ...Ip[]],
  pods: Cache<Pod>,
  signal: AbortSignal,
): Promise<void> {
  // The API server's own Service has an address of the main family only.
  const family = familyOf(addresses[0]);
  const servers = followServers(pods);
  const answers = async ({ name, dialSocket }: NodeLayout): Promise<void> => {
    for (const address of addresses)
      while (!signal.aborted && !(await dnsAnswers(dialSocket, address, family)))
        await (servers.isRunning(name) ? delay(askEveryMs) : servers.running(name, askSeldomMs));
  };
  try {
    await Promise.all(layout.nodes.map(answers));
  } finally {
    servers.stop();
  }
}

/** On which nodes a container of these pods runs. Others may answer in their place: this is no more than a hint. */
function followServers(pods: Cache<Pod>) {
  const nodes = new Set<string>();
  const waiting = new Map<string, () => void>();
  const stop = pods.subscribe(({ type, object: { spec, status } }) => {
    const name = spec?.nodeName ?? '';
    if (type === 'deleted' || !status?.containerStatuses?.some(({ state }) => state?.running !== undefined)) return;
    nodes.add(name);
    waiting.get(name)?.();
  });
  return {
    stop,
    isRunning: (name: string): boolean => nodes.has(name),
    /** Resolves when one runs there, or after that time. */
    running: (name: string, patienceMs: number): Promise<void> =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, patienceMs);
        waiting.set(name, () => {
          clearTimeout(timer);
          resolve();
        });
      }),
  };
}
