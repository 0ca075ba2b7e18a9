// The Deployment controller: ReplicaSets for each revision of the template, and the way from one to the next.
import { isDeepStrictEqual } from 'node:util';
import { createIndex } from '../../k8s/cache-index.ts';
import { isAlreadyExists } from '../../k8s/client.ts';
import { keyOf, type Stored } from '../../k8s/object.ts';
import { controllerOf, isPodTerminal } from '../../k8s/pod.ts';
import { deployments, pods, replicaSets } from '../../k8s/resources.ts';
import { matchesLabelSelector } from '../../k8s/selectors.ts';
import type { Deployment, ReplicaSet } from '../../k8s/types.generated.ts';
import { type ControllerContext, orphansOf } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { controllerKey, controllerReference, messageOf } from '../owned-pods.ts';
import { hashOf, plainTemplate, podTemplateHashLabel, sameTemplate } from '../template.ts';
import { createWritten } from '../written.ts';
import { annotationsFor, revisionAfter } from './revision.ts';
import {
  isScalingEvent,
  limitsOf,
  proportionalScale,
  revisionAnnotation,
  rollingStep,
  type Scale,
  type StoredReplicaSet,
  surplusHistory,
  wantedOf,
} from './rollout.ts';
import { decideStatus, type SetEvent } from './status.ts';

type StoredDeployment = Stored<Deployment>;

