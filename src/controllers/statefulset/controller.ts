// The StatefulSet controller: pods with stable names, made and replaced in order.
import { isDeepStrictEqual } from 'node:util';
import { keyOf, type Stored } from '../../k8s/object.ts';
import { controllerOf } from '../../k8s/pod.ts';
import { controllerRevisions, pods, statefulSets } from '../../k8s/resources.ts';
import { matchesLabelSelector } from '../../k8s/selectors.ts';
import type { Pod, PodTemplateSpec, StatefulSet } from '../../k8s/types.generated.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { controllerKey, createOwnedPods, podFromTemplate } from '../owned-pods.ts';
import { createRevisions, revisionHashLabel, revisionHashOf, type StoredRevision, templateOf } from '../revisions.ts';
import { decideStatefulSet, ordinalOf } from './decide.ts';

export function runStatefulSets(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, podCache] = [context.cache(statefulSets), context.cache(pods)];
  const owned = createOwnedPods(context, context.recorder('statefulset-controller'));
  const revisions = createRevisions(context);

  /** The template of a revision's label; the set's own where the revision is forgotten. */
  const templateFor = (set: Stored<StatefulSet>, known: readonly StoredRevision[], hash: string): PodTemplateSpec => {
    const revision = known.find((each) => revisionHashOf(each) === hash);
    return (revision && templateOf(revision)) ?? set.spec.template;
  };

  return runController(context, {
    name: 'statefulset',
    needs: [cache, podCache, context.cache(controllerRevisions)],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type === 'deleted') owned.forget(object.metadata.uid);
        else queue.add(keyOf(object));
      });
      podCache.subscribe(({ type, object }) => {
        const key = controllerKey(object, 'StatefulSet');
        if (key !== undefined) queue.add(key);
        else if (type !== 'deleted' && controllerOf(object) === undefined)
          for (const each of cache.list(object.metadata.namespace))
            if (matchesLabelSelector(each.spec.selector, object.metadata.labels)) queue.add(keyOf(each));
      });
    },
    async reconcile(key, again) {
      const set = cache.get(key);
      if (set === undefined || set.metadata.deletionTimestamp !== undefined) return;
      const update = revisionHashOf(await revisions.current(set));
      const known = revisions.of(set);
      const noted = set.status?.currentRevision;
      // A revision that is not remembered any more cannot be rolled out again.
      const current = known.some((revision) => revisionHashOf(revision) === noted) ? (noted ?? update) : update;
      const input = { set, current, update };
      const own = async () =>
        (await owned.of(set)).filter((pod) => ordinalOf(set.metadata.name, pod.metadata.name) !== undefined);
      const step = decideStatefulSet({ ...input, pods: await own(), now: context.now() });
      await Promise.all([
        owned.create(
          set,
          step.create.map(({ ordinal, revision }) => podOf(set, templateFor(set, known, revision), ordinal, revision)),
        ),
        owned.delete(set, step.remove),
      ]);
      const after = await own();
      const { status, again: soon } = decideStatefulSet({ ...input, pods: after, now: context.now() });
      if (soon !== undefined) again(soon);
      const { conditions: _conditions, ...old } = set.status ?? {};
      if (!isDeepStrictEqual(status, old)) await client.update(statefulSets, { ...set, status }, 'status');
      const inUse = new Set([current, update, ...after.map((pod) => pod.metadata.labels?.[revisionHashLabel] ?? '')]);
      await revisions.truncate(set, inUse);
    },
  });
}

/** The pod of an ordinal: its name is its identity, and its hostname under the governing Service. */
function podOf(set: Stored<StatefulSet>, template: PodTemplateSpec, ordinal: number, revision: string): Pod {
  const name = `${set.metadata.name}-${ordinal}`;
  const pod = podFromTemplate(set, template, name);
  pod.metadata.labels = {
    ...pod.metadata.labels,
    'statefulset.kubernetes.io/pod-name': name,
    'apps.kubernetes.io/pod-index': String(ordinal),
    [revisionHashLabel]: revision,
  };
  const { serviceName } = set.spec;
  pod.spec = { ...(pod.spec ?? { containers: [] }), hostname: name, ...(serviceName && { subdomain: serviceName }) };
  return pod;
}
