// The garbage collector: deletes what lost its owners, and carries out foreground deletion and orphaning.
import { type Cache, isConflict, isNotFound } from '../../k8s/client.ts';
import type { KubeObject } from '../../k8s/object.ts';
import { collectionPath } from '../../k8s/paths.ts';
import { customResourceDefinitions } from '../../k8s/resources.ts';
import type { OwnerReference } from '../../k8s/types.generated.ts';
import { createWorkQueue } from '../../k8s/work-queue.ts';
import type { ControllerContext } from '../context.ts';
import type { Controller } from '../controller.ts';
import { type DiscoveredResource, discover, resourceFor } from '../discovery.ts';
import {
  blocks,
  decideDependent,
  foreground,
  type GraphNode,
  graphNodeOf,
  OwnerGraph,
  type OwnerState,
  orphan,
  ownerStateInGraph,
} from './graph.ts';

/** Kinds that own nothing and are owned by nothing worth the memory of a copy. */
const ignored = new Set(['events']);

export function runGarbageCollector(context: ControllerContext): Controller {
  const { client, log } = context;
  const graph = new OwnerGraph();
  const followed = new Map<string, { cache: Cache<KubeObject>; own: boolean; end: () => void }>();
  let kinds: readonly DiscoveredResource[] = [];
  let stopped = false;

  const queue = createWorkQueue({
    concurrency: 16,
    run: (uid) => (uid === discovery ? follow() : reconcile(uid)),
    onError: (uid, error, failures) => {
      if (isConflict(error) || isNotFound(error)) return;
      log[failures < 4 ? 'debug' : 'warn']({ controller: 'garbage-collector', uid, err: error }, 'will retry');
    },
  });

  const reconcile = async (uid: string): Promise<void> => {
    const node = graph.get(uid);
    if (node === undefined) return;
    if (node.deleting && node.finalizers.includes(orphan)) return orphanDependents(node);
    if (node.deleting && node.finalizers.includes(foreground)) return deleteInForeground(node);
    const states = new Map<string, OwnerState>();
    for (const owner of node.owners) states.set(owner.uid, await ownerState(node, owner));
    const dependents = graph.dependentsOf(uid);
    const verdict = decideDependent(node, states, dependents.length > 0);
    if (verdict.act === 'drop-references')
      await patchMetadata(node, { ownerReferences: node.owners.filter((owner) => !verdict.uids.includes(owner.uid)) });
    else if (verdict.act === 'delete')
      await client
        .delete(node.resource, node.key, {
          propagationPolicy: verdict.policy,
          preconditions: { uid, resourceVersion: node.resourceVersion },
        })
        .catch(ignoreNotFound);
  };

  /** In the graph, or else asked of the API server: an owner that a cache does not show yet must not count as gone. */
  const ownerState = async (node: GraphNode, owner: OwnerReference): Promise<OwnerState> => {
    const known = ownerStateInGraph(graph, node, owner);
    if (known !== 'unknown') return known;
    const resource = resourceFor(kinds, owner);
    if (resource === undefined) return 'unknown';
    if (resource.namespaced && node.key.namespace === undefined) return 'absent';
    try {
      const key = { name: owner.name, namespace: resource.namespaced ? node.key.namespace : undefined };
      const found = await client.get(resource, key);
      return found.metadata.uid === owner.uid ? 'solid' : 'absent';
    } catch (error) {
      if (isNotFound(error)) return 'absent';
      throw error;
    }
  };
  const orphanDependents = async (node: GraphNode): Promise<void> => {
    for (const dependent of graph.dependentsOf(node.uid))
      await patchMetadata(dependent, { ownerReferences: dependent.owners.filter(({ uid }) => uid !== node.uid) });
    await patchMetadata(node, { finalizers: node.finalizers.filter((each) => each !== orphan) });
  };
  const deleteInForeground = async (node: GraphNode): Promise<void> => {
    const blocking = graph.dependentsOf(node.uid).filter((dependent) => blocks(dependent, node.uid));
    if (blocking.length === 0)
      return patchMetadata(node, { finalizers: node.finalizers.filter((each) => each !== foreground) });
    for (const dependent of graph.dependentsOf(node.uid)) if (!dependent.deleting) queue.add(dependent.uid);
    return undefined;
  };
  const patchMetadata = async (node: GraphNode, metadata: object): Promise<void> => {
    const body = { metadata: { uid: node.uid, resourceVersion: node.resourceVersion, ...metadata } };
    await client.patch(node.resource, node.key, { type: 'merge', body }).catch(ignoreNotFound);
  };

  /** Follows every kind that is served now, and stops following those that are not served any more. */
  const follow = async (): Promise<void> => {
    kinds = await discover(client);
    const wanted = kinds.filter(
      ({ plural, verbs }) => !ignored.has(plural) && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb)),
    );
    const paths = new Set(wanted.map((resource) => collectionPath(resource)));
    for (const [path, { cache, own, end }] of followed) {
      if (paths.has(path)) continue;
      followed.delete(path);
      end();
      for (const object of cache.list()) forget(object.metadata.uid);
      if (own) cache.stop();
    }
    for (const resource of wanted) if (!followed.has(collectionPath(resource)) && !stopped) followKind(resource);
    await Promise.all([...followed.values()].map(({ cache }) => Promise.race([cache.synced, afterMs(2000)])));
    for (const uid of graph.absentOwners()) for (const dependent of graph.dependentsOf(uid)) queue.add(dependent.uid);
  };
  const followKind = (resource: DiscoveredResource): void => {
    const custom = resource.group.includes('.') && !resource.group.endsWith('.k8s.io');
    const cache = custom ? client.cache(resource) : context.cache(resource);
    const end = cache.subscribe((change) => {
      if (change.type === 'deleted') return forget(change.object.metadata.uid);
      const node = graphNodeOf(resource, change.object);
      const before = graph.get(node.uid);
      graph.set(node);
      if (node.owners.length > 0 && (before === undefined || ownersOf(before) !== ownersOf(node))) queue.add(node.uid);
      if (node.deleting) {
        if (node.finalizers.includes(foreground) || node.finalizers.includes(orphan)) queue.add(node.uid);
      }
      return undefined;
    });
    followed.set(collectionPath(resource), { cache, own: custom, end });
  };
  const forget = (uid: string): void => {
    const owners = graph.get(uid)?.owners ?? [];
    graph.remove(uid);
    for (const dependent of graph.dependentsOf(uid)) queue.add(dependent.uid);
    for (const owner of owners) if (graph.get(owner.uid)?.deleting) queue.add(owner.uid);
  };

  const definitions = context.cache(customResourceDefinitions);
  void definitions.synced.then(() => {
    if (stopped) return;
    queue.add(discovery);
    // A new kind is served a moment after its definition is there; its condition changes then.
    definitions.subscribe(() => queue.addAfter(discovery, 50));
  });
  return {
    async stop() {
      stopped = true;
      for (const { cache, own, end } of followed.values()) {
        end();
        if (own) cache.stop();
      }
      await queue.stop();
    },
  };
}

/** The queue's key for looking at the kinds anew; no uid looks like it. */
const discovery = 'discovery';

const ownersOf = ({ owners }: GraphNode): string => owners.map(({ uid }) => uid).join(' ');

function ignoreNotFound(error: unknown): void {
  if (!isNotFound(error)) throw error;
}

/** A kind that cannot be listed must not hold up all others. */
function afterMs(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref());
}
