// The conditions of a pod that the kubelet owns. Pure. Rules: kubernetes pkg/kubelet/status/generate.go.
import type { ContainerStatus, Pod, PodCondition } from '../../k8s/types.generated.ts';
import type { Phase } from './phase.ts';
import { isSidecar } from './runtime-status.ts';

interface Verdict {
  readonly status: 'True' | 'False';
  readonly reason?: string;
  readonly message?: string;
}

const ok: Verdict = { status: 'True' };
const no = (reason: string, message: string): Verdict => ({
  status: 'False',
  reason,
  ...(message === '' ? {} : { message }),
});

/**
 * All conditions of the pod: those of the kubelet computed anew, the others as they are in the pod's status. The time of
 * the last transition is `now` where the status of a condition changes.
 */
export function podConditions(
  pod: Pod,
  input: {
    readonly phase: Phase;
    readonly statuses: readonly ContainerStatus[];
    readonly initStatuses: readonly ContainerStatus[];
    readonly sandboxReady: boolean;
    readonly now: string;
  },
): PodCondition[] {
  const before = pod.status?.conditions ?? [];
  const containersReady = containersReadiness(pod, input.phase, [
    ...input.statuses,
    ...input.initStatuses.filter(({ name }) =>
      pod.spec.initContainers?.some((container) => container.name === name && isSidecar(container)),
    ),
  ]);
  const own: Record<string, Verdict> = {
    PodReadyToStartContainers: input.sandboxReady ? ok : { status: 'False' },
    Initialized: initialized(pod, input.phase, input.initStatuses),
    Ready: readiness(pod, containersReady),
    ContainersReady: containersReady,
    PodScheduled: ok,
  };
  const mine = Object.entries(own).map(([type, verdict]): PodCondition => {
    const old = before.find((condition) => condition.type === type);
    const transition = old?.status === verdict.status ? old.lastTransitionTime : input.now;
    const generation = pod.metadata.generation;
    return {
      type,
      lastTransitionTime: transition ?? input.now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
      ...verdict,
    };
  });
  return [...mine, ...before.filter((condition) => own[condition.type] === undefined)];
}

function initialized(pod: Pod, phase: Phase, statuses: readonly ContainerStatus[]): Verdict {
  const containers = pod.spec.initContainers ?? [];
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  const incomplete = containers
    .filter((container) => {
      const status = statuses.find(({ name }) => name === container.name);
      if (isSidecar(container)) return status?.started !== true;
      return status?.ready !== true;
    })
    .map(({ name }) => name);
  if (incomplete.length === 0 || phase === 'Running') return ok;
  return no('ContainersNotInitialized', `containers with incomplete status: [${incomplete.join(' ')}]`);
}

function containersReadiness(pod: Pod, phase: Phase, statuses: readonly ContainerStatus[]): Verdict {
  if (phase === 'Succeeded') return no('PodCompleted', '');
  if (phase === 'Failed') return no('PodFailed', '');
  const unknown = pod.spec.containers.filter(({ name }) => !statuses.some((status) => status.name === name));
  const unready = statuses.filter((status) => !status.ready);
  if (unknown.length === 0 && unready.length === 0) return ok;
  const parts = [];
  if (unknown.length > 0) parts.push(`containers with unknown status: [${unknown.map(({ name }) => name).join(' ')}]`);
  if (unready.length > 0) parts.push(`containers with unready status: [${unready.map(({ name }) => name).join(' ')}]`);
  return no('ContainersNotReady', parts.join(', '));
}

function readiness(pod: Pod, containersReady: Verdict): Verdict {
  if (containersReady.status !== 'True') return containersReady;
  const missing = (pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const condition = pod.status?.conditions?.find(({ type }) => type === conditionType);
    if (condition === undefined)
      return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    if (condition.status !== 'True')
      return [`the status of pod readiness gate "${conditionType}" is not "True", but ${condition.status}`];
    return [];
  });
  return missing.length === 0 ? ok : no('ReadinessGatesNotReady', missing.join(', '));
}
