// Who owns whom, over objects of every kind: what the garbage collector decides on. Pure.
import type { KubeObject, ObjectKey, Stored } from '../../k8s/object.ts';
import type { OwnerReference } from '../../k8s/types.generated.ts';
import type { DiscoveredResource } from '../discovery.ts';

export interface GraphNode {
  readonly resource: DiscoveredResource;
  readonly key: ObjectKey;
  readonly uid: string;
  readonly resourceVersion: string;
  readonly owners: readonly OwnerReference[];
  readonly finalizers: readonly string[];
  readonly deleting: boolean;
}

export const foreground = 'foregroundDeletion';
export const orphan = 'orphan';

export function graphNodeOf(resource: DiscoveredResource, { metadata }: Stored<KubeObject>): GraphNode {
  return {
    resource,
    key: { name: metadata.name, namespace: metadata.namespace },
    uid: metadata.uid,
    resourceVersion: metadata.resourceVersion,
    owners: metadata.ownerReferences ?? [],
    finalizers: metadata.finalizers ?? [],
    deleting: metadata.deletionTimestamp !== undefined,
  };
}

export class OwnerGraph {
  readonly #nodes = new Map<string, GraphNode>();
  readonly #dependents = new Map<string, Set<string>>();

  get(uid: string): GraphNode | undefined {
    return this.#nodes.get(uid);
  }

  set(node: GraphNode): void {
    this.remove(node.uid);
    this.#nodes.set(node.uid, node);
    for (const { uid } of node.owners)
      this.#dependents.set(uid, (this.#dependents.get(uid) ?? new Set()).add(node.uid));
  }

  remove(uid: string): void {
    for (const owner of this.#nodes.get(uid)?.owners ?? []) {
      const dependents = this.#dependents.get(owner.uid);
      dependents?.delete(uid);
      if (dependents?.size === 0) this.#dependents.delete(owner.uid);
    }
    this.#nodes.delete(uid);
  }

  /** The objects that name this one as an owner; it may be gone itself. */
  dependentsOf(uid: string): GraphNode[] {
    return [...(this.#dependents.get(uid) ?? [])].flatMap((each) => this.#nodes.get(each) ?? []);
  }

  /** Owners that are named but not there. */
  absentOwners(): string[] {
    return [...this.#dependents.keys()].filter((uid) => !this.#nodes.has(uid));
  }
}

/** How an owner of an object stands: it holds it, waits for it to go, or is gone. */
export type OwnerState = 'solid' | 'waiting' | 'absent' | 'unknown';

export function ownerStateInGraph(graph: OwnerGraph, dependent: GraphNode, owner: OwnerReference): OwnerState {
  const found = graph.get(owner.uid);
  if (found === undefined) return 'unknown';
  // An owner in another namespace is none.
  if (found.resource.namespaced && found.key.namespace !== dependent.key.namespace) return 'absent';
  return found.deleting && found.finalizers.includes(foreground) ? 'waiting' : 'solid';
}

export type Verdict =
  | { readonly act: 'keep' }
  /** Some owners are gone while others hold it: their references go. */
  | { readonly act: 'drop-references'; readonly uids: readonly string[] }
  | { readonly act: 'delete'; readonly policy: 'Background' | 'Foreground' | 'Orphan' };

/** What becomes of an object with owners in these states (upstream's attemptToDeleteItem). */
export function decideDependent(
  node: GraphNode,
  states: ReadonlyMap<string, OwnerState>,
  hasDependents: boolean,
): Verdict {
  const inState = (...wanted: OwnerState[]): string[] =>
    [...states].filter(([, state]) => wanted.includes(state)).map(([uid]) => uid);
  if (states.size === 0 || inState('unknown').length > 0) return { act: 'keep' };
  if (inState('solid').length > 0) {
    const uids = inState('absent', 'waiting');
    return uids.length > 0 ? { act: 'drop-references', uids } : { act: 'keep' };
  }
  if (node.deleting) return { act: 'keep' };
  if (inState('waiting').length > 0 && hasDependents) return { act: 'delete', policy: 'Foreground' };
  if (node.finalizers.includes(orphan)) return { act: 'delete', policy: 'Orphan' };
  return { act: 'delete', policy: node.finalizers.includes(foreground) ? 'Foreground' : 'Background' };
}

/** Whether an owner that is deleted in the foreground still has to wait for this dependent. */
export function blocks(dependent: GraphNode, ownerUid: string): boolean {
  return dependent.owners.some(({ uid, blockOwnerDeletion }) => uid === ownerUid && blockOwnerDeletion === true);
}
