// What a StatefulSet does next with its pods, which have ordinals: creation, scaling, rolling update. Pure.
import { availableIn, isPodReady, isPodTerminal } from '../../k8s/pod.ts';
import type { StatefulSet, StatefulSetStatus } from '../../k8s/types.generated.ts';
import { scaledValue } from '../deployment/rollout.ts';
import type { StoredPod } from '../owned-pods.ts';
import { revisionHashLabel } from '../revisions.ts';

/** The ordinal in a pod's name; undefined where the name is not of this set. */
export function ordinalOf(setName: string, podName: string): number | undefined {
  if (!podName.startsWith(`${setName}-`)) return undefined;
  const text = podName.slice(setName.length + 1);
  return /^(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
}

export interface SetInput {
  readonly set: StatefulSet;
  readonly pods: readonly StoredPod[];
  /** The revisions as their pods are labelled: the one that was rolled out last, and the newest. */
  readonly current: string;
  readonly update: string;
  readonly now: number;
}

export interface SetDecision {
  readonly create: readonly { readonly ordinal: number; readonly revision: string }[];
  readonly remove: readonly StoredPod[];
  readonly status: StatefulSetStatus;
  /** In how many ms a pod becomes available by minReadySeconds alone. */
  readonly again: number | undefined;
}

const isGoing = ({ metadata }: StoredPod): boolean => metadata.deletionTimestamp !== undefined;
const isHealthy = (pod: StoredPod): boolean => pod.status?.phase === 'Running' && isPodReady(pod) && !isGoing(pod);
const revisionOf = ({ metadata }: StoredPod): string => metadata.labels?.[revisionHashLabel] ?? '';

export function decideStatefulSet(input: SetInput): SetDecision {
  const { set, pods, now } = input;
  const { replicas = 1, minReadySeconds = 0, podManagementPolicy } = set.spec;
  const start = set.spec.ordinals?.start ?? 0;
  const byOrdinal = new Map<number, StoredPod>();
  for (const pod of pods) {
    const ordinal = ordinalOf(set.metadata.name ?? '', pod.metadata.name);
    if (ordinal !== undefined) byOrdinal.set(ordinal, pod);
  }
  const ordinals = Array.from({ length: replicas }, (_, index) => start + index);
  const condemned = [...byOrdinal]
    .filter(([ordinal]) => ordinal < start || ordinal >= start + replicas)
    .sort(([a], [b]) => b - a);
  const isAvailable = (pod: StoredPod | undefined): boolean =>
    pod !== undefined && isHealthy(pod) && availableIn(pod, minReadySeconds, now) === 0;
  const step = { create: [] as { ordinal: number; revision: string }[], remove: [] as StoredPod[] };
  const done = (): SetDecision => ({ ...step, ...statusOf(input, byOrdinal) });
  if (set.metadata.deletionTimestamp !== undefined) return done();

  const ordered = podManagementPolicy !== 'Parallel';
  for (const ordinal of ordinals) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) step.create.push({ ordinal, revision: revisionFor(input, ordinal) });
    else if (isPodTerminal(pod) && !isGoing(pod)) step.remove.push(pod);
    if (ordered && !isAvailable(pod)) return done();
  }
  // Higher ordinals go first; in order, one goes when all before it are healthy.
  for (const [, pod] of condemned) {
    if (!isGoing(pod)) step.remove.push(pod);
    if (ordered) return done();
  }
  if (step.create.length === 0 && step.remove.length === 0)
    step.remove.push(...rollingUpdate(input, ordinals, byOrdinal, isAvailable));
  return done();
}

/** The revision with which a missing pod is made: below the partition the old one. */
function revisionFor({ set, current, update }: SetInput, ordinal: number): string {
  if (set.spec.updateStrategy?.type === 'OnDelete') return update;
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  return ordinal - (set.spec.ordinals?.start ?? 0) < partition ? current : update;
}

/** The next pods of older revisions, from the highest ordinal down, waiting for each that is not healthy. */
function rollingUpdate(
  { set, update }: SetInput,
  ordinals: readonly number[],
  byOrdinal: ReadonlyMap<number, StoredPod>,
  isAvailable: (pod: StoredPod | undefined) => boolean,
): StoredPod[] {
  const { updateStrategy, replicas = 1 } = set.spec;
  if (updateStrategy?.type === 'OnDelete') return [];
  const partition = updateStrategy?.rollingUpdate?.partition ?? 0;
  const most = Math.max(1, scaledValue(updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, replicas, true));
  let away = ordinals.filter((ordinal) => !isAvailable(byOrdinal.get(ordinal))).length;
  const remove: StoredPod[] = [];
  for (const ordinal of ordinals.slice(partition).reverse()) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined || revisionOf(pod) === update || isGoing(pod)) continue;
    const isAway = !isAvailable(pod);
    if (!isAway && away >= most) break;
    if (!isAway) away++;
    remove.push(pod);
  }
  return remove;
}

function statusOf(
  { set, current, update, now }: SetInput,
  byOrdinal: ReadonlyMap<number, StoredPod>,
): { status: StatefulSetStatus; again: number | undefined } {
  const { replicas = 1, minReadySeconds = 0 } = set.spec;
  const pods = [...byOrdinal.values()].filter((pod) => !isPodTerminal(pod));
  const ready = pods.filter(isHealthy);
  const waits = ready.map((pod) => availableIn(pod, minReadySeconds, now) ?? 0);
  const updated = pods.filter((pod) => !isGoing(pod) && revisionOf(pod) === update);
  const isComplete =
    updated.length === replicas &&
    pods.length === replicas &&
    ready.length === replicas &&
    set.spec.updateStrategy?.type !== 'OnDelete';
  const { collisionCount } = set.status ?? {};
  const soon = waits.filter((wait) => wait > 0);
  return {
    again: soon.length > 0 ? Math.min(...soon) : undefined,
    status: {
      observedGeneration: set.metadata.generation ?? 0,
      replicas: pods.length,
      readyReplicas: ready.length,
      availableReplicas: waits.filter((wait) => wait === 0).length,
      currentReplicas: isComplete
        ? updated.length
        : pods.filter((pod) => !isGoing(pod) && revisionOf(pod) === current).length,
      updatedReplicas: updated.length,
      currentRevision: isComplete ? update : current,
      updateRevision: update,
      ...(collisionCount !== undefined && { collisionCount }),
    },
  };
}
