// The DaemonSet controller: one pod on every node that the template allows.
import { isDeepStrictEqual } from 'node:util';
import { keyOf } from '../../k8s/object.ts';
import { availableIn } from '../../k8s/pod.ts';
import { controllerRevisions, daemonSets, nodes, pods } from '../../k8s/resources.ts';
import type { Node } from '../../k8s/types.generated.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { controllerKey, createOwnedPods, podFromTemplate } from '../owned-pods.ts';
import { createRevisions, revisionHashLabel, revisionHashOf } from '../revisions.ts';
import { decideDaemons, nodeOf, templateForNode } from './decide.ts';

/** The wait before a failed daemon pod is replaced, in ms; doubling for each failure on the same node. */
const failedBackOff = { initialMs: 1000, maxMs: 15 * 60_000 };

export function runDaemonSets(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, podCache, nodeCache] = [context.cache(daemonSets), context.cache(pods), context.cache(nodes)];
  const recorder = context.recorder('daemonset-controller');
  const owned = createOwnedPods(context, recorder);
  const revisions = createRevisions(context);
  const failures = new Map<string, { count: number; since: number }>();

  return runController(context, {
    name: 'daemonset',
    needs: [cache, podCache, nodeCache, context.cache(controllerRevisions)],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type === 'deleted') owned.forget(object.metadata.uid);
        else queue.add(keyOf(object));
      });
      podCache.subscribe(({ object }) => {
        const key = controllerKey(object, 'DaemonSet');
        if (key !== undefined) queue.add(key);
      });
      nodeCache.subscribe((change) => {
        if (change.type === 'updated' && placementView(change.old) === placementView(change.object)) return;
        for (const each of cache.list()) queue.add(keyOf(each));
      });
    },
    async reconcile(key, again) {
      const daemonSet = cache.get(key);
      if (daemonSet === undefined || daemonSet.metadata.deletionTimestamp !== undefined) return;
      const revision = revisionHashOf(await revisions.current(daemonSet));
      const input = { daemonSet, nodes: nodeCache.list(), revision };
      const before = decideDaemons({ ...input, pods: await owned.of(daemonSet), now: context.now() });
      for (const pod of before.failed) {
        const place = `${daemonSet.metadata.uid} ${nodeOf(pod)}`;
        const failure = failures.get(place) ?? { count: 0, since: context.now() };
        failures.set(place, failure);
        const left =
          failure.since + Math.min(failedBackOff.initialMs * 2 ** failure.count, failedBackOff.maxMs) - context.now();
        if (left > 0) again(left);
        else {
          recorder.event(
            daemonSet,
            'Warning',
            'FailedDaemonPod',
            `Found failed daemon pod ${keyOf(pod)} on node ${nodeOf(pod)}, will try to kill it`,
          );
          await owned.delete(daemonSet, [pod]);
          failures.set(place, { count: failure.count + 1, since: context.now() });
        }
      }
      await Promise.all([
        owned.create(
          daemonSet,
          before.create.map((node) =>
            podFromTemplate(daemonSet, templateForNode(daemonSet.spec.template, node, revision)),
          ),
        ),
        owned.delete(daemonSet, before.remove),
      ]);
      const current = await owned.of(daemonSet);
      const { status } = decideDaemons({ ...input, pods: current, now: context.now() });
      const { minReadySeconds = 0 } = daemonSet.spec;
      const waits = current.flatMap((pod) => availableIn(pod, minReadySeconds, context.now()) || []);
      if (waits.length > 0) again(Math.min(...waits));
      const { collisionCount: _collisions, conditions: _conditions, ...old } = daemonSet.status ?? {};
      if (!isDeepStrictEqual(status, old)) await client.update(daemonSets, { ...daemonSet, status }, 'status');
      const inUse = new Set([revision, ...current.map((pod) => pod.metadata.labels?.[revisionHashLabel] ?? '')]);
      await revisions.truncate(daemonSet, inUse);
    },
  });
}

/** What of a node decides about daemon pods. */
function placementView({ metadata, spec }: Node): string {
  return JSON.stringify([metadata.labels, spec?.taints, spec?.unschedulable]);
}
