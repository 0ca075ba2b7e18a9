// A pod's phase and its quality-of-service class. Pure. Rules: kubernetes pkg/kubelet/kubelet_pods.go (getPhase) and
// pkg/apis/core/v1/helper/qos.
import type { Container, ContainerStatus, Pod } from '../../k8s/types.generated.ts';
import { isSidecar } from './runtime-status.ts';

export type Phase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

/**
 * The phase that the containers' statuses mean. `terminating` says that nothing will be started again (deletion, a
 * deadline): then a pod whose containers have all ended is over whatever its restart policy.
 */
export function phaseOf(pod: Pod, statuses: readonly ContainerStatus[], terminating: boolean): Phase {
  const byName = new Map(statuses.map((status) => [status.name, status]));
  const init = initProgress(pod, byName);
  const policy = pod.spec.restartPolicy ?? 'Always';
  if (init.failed && policy === 'Never') return 'Failed';
  const count = { unknown: 0, running: 0, waiting: 0, stopped: 0, succeeded: 0 };
  for (const container of pod.spec.containers) countContainer(byName.get(container.name), count);
  const begun = count.running + count.stopped > 0;
  if (init.pending || (init.sidecarPending && !begun)) return terminating && !init.running ? 'Failed' : 'Pending';
  if (count.waiting > 0 || count.unknown > 0) return terminating && count.running === 0 ? 'Failed' : 'Pending';
  if (count.running > 0) return 'Running';
  if (count.stopped === 0) return 'Pending';
  if (init.sidecarRunning) return 'Running';
  const allSucceeded = count.stopped === count.succeeded;
  if (terminating) return allSucceeded ? 'Succeeded' : 'Failed';
  if (policy === 'Always') return 'Running';
  if (allSucceeded) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

function countContainer(
  status: ContainerStatus | undefined,
  count: { unknown: number; running: number; waiting: number; stopped: number; succeeded: number },
): void {
  const state = status?.state;
  if (state?.running !== undefined) count.running++;
  else if (state?.terminated !== undefined) {
    count.stopped++;
    if (state.terminated.exitCode === 0) count.succeeded++;
  } else if (state?.waiting !== undefined) {
    if (status?.lastState?.terminated === undefined) count.waiting++;
    else count.stopped++;
  } else count.unknown++;
}

interface InitProgress {
  readonly pending: boolean;
  readonly failed: boolean;
  readonly running: boolean;
  readonly sidecarPending: boolean;
  readonly sidecarRunning: boolean;
}

function initProgress(pod: Pod, byName: ReadonlyMap<string, ContainerStatus>): InitProgress {
  const progress = { pending: false, failed: false, running: false, sidecarPending: false, sidecarRunning: false };
  for (const container of pod.spec.initContainers ?? []) {
    const status = byName.get(container.name);
    const { state } = status ?? {};
    if (isSidecar(container)) {
      if (
        state?.running === undefined &&
        status?.lastState?.terminated === undefined &&
        state?.terminated === undefined
      )
        progress.sidecarPending = true;
      if (state?.running !== undefined) {
        progress.sidecarRunning = true;
        if (status?.started !== true) progress.sidecarPending = true;
      }
      continue;
    }
    if (state?.terminated !== undefined) {
      if (state.terminated.exitCode !== 0) progress.failed = true;
      if (state.terminated.exitCode !== 0) progress.pending = true;
    } else {
      progress.pending = true;
      if (state?.running !== undefined) progress.running = true;
      if ((status?.lastState?.terminated?.exitCode ?? 0) !== 0) progress.failed = true;
    }
  }
  return progress;
}

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** Guaranteed where every container has equal requests and limits of cpu and memory; BestEffort where none has any. */
export function qosClassOf(pod: Pod): QosClass {
  const containers: readonly Container[] = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  const nonZero = (quantity: string | undefined): quantity is string =>
    quantity !== undefined && Number.parseFloat(quantity) !== 0;
  let any = false;
  let guaranteed = true;
  for (const { resources } of containers) {
    for (const resource of ['cpu', 'memory'] as const) {
      const limit = resources?.limits?.[resource];
      const request = resources?.requests?.[resource] ?? limit;
      if (nonZero(limit) || nonZero(request)) any = true;
      if (!nonZero(limit) || request !== limit) guaranteed = false;
    }
  }
  if (!any) return 'BestEffort';
  return guaranteed ? 'Guaranteed' : 'Burstable';
}
