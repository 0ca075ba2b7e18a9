// Namespace deletion: removes everything of every kind within, then lets the namespace go.
import { ApiError, isNotFound } from '../k8s/client.ts';
import { formatTime, withCondition } from '../k8s/conditions.ts';
import { keyOf, type Stored } from '../k8s/object.ts';
import { namespaces } from '../k8s/resources.ts';
import type { Namespace, NamespaceCondition } from '../k8s/types.generated.ts';
import type { ControllerContext } from './context.ts';
import { type Controller, runController } from './controller.ts';
import { type DiscoveredResource, discover } from './discovery.ts';
import { messageOf } from './owned-pods.ts';

const finalizer = 'kubernetes';
/** How long to wait for what ends by itself (pods with their grace, finalizers of others), in ms. */
const patience = { first: 100, most: 2000 };

/** What is left of one kind in the namespace. */
export interface Remainder {
  readonly resource: string;
  readonly count: number;
  readonly finalizers: readonly string[];
}

export function runNamespaces(context: ControllerContext): Controller {
  const cache = context.cache(namespaces);
  const { client } = context;
  const rounds = new Map<string, number>();

  const clear = async (resource: DiscoveredResource, namespace: string): Promise<Remainder> => {
    const plural = resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
    try {
      if ((await client.list(resource, { namespace })).items.length === 0)
        return { resource: plural, count: 0, finalizers: [] };
      await client.deleteCollection(resource, { namespace });
      const { items } = await client.list(resource, { namespace });
      return {
        resource: plural,
        count: items.length,
        finalizers: items.flatMap(({ metadata }) => metadata.finalizers ?? []),
      };
    } catch (error) {
      // The kind went away meanwhile, its objects with it.
      if (isNotFound(error) || (error instanceof ApiError && error.code === 405))
        return { resource: plural, count: 0, finalizers: [] };
      throw error;
    }
  };
  const finalize = async (namespace: Stored<Namespace>): Promise<void> => {
    const finalizers = (namespace.spec?.finalizers ?? []).filter((each) => each !== finalizer);
    try {
      await client.update(namespaces, { ...namespace, spec: { ...namespace.spec, finalizers } }, 'finalize');
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  };
  const report = async (namespace: Stored<Namespace>, conditions: readonly NamespaceCondition[]): Promise<void> => {
    let next: readonly NamespaceCondition[] = namespace.status?.conditions ?? [];
    for (const condition of conditions) next = withCondition(next, condition);
    if (next === namespace.status?.conditions) return;
    await client.patch(
      namespaces,
      namespace.metadata,
      { type: 'merge', body: { status: { conditions: next } } },
      'status',
    );
  };

  return runController(context, {
    name: 'namespace',
    needs: [cache],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type === 'deleted') rounds.delete(object.metadata.name);
        else if (object.metadata.deletionTimestamp !== undefined) queue.add(keyOf(object));
      });
    },
    async reconcile(key, again) {
      const namespace = cache.get(key);
      if (namespace?.metadata.deletionTimestamp === undefined) return;
      if (namespace.spec?.finalizers?.includes(finalizer) !== true) return;
      const now = formatTime(context.now());
      const kinds = (await discover(client)).filter(
        ({ namespaced, verbs }) => namespaced && verbs.includes('list') && verbs.includes('deletecollection'),
      );
      const results = await Promise.allSettled(kinds.map((kind) => clear(kind, key.name)));
      const failed = results.find((result) => result.status === 'rejected');
      const left = results.flatMap((result) =>
        result.status === 'fulfilled' && result.value.count > 0 ? [result.value] : [],
      );
      if (failed === undefined && left.length === 0) return finalize(namespace);
      await report(namespace, deletionConditions(left, failed && messageOf(failed.reason), now));
      const round = rounds.get(key.name) ?? 0;
      rounds.set(key.name, round + 1);
      again(Math.min(patience.first * 2 ** round, patience.most));
    },
  });
}

/** The conditions that `kubectl describe namespace` shows while something is left. */
function deletionConditions(
  left: readonly Remainder[],
  failure: string | undefined,
  now: string,
): NamespaceCondition[] {
  const finalizers = new Map<string, number>();
  for (const name of left.flatMap((each) => each.finalizers)) finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
  const condition = (type: string, is: boolean, reason: string, message: string): NamespaceCondition => ({
    type,
    status: is ? 'True' : 'False',
    reason,
    message,
    lastTransitionTime: now,
  });
  const remaining = left.map(({ resource, count }) => `${resource} has ${count} resource instances`).join(', ');
  const waiting = [...finalizers].map(([name, count]) => `${name} in ${count} resource instances`).join(', ');
  return [
    failure === undefined
      ? condition(
          'NamespaceDeletionContentFailure',
          false,
          'ContentDeleted',
          'All content successfully deleted, may be waiting on finalization',
        )
      : condition('NamespaceDeletionContentFailure', true, 'ContentDeletionFailed', failure),
    left.length === 0
      ? condition('NamespaceContentRemaining', false, 'ContentRemoved', 'All content successfully removed')
      : condition(
          'NamespaceContentRemaining',
          true,
          'SomeResourcesRemain',
          `Some resources are remaining: ${remaining}`,
        ),
    finalizers.size === 0
      ? condition(
          'NamespaceFinalizersRemaining',
          false,
          'ContentHasNoFinalizers',
          'All content-preserving finalizers finished',
        )
      : condition(
          'NamespaceFinalizersRemaining',
          true,
          'SomeFinalizersRemain',
          `Some content in the namespace has finalizers remaining: ${waiting}`,
        ),
  ];
}
