// What a Job does next: how many pods run, whether it is complete or has failed, what its status says. Pure.
import { conditionOf, formatTime, isConditionTrue } from '../../k8s/conditions.ts';
import { isPodActive, isPodReady } from '../../k8s/pod.ts';
import type { Job, JobCondition, JobStatus, Pod } from '../../k8s/types.generated.ts';
import { rankForDeletion } from '../deletion-rank.ts';
import type { StoredPod } from '../owned-pods.ts';
import { meaningOfFailure } from './failure-policy.ts';
import { formatIndexes, parseIndexes } from './indexes.ts';

export const indexAnnotation = 'batch.kubernetes.io/job-completion-index';

/** The wait before a failed pod is replaced, in ms: doubling with each failure. */
const failureBackOff = { initialMs: 10_000, maxMs: 600_000 };

export interface JobInput {
  readonly job: Job;
  /** The pods that exist. */
  readonly pods: readonly StoredPod[];
  /** Pods that had ended and were deleted since: they go on counting. */
  readonly past: { readonly succeeded: number; readonly failed: number };
  readonly now: number;
}

export interface JobDecision {
  /** The pods to create: for an Indexed Job its indexes, else undefined for each. */
  readonly create: readonly (number | undefined)[];
  readonly remove: readonly StoredPod[];
  readonly status: JobStatus;
  /** When to look again though nothing happens, in ms. */
  readonly again: number | undefined;
}

interface Ending {
  readonly type: 'Complete' | 'Failed';
  readonly reason: string;
  readonly message: string;
}

export function isFinished(job: Job): boolean {
  return isConditionTrue(job.status?.conditions, 'Complete') || isConditionTrue(job.status?.conditions, 'Failed');
}

const indexOf = (pod: Pod): number | undefined => {
  const text = pod.metadata.annotations?.[indexAnnotation];
  return text === undefined ? undefined : Number(text);
};

interface Tally {
  readonly active: readonly StoredPod[];
  readonly terminating: number;
  readonly succeeded: number;
  /** Those that the failure policy does not tell to ignore. */
  readonly failed: number;
  readonly completedIndexes: ReadonlySet<number>;
  readonly failedIndexes: ReadonlySet<number>;
  readonly failJob: string | undefined;
  readonly restarts: number;
  /** When the last pod failed, in ms since 1970. */
  readonly lastFailure: number | undefined;
}

function tally({ job, pods, past }: JobInput): Tally {
  const { status, spec } = job;
  const ended = (phase: string): StoredPod[] => pods.filter((pod) => pod.status?.phase === phase);
  const [succeededPods, failedPods] = [ended('Succeeded'), ended('Failed')];
  const meanings = failedPods.map((pod) => ({ pod, meaning: meaningOfFailure(job, pod) }));
  const counted = meanings.filter(({ meaning }) => meaning.action !== 'Ignore');
  const completedIndexes = parseIndexes(status?.completedIndexes);
  for (const pod of succeededPods) completedIndexes.add(indexOf(pod) ?? -1);
  completedIndexes.delete(-1);
  const failedIndexes = parseIndexes(status?.failedIndexes);
  const perIndex = Map.groupBy(counted, ({ pod }) => indexOf(pod) ?? -1);
  for (const [index, failures] of perIndex) {
    const isOver = spec.backoffLimitPerIndex !== undefined && failures.length > spec.backoffLimitPerIndex;
    if (index >= 0 && (isOver || failures.some(({ meaning }) => meaning.action === 'FailIndex')))
      failedIndexes.add(index);
  }
  const indexed = spec.completionMode === 'Indexed';
  const failJob = meanings.map(({ meaning }) => meaning).find((each) => each.action === 'FailJob');
  const active = pods.filter(isPodActive);
  const times = counted.map(({ pod }) => endOf(pod));
  return {
    active,
    terminating: pods.filter((pod) => pod.metadata.deletionTimestamp !== undefined).length,
    succeeded: indexed
      ? completedIndexes.size
      : Math.max(status?.succeeded ?? 0, succeededPods.length + past.succeeded),
    failed: Math.max(status?.failed ?? 0, counted.length + past.failed),
    completedIndexes,
    failedIndexes,
    failJob: failJob?.action === 'FailJob' ? failJob.message : undefined,
    restarts:
      spec.template.spec?.restartPolicy === 'OnFailure' ? active.reduce((sum, pod) => sum + restartsOf(pod), 0) : 0,
    lastFailure: times.length > 0 ? Math.max(...times) : undefined,
  };
}

