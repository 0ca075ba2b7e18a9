// The ReplicaSet controller: as many pods of a template as wanted.
import { isDeepStrictEqual } from 'node:util';
import { formatTime, withCondition } from '../k8s/conditions.ts';
import { keyOf, type Stored } from '../k8s/object.ts';
import { availableIn, controllerOf, isPodActive, isPodReady } from '../k8s/pod.ts';
import { pods, replicaSets } from '../k8s/resources.ts';
import { matchesLabelSelector, matchesLabels } from '../k8s/selectors.ts';
import type { Pod, ReplicaSet, ReplicaSetStatus } from '../k8s/types.generated.ts';
import type { ControllerContext } from './context.ts';
import { type Controller, runController } from './controller.ts';
import { rankForDeletion } from './deletion-rank.ts';
import { controllerKey, createOwnedPods, messageOf, podFromTemplate, type StoredPod } from './owned-pods.ts';

/** How many pods one pass creates or deletes at most (upstream's BurstReplicas). */
const burst = 500;

export interface ReplicaSetDecision {
  readonly create: number;
  readonly remove: readonly StoredPod[];
  readonly status: ReplicaSetStatus;
  /** When a pod will become available by minReadySeconds alone, in ms. */
  readonly again: number | undefined;
}

/** What is missing or too many, and the status that the pods show. `related` are the pods of the same Deployment. */
export function decideReplicaSet(
  replicaSet: Stored<ReplicaSet>,
  owned: readonly StoredPod[],
  related: readonly Pod[],
  now: number,
): ReplicaSetDecision {
  const { replicas: wanted = 1, minReadySeconds = 0, template } = replicaSet.spec;
  const active = owned.filter(isPodActive);
  const surplus = active.length - wanted;
  const waits = active.map((pod) => availableIn(pod, minReadySeconds, now)).filter((wait) => wait !== undefined);
  const terminating = owned.filter((pod) => pod.metadata.deletionTimestamp !== undefined).length;
  const deleting = replicaSet.metadata.deletionTimestamp !== undefined;
  const soon = waits.filter((wait) => wait > 0);
  return {
    create: deleting ? 0 : Math.min(Math.max(-surplus, 0), burst),
    remove: deleting || surplus <= 0 ? [] : rankForDeletion(active, related).slice(0, Math.min(surplus, burst)),
    status: {
      replicas: active.length,
      fullyLabeledReplicas: active.filter((pod) => matchesLabels(template?.metadata?.labels ?? {}, pod.metadata.labels))
        .length,
      readyReplicas: active.filter(isPodReady).length,
      availableReplicas: waits.filter((wait) => wait === 0).length,
      terminatingReplicas: terminating,
      observedGeneration: replicaSet.metadata.generation ?? 0,
    },
    again: soon.length > 0 ? Math.min(...soon) : undefined,
  };
}

export function runReplicaSets(context: ControllerContext): Controller {
  const { client } = context;
  const cache = context.cache(replicaSets);
  const podCache = context.cache(pods);
  const recorder = context.recorder('replicaset-controller');
  const owned = createOwnedPods(context, recorder);

  const related = (replicaSet: Stored<ReplicaSet>): readonly Pod[] => {
    const owner = controllerOf(replicaSet)?.uid;
    const siblings =
      owner === undefined
        ? [replicaSet]
        : cache.list(replicaSet.metadata.namespace).filter((other) => controllerOf(other)?.uid === owner);
    return siblings.flatMap((sibling) => context.podsByOwner.get(sibling.metadata.uid)).filter(isPodActive);
  };
  const writeStatus = async (replicaSet: Stored<ReplicaSet>, counted: ReplicaSetStatus, failure?: unknown) => {
    const conditions = conditionsAfter(replicaSet, failure, context.now());
    const status = { ...counted, ...(conditions.length > 0 && { conditions: [...conditions] }) };
    if (!isDeepStrictEqual(status, replicaSet.status))
      await client.update(replicaSets, { ...replicaSet, status }, 'status');
  };

  return runController(context, {
    name: 'replicaset',
    needs: [cache, podCache],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type === 'deleted') owned.forget(object.metadata.uid);
        else queue.add(keyOf(object));
      });
      podCache.subscribe(({ type, object }) => {
        const key = controllerKey(object, 'ReplicaSet');
        if (key !== undefined) queue.add(key);
        else if (type !== 'deleted' && controllerOf(object) === undefined)
          for (const each of cache.list(object.metadata.namespace))
            if (matchesLabelSelector(each.spec.selector, object.metadata.labels)) queue.add(keyOf(each));
      });
    },
    async reconcile(key, again) {
      const replicaSet = cache.get(key);
      if (replicaSet === undefined) return;
      const before = decideReplicaSet(replicaSet, await owned.of(replicaSet), related(replicaSet), context.now());
      let failure: unknown;
      try {
        if (before.create > 0)
          await owned.create(
            replicaSet,
            Array.from({ length: before.create }, () => podFromTemplate(replicaSet, replicaSet.spec.template ?? {})),
          );
        if (before.remove.length > 0) await owned.delete(replicaSet, before.remove);
      } catch (error) {
        failure = error;
      }
      const after = decideReplicaSet(replicaSet, await owned.of(replicaSet), [], context.now());
      if (after.again !== undefined) again(after.again);
      await writeStatus(replicaSet, after.status, failure);
      if (failure !== undefined) throw failure;
    },
  });
}

function conditionsAfter(replicaSet: Stored<ReplicaSet>, failure: unknown, now: number) {
  const conditions = replicaSet.status?.conditions ?? [];
  if (failure === undefined) return conditions.filter(({ type }) => type !== 'ReplicaFailure');
  return withCondition(conditions, {
    type: 'ReplicaFailure',
    status: 'True',
    reason: 'FailedCreate',
    message: messageOf(failure),
    lastTransitionTime: formatTime(now),
  });
}
