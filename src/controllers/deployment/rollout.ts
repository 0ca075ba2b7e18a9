// How many replicas each ReplicaSet of a Deployment is to have next: rolling update, Recreate, proportional scaling.
import type { Stored } from '../../k8s/object.ts';
import type { Deployment, ReplicaSet } from '../../k8s/types.generated.ts';

export type StoredReplicaSet = Stored<ReplicaSet>;

export interface Limits {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

/** A ReplicaSet's wanted number of replicas. */
export interface Scale {
  readonly replicaSet: StoredReplicaSet;
  readonly replicas: number;
}

export const wantedOf = (replicaSet: ReplicaSet): number => replicaSet.spec.replicas ?? 1;
export const sumOf = (sets: readonly ReplicaSet[], of: (each: ReplicaSet) => number): number =>
  sets.reduce((sum, each) => sum + of(each), 0);
const availableOf = (replicaSet: ReplicaSet): number => replicaSet.status?.availableReplicas ?? 0;

/** A number or a percentage of the replicas as a number. */
export function scaledValue(value: number | string | undefined, total: number, roundUp: boolean): number {
  if (typeof value !== 'string') return value ?? 0;
  const share = (Number(value.replace(/%$/, '')) * total) / 100;
  return roundUp ? Math.ceil(share) : Math.floor(share);
}

/** maxSurge rounded up and maxUnavailable rounded down; where both would be 0 nothing could move, so one may be away. */
export function limitsOf({ spec }: Deployment): Limits {
  const replicas = spec.replicas ?? 1;
  if (spec.strategy?.type === 'Recreate') return { maxSurge: 0, maxUnavailable: 0 };
  const rolling = spec.strategy?.rollingUpdate;
  const maxSurge = scaledValue(rolling?.maxSurge ?? '25%', replicas, true);
  const maxUnavailable = scaledValue(rolling?.maxUnavailable ?? '25%', replicas, false);
  return { maxSurge, maxUnavailable: maxSurge === 0 && maxUnavailable === 0 ? 1 : Math.min(maxUnavailable, replicas) };
}

const byAge = (a: ReplicaSet, b: ReplicaSet): number =>
  Date.parse(a.metadata.creationTimestamp ?? '') - Date.parse(b.metadata.creationTimestamp ?? '') ||
  ((a.metadata.name ?? '') < (b.metadata.name ?? '') ? -1 : 1);

/** The next step of a rolling update: the new set grows as far as maxSurge allows, or the old ones shrink. */
export function rollingStep(
  deployment: Deployment,
  newest: StoredReplicaSet,
  old: readonly StoredReplicaSet[],
): Scale[] {
  const wanted = deployment.spec.replicas ?? 1;
  const limits = limitsOf(deployment);
  const up = newReplicas(wanted, limits, newest, old);
  if (up !== wantedOf(newest)) return [{ replicaSet: newest, replicas: up }];
  return scaleDownOld(wanted, limits, newest, old);
}

function newReplicas(wanted: number, { maxSurge }: Limits, newest: ReplicaSet, old: readonly ReplicaSet[]): number {
  const now = wantedOf(newest);
  if (now >= wanted) return wanted;
  const room = wanted + maxSurge - sumOf([newest, ...old], wantedOf);
  return room <= 0 ? now : now + Math.min(room, wanted - now);
}

/** As upstream: first replicas that are not available anyway, then as many as availability allows. */
function scaleDownOld(
  wanted: number,
  { maxUnavailable }: Limits,
  newest: ReplicaSet,
  old: readonly StoredReplicaSet[],
): Scale[] {
  const oldCount = sumOf(old, wantedOf);
  if (oldCount === 0) return [];
  const least = wanted - maxUnavailable;
  const newUnavailable = wantedOf(newest) - availableOf(newest);
  let budget = oldCount + wantedOf(newest) - least - newUnavailable;
  if (budget <= 0) return [];
  const next = new Map(old.map((each) => [each, wantedOf(each)]));
  const oldest = [...old].sort(byAge);
  for (const each of oldest) {
    const now = next.get(each) ?? 0;
    const unhealthy = Math.min(budget, Math.max(0, now - availableOf(each)));
    next.set(each, now - unhealthy);
    budget -= unhealthy;
  }
  let spare = sumOf([newest, ...old], availableOf) - least;
  for (const each of oldest) {
    const now = next.get(each) ?? 0;
    const down = Math.max(0, Math.min(now, spare));
    next.set(each, now - down);
    spare -= down;
  }
  return oldest
    .map((replicaSet) => ({ replicaSet, replicas: next.get(replicaSet) ?? 0 }))
    .filter(({ replicaSet, replicas }) => replicas !== wantedOf(replicaSet));
}

/**
 * The sets when only the Deployment's size changed, or while it is paused: one active set simply follows; several in
 * the middle of a rollout share the difference in proportion to their sizes, so that none of them runs away.
 */
export function proportionalScale(
  deployment: Deployment,
  newest: StoredReplicaSet | undefined,
  old: readonly StoredReplicaSet[],
): Scale[] {
  const wanted = deployment.spec.replicas ?? 1;
  const sets = newest === undefined ? [...old] : [newest, ...old];
  const active = sets.filter((each) => wantedOf(each) > 0);
  const only = active.length === 1 ? active[0] : active.length === 0 ? newestOf(sets) : undefined;
  if (only !== undefined) return wantedOf(only) === wanted ? [] : [{ replicaSet: only, replicas: wanted }];
  if (newest !== undefined && isSaturated(newest, wanted))
    return old.filter((each) => wantedOf(each) > 0).map((replicaSet) => ({ replicaSet, replicas: 0 }));
  if (deployment.spec.strategy?.type === 'Recreate') return [];
  const allowed = wanted > 0 ? wanted + limitsOf(deployment).maxSurge : 0;
  const difference = allowed - sumOf(active, wantedOf);
  if (difference === 0) return [];
  return share(active, difference, allowed);
}

function share(active: readonly StoredReplicaSet[], difference: number, allowed: number): Scale[] {
  const bySize = [...active].sort((a, b) => wantedOf(b) - wantedOf(a) || (difference > 0 ? byAge(b, a) : byAge(a, b)));
  let left = difference;
  const next = bySize.map((replicaSet) => {
    const size = wantedOf(replicaSet);
    // What the Deployment could have at most when this set's size was decided.
    const before = Number(replicaSet.metadata.annotations?.[maxReplicasAnnotation] ?? 0) || sumOf(active, wantedOf);
    const fair = Math.round((size * allowed) / before) - size;
    const part = difference > 0 ? Math.min(Math.max(fair, 0), left) : Math.max(Math.min(fair, 0), left);
    left -= part;
    return { replicaSet, replicas: Math.max(0, size + part) };
  });
  const largest = next[0];
  if (largest !== undefined && left !== 0) next[0] = { ...largest, replicas: Math.max(0, largest.replicas + left) };
  return next.filter(({ replicaSet, replicas }) => replicas !== wantedOf(replicaSet));
}

function newestOf(sets: readonly StoredReplicaSet[]): StoredReplicaSet | undefined {
  return [...sets].sort(byAge).at(-1);
}

function isSaturated(replicaSet: ReplicaSet, wanted: number): boolean {
  const noted = Number(replicaSet.metadata.annotations?.[desiredReplicasAnnotation]);
  return wantedOf(replicaSet) === wanted && noted === wanted && availableOf(replicaSet) === wanted;
}

export const desiredReplicasAnnotation = 'deployment.kubernetes.io/desired-replicas';
export const maxReplicasAnnotation = 'deployment.kubernetes.io/max-replicas';
export const revisionAnnotation = 'deployment.kubernetes.io/revision';
export const revisionHistoryAnnotation = 'deployment.kubernetes.io/revision-history';

/** Whether a set still carries another size of the Deployment than now: the Deployment was scaled. */
export function isScalingEvent(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  const wanted = deployment.spec.replicas ?? 1;
  return sets.some((each) => {
    const noted = each.metadata.annotations?.[desiredReplicasAnnotation];
    return wantedOf(each) > 0 && noted !== undefined && Number(noted) !== wanted;
  });
}

/** The old sets beyond the history limit, oldest revision first; only those that have come to rest at 0. */
export function surplusHistory(deployment: Deployment, old: readonly StoredReplicaSet[]): StoredReplicaSet[] {
  const { revisionHistoryLimit = 10 } = deployment.spec;
  const resting = old.filter(
    ({ metadata, spec, status }) =>
      metadata.deletionTimestamp === undefined &&
      (spec.replicas ?? 1) === 0 &&
      (status?.replicas ?? 0) === 0 &&
      (metadata.generation ?? 0) <= (status?.observedGeneration ?? 0),
  );
  const surplus = old.length - revisionHistoryLimit;
  return surplus <= 0 ? [] : resting.sort((a, b) => revisionOf(a) - revisionOf(b)).slice(0, surplus);
}

export function revisionOf({ metadata }: ReplicaSet | Deployment): number {
  return Number(metadata.annotations?.[revisionAnnotation] ?? 0) || 0;
}