export function runDeployments(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, setCache, podCache] = [context.cache(deployments), context.cache(replicaSets), context.cache(pods)];
  const recorder = context.recorder('deployment-controller');
  const setsByOwner = createIndex(setCache, (set) => [
    controllerOf(set)?.uid ?? orphansOf(set.metadata.namespace ?? ''),
  ]);
  const written = createWritten<ReplicaSet>();

  const setsOf = async (deployment: StoredDeployment): Promise<StoredReplicaSet[]> => {
    const { namespace = '', deletionTimestamp } = deployment.metadata;
    for (const orphan of deletionTimestamp === undefined ? setsByOwner.get(orphansOf(namespace)) : [])
      if (
        matchesLabelSelector(deployment.spec.selector, orphan.metadata.labels) &&
        orphan.metadata.deletionTimestamp === undefined
      ) {
        const ownerReferences = [...(orphan.metadata.ownerReferences ?? []), controllerReference(deployment)];
        const body = { metadata: { uid: orphan.metadata.uid, ownerReferences } };
        written.wrote(await client.patch(replicaSets, orphan.metadata, { type: 'merge', body }));
      }
    return current(deployment);
  };
  const current = ({ metadata: { uid } }: StoredDeployment): StoredReplicaSet[] =>
    written.over(setsByOwner.get(uid), (set) => controllerOf(set)?.uid === uid);

  const createSet = async (
    deployment: StoredDeployment,
    old: readonly StoredReplicaSet[],
  ): Promise<StoredReplicaSet | undefined> => {
    const collisions = deployment.status?.collisionCount ?? 0;
    const hash = hashOf(plainTemplate(deployment.spec.template), collisions);
    const set = newReplicaSet(deployment, hash, old);
    try {
      const made = await client.create(replicaSets, set);
      written.wrote(made);
      recorder.event(
        deployment,
        'Normal',
        'ScalingReplicaSet',
        `Scaled up replica set ${made.metadata.name} from 0 to ${wantedOf(made)}`,
      );
      return made;
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      const found = await client.get(replicaSets, {
        name: set.metadata.name ?? '',
        namespace: deployment.metadata.namespace,
      });
      if (
        controllerOf(found)?.uid === deployment.metadata.uid &&
        sameTemplate(found.spec.template, deployment.spec.template)
      ) {
        written.wrote(found);
        return found;
      }
      // Another's set has the name: the next pass takes another hash.
      await client.update(
        deployments,
        { ...deployment, status: { ...deployment.status, collisionCount: collisions + 1 } },
        'status',
      );
      return undefined;
    }
  };

  const scale = async (deployment: StoredDeployment, { replicaSet, replicas }: Scale): Promise<void> => {
    const before = wantedOf(replicaSet);
    const annotations = { ...replicaSet.metadata.annotations, ...sizeAnnotations(deployment) };
    if (before === replicas && isDeepStrictEqual(annotations, replicaSet.metadata.annotations)) return;
    const metadata = { ...replicaSet.metadata, annotations };
    written.wrote(
      await client.update(replicaSets, { ...replicaSet, metadata, spec: { ...replicaSet.spec, replicas } }),
    );
    if (before === replicas) return;
    const direction = replicas > before ? 'up' : 'down';
    const message = `Scaled ${direction} replica set ${replicaSet.metadata.name} from ${before} to ${replicas}`;
    recorder.event(deployment, 'Normal', 'ScalingReplicaSet', message);
  };

  /** The newest set with its revision noted on it and on the Deployment; creates it where that is due. */
  const bringNewest = async (
    deployment: StoredDeployment,
    sets: readonly StoredReplicaSet[],
    mayCreate: boolean,
  ): Promise<{ newest: StoredReplicaSet | undefined; event: SetEvent }> => {
    const found = newestOf(deployment, sets);
    const old = sets.filter((set) => set !== found);
    if (found === undefined) {
      const made = mayCreate ? await createSet(deployment, old) : undefined;
      if (made !== undefined) await noteRevision(deployment, made);
      return { newest: made, event: made && 'NewReplicaSetCreated' };
    }
    const { annotations, changed } = annotationsFor(deployment, found, revisionAfter(old));
    const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
    let newest = found;
    if (changed || (found.spec.minReadySeconds ?? 0) !== minReadySeconds) {
      newest = await client.update(replicaSets, {
        ...found,
        metadata: { ...found.metadata, annotations: { ...annotations } },
        spec: { ...found.spec, minReadySeconds },
      });
      written.wrote(newest);
    }
    await noteRevision(deployment, newest);
    const isKnown = deployment.status?.conditions?.some(({ type }) => type === 'Progressing') === true;
    const rolledBack =
      (deployment.metadata.annotations?.[revisionAnnotation] ?? '') !==
      (newest.metadata.annotations?.[revisionAnnotation] ?? '');
    return { newest, event: rolledBack || !isKnown ? 'FoundNewReplicaSet' : undefined };
  };

  const noteRevision = async (deployment: StoredDeployment, newest: StoredReplicaSet): Promise<void> => {
    const revision = newest.metadata.annotations?.[revisionAnnotation] ?? '1';
    if (deployment.metadata.annotations?.[revisionAnnotation] === revision) return;
    const body = { metadata: { annotations: { [revisionAnnotation]: revision } } };
    await client.patch(deployments, deployment.metadata, { type: 'merge', body });
  };

  const hasOldPods = (old: readonly StoredReplicaSet[]): boolean =>
    old.some(
      (set) =>
        (set.status?.replicas ?? 0) > 0 || context.podsByOwner.get(set.metadata.uid).some((pod) => !isPodTerminal(pod)),
    );

  /** One step of the rollout. */
  const advance = async (
    deployment: StoredDeployment,
    sets: readonly StoredReplicaSet[],
  ): Promise<{ newest: StoredReplicaSet | undefined; event: SetEvent }> => {
    const existing = newestOf(deployment, sets);
    if (deployment.spec.paused === true || isScalingEvent(deployment, sets)) {
      const old = sets.filter((set) => set !== existing);
      for (const each of proportionalScale(deployment, existing, old)) await scale(deployment, each);
      // The sizes noted on the sets are brought up to date, or this would stay a scaling event.
      for (const set of current(deployment))
        if (wantedOf(set) > 0) await scale(deployment, { replicaSet: set, replicas: wantedOf(set) });
      return { newest: newestOf(deployment, current(deployment)), event: undefined };
    }
    if (deployment.spec.strategy?.type === 'Recreate') {
      const old = sets.filter((set) => set !== existing);
      const active = old.filter((set) => wantedOf(set) > 0);
      if (active.length > 0) {
        for (const replicaSet of active) await scale(deployment, { replicaSet, replicas: 0 });
        return { newest: existing, event: undefined };
      }
      if (hasOldPods(old)) return { newest: existing, event: undefined };
      const brought = await bringNewest(deployment, sets, true);
      if (brought.newest !== undefined)
        await scale(deployment, { replicaSet: brought.newest, replicas: deployment.spec.replicas ?? 1 });
      return brought;
    }
    const brought = await bringNewest(deployment, sets, true);
    const { newest } = brought;
    if (newest !== undefined) {
      const old = sets.filter((set) => set.metadata.uid !== newest.metadata.uid);
      for (const each of rollingStep(deployment, newest, old)) await scale(deployment, each);
    }
    return brought;
  };

  return runController(context, {
    name: 'deployment',
    needs: [cache, setCache, podCache],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type !== 'deleted') queue.add(keyOf(object));
      });
      setCache.subscribe(({ type, object }) => {
        written.saw(object, type === 'deleted');
        const key = controllerKey(object, 'Deployment');
        if (key !== undefined) queue.add(key);
        else if (controllerOf(object) === undefined)
          for (const each of cache.list(object.metadata.namespace))
            if (matchesLabelSelector(each.spec.selector, object.metadata.labels)) queue.add(keyOf(each));
      });
      // Recreate waits for the last old pod to be gone.
      podCache.subscribe(({ type, object }) => {
        const set = controllerKey(object, 'ReplicaSet');
        if (set === undefined || (type !== 'deleted' && !isPodTerminal(object))) return;
        const owner = setCache.get({ namespace: object.metadata.namespace, name: controllerOf(object)?.name ?? '' });
        const key = owner && controllerKey(owner, 'Deployment');
        const deployment =
          owner && cache.get({ namespace: object.metadata.namespace, name: controllerOf(owner)?.name ?? '' });
        if (key !== undefined && deployment?.spec.strategy?.type === 'Recreate') queue.add(key);
      });
    },
    async reconcile(key, again) {
      const deployment = cache.get(key);
      if (deployment === undefined) return;
      const sets = await setsOf(deployment);
      let newest = newestOf(deployment, sets);
      let event: SetEvent;
      let failure: unknown;
      if (deployment.metadata.deletionTimestamp === undefined) {
        try {
          ({ newest, event } = await advance(deployment, sets));
        } catch (error) {
          if (newest !== undefined) throw error;
          failure = error;
        }
        const old = sets.filter((set) => set.metadata.uid !== newest?.metadata.uid);
        for (const set of surplusHistory(deployment, old)) {
          await client.delete(replicaSets, set.metadata, { preconditions: { uid: set.metadata.uid } });
          written.deleted(set);
        }
      }
      await writeStatus(deployment, newest, await setsOf(deployment), event, failure, again);
      if (failure !== undefined) throw failure;
    },
  });

  async function writeStatus(
    deployment: StoredDeployment,
    newest: StoredReplicaSet | undefined,
    all: readonly StoredReplicaSet[],
    event: SetEvent,
    failure: unknown,
    again: (ms: number) => void,
  ): Promise<void> {
    const { status, deadlineIn } = decideStatus({
      deployment,
      newest: newest && (all.find((set) => set.metadata.uid === newest.metadata.uid) ?? newest),
      all,
      event,
      failure: failure === undefined ? undefined : messageOf(failure),
      now: context.now(),
    });
    if (deadlineIn !== undefined) again(deadlineIn + 1000);
    if (isDeepStrictEqual(status, { terminatingReplicas: 0, ...deployment.status })) return;
    // By merge: the Deployment itself may have been written a moment ago (its revision).
    await client.patch(deployments, deployment.metadata, { type: 'merge', body: { status } }, 'status');
  }
}