function restartsOf({ status }: Pod): number {
  const { containerStatuses = [], initContainerStatuses = [] } = status ?? {};
  return [...containerStatuses, ...initContainerStatuses].reduce((sum, { restartCount }) => sum + restartCount, 0);
}

/** When the last container of a pod ended. */
function endOf({ status, metadata }: Pod): number {
  const times = (status?.containerStatuses ?? []).flatMap(({ state }) => state?.terminated?.finishedAt ?? []);
  return Math.max(Date.parse(metadata.creationTimestamp ?? '') || 0, ...times.map((time) => Date.parse(time)));
}

/** Why the Job is over, if it is. */
function endingOf({ job, now }: JobInput, counts: Tally, startTime: number | undefined): Ending | undefined {
  const { spec } = job;
  const { completions, parallelism = 1, backoffLimit = 6, activeDeadlineSeconds, maxFailedIndexes } = spec;
  const failed = (reason: string, message: string): Ending => ({ type: 'Failed', reason, message });
  if (counts.failJob !== undefined) return failed('PodFailurePolicy', counts.failJob);
  if (
    spec.backoffLimitPerIndex === undefined &&
    (counts.failed > backoffLimit || (counts.restarts > 0 && counts.restarts >= backoffLimit))
  )
    return failed('BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  if (
    activeDeadlineSeconds !== undefined &&
    startTime !== undefined &&
    spec.suspend !== true &&
    now - startTime >= activeDeadlineSeconds * 1000
  )
    return failed('DeadlineExceeded', 'Job was active longer than specified deadline');
  if (maxFailedIndexes !== undefined && counts.failedIndexes.size > maxFailedIndexes)
    return failed('MaxFailedIndexesExceeded', 'Job has exceeded the specified maximal number of failed indexes');
  if (
    completions !== undefined &&
    spec.completionMode === 'Indexed' &&
    counts.failedIndexes.size > 0 &&
    counts.completedIndexes.size + counts.failedIndexes.size >= completions
  )
    return failed('FailedIndexes', 'Job has failed indexes');
  const reached =
    completions === undefined
      ? (counts.succeeded > 0 && counts.active.length === 0) || (parallelism === 0 && counts.succeeded > 0)
      : counts.succeeded >= completions;
  return reached
    ? { type: 'Complete', reason: 'CompletionsReached', message: 'Reached expected number of succeeded pods' }
    : undefined;
}

export function decideJob(input: JobInput): JobDecision {
  const { job, now } = input;
  const { spec, status = {} } = job;
  const counts = tally(input);
  const suspended = spec.suspend === true;
  const startTime = suspended ? undefined : (status.startTime ?? formatTime(now));
  // Once decided, an ending stays.
  const ending =
    noted(status.conditions) ?? endingOf(input, counts, startTime === undefined ? undefined : Date.parse(startTime));
  const wait = ending === undefined && !suspended ? backOffLeft(counts, now) : undefined;
  const wanted = wantedActive(job, counts);
  const surplus = counts.active.length - wanted;
  const remove =
    ending !== undefined || suspended
      ? counts.active
      : surplus > 0
        ? rankForDeletion(counts.active).slice(0, surplus)
        : [];
  const create =
    ending !== undefined || suspended || wait !== undefined || surplus >= 0 ? [] : freeIndexes(job, counts, -surplus);
  const running = counts.active.length - remove.length;
  const over = ending !== undefined && counts.active.length === 0 && counts.terminating === 0;
  const time = formatTime(now);
  return {
    create,
    remove,
    again: smallest(wait, ending === undefined && !suspended ? deadlineLeft(job, startTime, now) : undefined),
    status: {
      ...(startTime !== undefined && { startTime }),
      ...(over && ending.type === 'Complete' && { completionTime: status.completionTime ?? time }),
      active: running + create.length,
      ready: counts.active.filter((pod) => isPodReady(pod) && !remove.includes(pod)).length,
      terminating: counts.terminating,
      succeeded: counts.succeeded,
      failed: counts.failed,
      ...(spec.completionMode === 'Indexed' && { completedIndexes: formatIndexes(counts.completedIndexes) }),
      ...(spec.backoffLimitPerIndex !== undefined && { failedIndexes: formatIndexes(counts.failedIndexes) }),
      uncountedTerminatedPods: {},
      conditions: conditionsAfter(job, ending, over, suspended, time),
    },
  };
}

