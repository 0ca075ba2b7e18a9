// A Deployment's status: counts, and the conditions Available, Progressing and ReplicaFailure that rollout status reads.
import { conditionOf, formatTime } from '../../k8s/conditions.ts';
import type { Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet } from '../../k8s/types.generated.ts';
import { limitsOf, sumOf } from './rollout.ts';

/** What the ReplicaSets show, without conditions. */
function countReplicas(
  deployment: Deployment,
  newest: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
): DeploymentStatus {
  const replicas = sumOf(all, ({ status }) => status?.replicas ?? 0);
  const available = sumOf(all, ({ status }) => status?.availableReplicas ?? 0);
  const wanted = sumOf(all, ({ spec }) => spec.replicas ?? 1);
  const { collisionCount } = deployment.status ?? {};
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas,
    updatedReplicas: newest?.status?.replicas ?? 0,
    readyReplicas: sumOf(all, ({ status }) => status?.readyReplicas ?? 0),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, wanted - available),
    terminatingReplicas: sumOf(all, ({ status }) => status?.terminatingReplicas ?? 0),
    ...(collisionCount !== undefined && { collisionCount }),
  };
}

function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = deployment.spec.replicas ?? 1;
  return (
    (status.updatedReplicas ?? 0) === wanted &&
    (status.replicas ?? 0) === wanted &&
    (status.availableReplicas ?? 0) === wanted &&
    (status.observedGeneration ?? 0) >= (deployment.metadata.generation ?? 0)
  );
}

function hasProgressed(old: DeploymentStatus | undefined, next: DeploymentStatus): boolean {
  const retired = (status: DeploymentStatus | undefined): number =>
    (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0);
  return (
    (next.updatedReplicas ?? 0) > (old?.updatedReplicas ?? 0) ||
    (next.readyReplicas ?? 0) > (old?.readyReplicas ?? 0) ||
    (next.availableReplicas ?? 0) > (old?.availableReplicas ?? 0) ||
    retired(next) < retired(old)
  );
}

/** What the pass did to the newest ReplicaSet, beyond what the counts show. */
export type SetEvent = 'NewReplicaSetCreated' | 'FoundNewReplicaSet' | undefined;

export interface StatusInput {
  readonly deployment: Deployment;
  readonly newest: ReplicaSet | undefined;
  readonly all: readonly ReplicaSet[];
  readonly event: SetEvent;
  /** Why the newest ReplicaSet could not be created. */
  readonly failure: string | undefined;
  readonly now: number;
}

/** The status, and in how many ms the progress deadline passes if nothing moves. */
export function decideStatus(input: StatusInput): { status: DeploymentStatus; deadlineIn: number | undefined } {
  const { deployment, newest, all, now } = input;
  const counted = countReplicas(deployment, newest, all);
  const old = deployment.status?.conditions ?? [];
  const { progressing, deadlineIn } = progressingCondition(input, counted);
  const next = [availableCondition(deployment, counted), progressing, failureCondition(all, input.failure)].filter(
    (condition) => condition !== undefined,
  );
  const conditions = next.map((condition) => stamped(conditionOf(old, condition.type), condition, now));
  return { status: { ...counted, conditions }, deadlineIn };
}

type Bare = Pick<DeploymentCondition, 'type' | 'status' | 'reason' | 'message'> & { readonly touch?: boolean };

/** With its times: transition when the status changes, update when anything does (or progress was made). */
function stamped(old: DeploymentCondition | undefined, { touch, ...next }: Bare, now: number): DeploymentCondition {
  const time = formatTime(now);
  const same = old !== undefined && old.status === next.status;
  if (old !== undefined && same && old.reason === next.reason && old.message === next.message && !touch) return old;
  return { ...next, lastUpdateTime: time, lastTransitionTime: same ? (old.lastTransitionTime ?? time) : time };
}

function availableCondition(deployment: Deployment, status: DeploymentStatus): Bare {
  const least = (deployment.spec.replicas ?? 1) - limitsOf(deployment).maxUnavailable;
  return (status.availableReplicas ?? 0) >= least
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      };
}

function failureCondition(all: readonly ReplicaSet[], failure: string | undefined): Bare | undefined {
  const found = all
    .map((each) => conditionOf(each.status?.conditions, 'ReplicaFailure'))
    .find((each) => each?.status === 'True');
  if (found !== undefined) {
    const { reason, message } = found;
    return {
      type: 'ReplicaFailure',
      status: 'True',
      ...(reason !== undefined && { reason }),
      ...(message !== undefined && { message }),
    };
  }
  return failure === undefined
    ? undefined
    : { type: 'ReplicaFailure', status: 'True', reason: 'FailedCreate', message: failure };
}

function progressingCondition(
  { deployment, newest, event, failure, now }: StatusInput,
  counted: DeploymentStatus,
): { progressing: Bare | undefined; deadlineIn: number | undefined } {
  const { progressDeadlineSeconds: deadline, paused } = deployment.spec;
  const old = conditionOf(deployment.status?.conditions, 'Progressing');
  const what =
    newest === undefined ? `Deployment "${deployment.metadata.name}"` : `ReplicaSet "${newest.metadata.name}"`;
  const is = (status: string, reason: string, message: string, touch = false) => ({
    progressing: { type: 'Progressing', status, reason, message, touch },
    deadlineIn: undefined,
  });
  // The largest 32-bit number is how one says that there is no deadline.
  if (deadline === undefined || deadline >= 2 ** 31 - 1) return { progressing: undefined, deadlineIn: undefined };
  if (paused) return is('Unknown', 'DeploymentPaused', 'Deployment is paused');
  if (old?.reason === 'DeploymentPaused')
    return withDeadline(is('Unknown', 'DeploymentResumed', 'Deployment is resumed'), deadline);
  if (failure !== undefined) return is('False', 'ReplicaSetCreateError', failure);
  if (isComplete(deployment, counted) && old?.reason !== 'NewReplicaSetAvailable')
    return is('True', 'NewReplicaSetAvailable', `${what} has successfully progressed.`);
  if (old?.reason === 'NewReplicaSetAvailable' && isComplete(deployment, counted) && event === undefined)
    return is(old.status, 'NewReplicaSetAvailable', old.message ?? '');
  if (event === 'NewReplicaSetCreated')
    return withDeadline(is('True', event, `Created new replica set "${newest?.metadata.name}"`, true), deadline);
  if (event === 'FoundNewReplicaSet')
    return withDeadline(is('True', event, `Found new replica set "${newest?.metadata.name}"`, true), deadline);
  if (hasProgressed(deployment.status, counted))
    return withDeadline(is('True', 'ReplicaSetUpdated', `${what} is progressing.`, true), deadline);
  if (old === undefined) return withDeadline(is('True', 'ReplicaSetUpdated', `${what} is progressing.`), deadline);
  // After a rollout had completed, a lost pod is no lack of progress.
  if (old.reason === 'NewReplicaSetAvailable' || old.reason === 'ProgressDeadlineExceeded')
    return is(old.status, old.reason, old.message ?? '');
  const left = Date.parse(old.lastUpdateTime ?? formatTime(now)) + deadline * 1000 - now;
  if (left > 0) return { ...is(old.status, old.reason ?? '', old.message ?? ''), deadlineIn: left };
  return is('False', 'ProgressDeadlineExceeded', `${what} has timed out progressing.`);
}

function withDeadline<R extends { deadlineIn: undefined }>(
  result: R,
  seconds: number,
): Omit<R, 'deadlineIn'> & { deadlineIn: number } {
  return { ...result, deadlineIn: seconds * 1000 };
}