function newestOf(deployment: StoredDeployment, sets: readonly StoredReplicaSet[]): StoredReplicaSet | undefined {
  return [...sets]
    .sort((a, b) => Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp))
    .find((set) => sameTemplate(set.spec.template, deployment.spec.template));
}

function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const wanted = deployment.spec.replicas ?? 1;
  return {
    'deployment.kubernetes.io/desired-replicas': String(wanted),
    'deployment.kubernetes.io/max-replicas': String(wanted + limitsOf(deployment).maxSurge),
  };
}

function newReplicaSet(deployment: StoredDeployment, hash: string, old: readonly StoredReplicaSet[]): ReplicaSet {
  const { name, namespace } = deployment.metadata;
  const { selector, template, minReadySeconds = 0, replicas: wanted = 1 } = deployment.spec;
  const labels = { ...template.metadata?.labels, [podTemplateHashLabel]: hash };
  const shell: ReplicaSet = {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${name}-${hash}`,
      ...(namespace !== undefined && { namespace }),
      labels,
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      minReadySeconds,
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [podTemplateHashLabel]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
  const { annotations } = annotationsFor(deployment, shell, revisionAfter(old));
  shell.metadata.annotations = { ...annotations, ...sizeAnnotations(deployment) };
  const room = wanted + limitsOf(deployment).maxSurge - old.reduce((sum, each) => sum + wantedOf(each), 0);
  shell.spec.replicas = deployment.spec.strategy?.type === 'Recreate' ? wanted : Math.max(0, Math.min(wanted, room));
  return shell;
}
