// The nodes and what runs on them, as the scheduler sees it: the caches with the pods that it has just placed.
import { isPodTerminal } from '../k8s/pod.ts';
import type { Node, Pod } from '../k8s/types.generated.ts';
import { type Amounts, add, allocatableOf, podRequests, presumedRequests, subtract } from './resources.ts';

/** A port that a pod takes on its node. */
export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

export interface NodeInfo {
  readonly node: Node;
  readonly name: string;
  readonly allocatable: Amounts;
  readonly pods: ReadonlyMap<string, Pod>;
  readonly requested: Amounts;
  /** As requested, with cpu and memory presumed where a container asks for none. */
  readonly presumed: Amounts;
}

/** What decisions read. */
export interface Snapshot {
  readonly nodes: readonly NodeInfo[];
  readonly namespaceLabels: (namespace: string) => Readonly<Record<string, string>>;
}

const empty = new Map<string, Pod>();

interface OnNode {
  pods: Map<string, Pod>;
  requested: Amounts;
  presumed: Amounts;
}

/** Keeps the pods of each node and the sums of their requests. Pods may come before their node, and outlive it. */
export class ClusterState {
  readonly #nodes = new Map<string, Node>();
  readonly #used = new Map<string, OnNode>();
  readonly #placed = new Map<string, { node: string; pod: Pod }>();

  setNode(node: Node): void {
    this.#nodes.set(node.metadata.name ?? '', node);
  }

  removeNode(name: string): void {
    this.#nodes.delete(name);
  }

  /** Takes over a pod as it is now; one without a node or one that has ended takes nothing. */
  setPod(pod: Pod): void {
    this.removePod(pod);
    const name = pod.spec?.nodeName;
    if (!name || isPodTerminal(pod)) return;
    const used = this.#used.get(name) ?? { pods: new Map<string, Pod>(), requested: {}, presumed: {} };
    this.#used.set(name, used);
    used.pods.set(pod.metadata.uid ?? '', pod);
    used.requested = add(used.requested, podRequests(pod));
    used.presumed = add(used.presumed, presumedRequests(pod));
    this.#placed.set(pod.metadata.uid ?? '', { node: name, pod });
  }

  removePod({ metadata: { uid = '' } }: Pod): void {
    const placed = this.#placed.get(uid);
    const used = placed === undefined ? undefined : this.#used.get(placed.node);
    if (placed === undefined || used === undefined) return;
    this.#placed.delete(uid);
    used.pods.delete(uid);
    used.requested = subtract(used.requested, podRequests(placed.pod));
    used.presumed = subtract(used.presumed, presumedRequests(placed.pod));
    if (used.pods.size === 0) this.#used.delete(placed.node);
  }

  has(uid: string): boolean {
    return this.#placed.has(uid);
  }

  snapshot(namespaceLabels: Snapshot['namespaceLabels']): Snapshot {
    const nodes = [...this.#nodes].map(([name, node]) => {
      const used = this.#used.get(name);
      return {
        node,
        name,
        allocatable: allocatableOf(node),
        pods: used?.pods ?? empty,
        requested: used?.requested ?? {},
        presumed: used?.presumed ?? {},
      };
    });
    return { nodes, namespaceLabels };
  }
}

/** The host ports that a pod takes, of its containers and sidecars. */
export function hostPortsOf(pod: Pod): HostPort[] {
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  const sidecars = initContainers.filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...containers, ...sidecars].flatMap(({ ports = [] }) =>
    ports.flatMap(({ hostPort = 0, hostIP, protocol = 'TCP' }) =>
      hostPort > 0 ? [{ ip: hostIP || '0.0.0.0', protocol, port: hostPort }] : [],
    ),
  );
}

/** Whether two host ports cannot be on one node: an unspecified address takes the port on all of them. */
export function conflicts(a: HostPort, b: HostPort): boolean {
  const any = (ip: string): boolean => ip === '0.0.0.0' || ip === '::';
  return a.port === b.port && a.protocol === b.protocol && (any(a.ip) || any(b.ip) || a.ip === b.ip);
}