/** The ending that the conditions already name. */
function noted(conditions: readonly JobCondition[] | undefined): Ending | undefined {
  for (const [target, type] of [
    ['SuccessCriteriaMet', 'Complete'],
    ['FailureTarget', 'Failed'],
  ] as const) {
    const found = conditionOf(conditions, target);
    if (found?.status === 'True') return { type, reason: found.reason ?? '', message: found.message ?? '' };
  }
  return undefined;
}

function wantedActive({ spec }: Job, { succeeded, active, failedIndexes }: Tally): number {
  const { completions, parallelism = 1 } = spec;
  // Without a number of completions, no new pods are started once one has succeeded.
  if (completions === undefined) return succeeded > 0 ? active.length : parallelism;
  return Math.min(parallelism, Math.max(0, completions - succeeded - failedIndexes.size));
}

function freeIndexes(
  { spec }: Job,
  { active, completedIndexes, failedIndexes }: Tally,
  count: number,
): (number | undefined)[] {
  if (spec.completionMode !== 'Indexed') return Array.from({ length: count }, () => undefined);
  const taken = new Set([...active.map(indexOf), ...completedIndexes, ...failedIndexes]);
  const free: number[] = [];
  for (let index = 0; index < (spec.completions ?? 0) && free.length < count; index++)
    if (!taken.has(index)) free.push(index);
  return free;
}

function backOffLeft({ failed, lastFailure }: Tally, now: number): number | undefined {
  if (failed === 0 || lastFailure === undefined) return undefined;
  const left = lastFailure + Math.min(failureBackOff.initialMs * 2 ** (failed - 1), failureBackOff.maxMs) - now;
  return left > 0 ? left : undefined;
}

function deadlineLeft({ spec }: Job, startTime: string | undefined, now: number): number | undefined {
  if (spec.activeDeadlineSeconds === undefined || startTime === undefined) return undefined;
  return Math.max(0, Date.parse(startTime) + spec.activeDeadlineSeconds * 1000 - now);
}

function smallest(...values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? Math.min(...known) : undefined;
}

function conditionsAfter(
  job: Job,
  ending: Ending | undefined,
  over: boolean,
  suspended: boolean,
  time: string,
): JobCondition[] {
  const conditions = [...(job.status?.conditions ?? [])];
  const set = (type: string, status: string, reason: string, message: string): void => {
    const index = conditions.findIndex((condition) => condition.type === type);
    if (conditions[index]?.status === status) return;
    const next = { type, status, reason, message, lastProbeTime: time, lastTransitionTime: time };
    if (index < 0) conditions.push(next);
    else conditions[index] = next;
  };
  if (ending !== undefined) {
    set(ending.type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget', 'True', ending.reason, ending.message);
    if (over) set(ending.type, 'True', ending.reason, ending.message);
  } else if (suspended) set('Suspended', 'True', 'JobSuspended', 'Job suspended');
  else if (conditionOf(conditions, 'Suspended') !== undefined) set('Suspended', 'False', 'JobResumed', 'Job resumed');
  return conditions;
}
