// The statuses of containers as the API shows them. Pure. Rules: kubernetes pkg/kubelet/kubelet_pods.go
// (convertToAPIContainerStatuses).
import type { Container, ContainerState, ContainerStatus, Pod } from '../../k8s/types.generated.ts';
import { shouldRestart } from './actions.ts';
import { isSidecar, type PodRuntime, type RuntimeContainer } from './runtime-status.ts';

/** Why a container does not run yet: `CrashLoopBackOff`, `ErrImagePull` … */
export interface Waiting {
  readonly reason: string;
  readonly message?: string | undefined;
}

/** What the kubelet knows about containers besides the runtime's word. */
export interface ContainerKnowledge {
  /** The last reason why the named container could not be started. */
  waiting(name: string): Waiting | undefined;
  /** Whether the instance's readiness probe (if any) has passed. */
  ready(containerId: string): boolean;
  /** Whether the instance's startup probe (if any) has passed. */
  started(containerId: string): boolean;
}

export const timeOf = (milliseconds: number): string => new Date(milliseconds).toISOString().replace(/\.\d+Z$/, 'Z');

export type Group = 'init' | 'main' | 'ephemeral';

/** The statuses of one group of a pod's containers, in the order of the spec. `terminating`: none will start again. */
export function containerStatuses(
  pod: Pod,
  group: Group,
  runtime: PodRuntime,
  knowledge: ContainerKnowledge,
  terminating: boolean,
): ContainerStatus[] {
  const containers: readonly Container[] =
    (group === 'init'
      ? pod.spec.initContainers
      : group === 'main'
        ? pod.spec.containers
        : pod.spec.ephemeralContainers) ?? [];
  const initializing = (pod.spec.initContainers?.length ?? 0) > 0 && group !== 'ephemeral';
  const fallback: Waiting = { reason: initializing ? 'PodInitializing' : 'ContainerCreating' };
  return containers.map((container) => {
    const instances = runtime.containers.filter(({ name }) => name === container.name);
    const [newest, before] = instances;
    const status = statusOf(container, newest, before, fallback);
    const waiting = knowledge.waiting(container.name);
    const restarts = group === 'init' ? restartsInit(pod, container, newest) : shouldRestart(pod, container, newest);
    if (waiting !== undefined && restarts && !terminating && group !== 'ephemeral') {
      if (status.state?.terminated !== undefined) status.lastState = status.state;
      status.state = { waiting: { reason: waiting.reason, ...(waiting.message ? { message: waiting.message } : {}) } };
    }
    const running = newest !== undefined && status.state?.running !== undefined;
    status.started = running && knowledge.started(newest.id);
    if (group === 'init' && !isSidecar(container)) status.ready = status.state?.terminated?.exitCode === 0;
    else status.ready = running && status.started && group !== 'ephemeral' && knowledge.ready(newest.id);
    return status;
  });
}

function restartsInit(pod: Pod, container: Container, newest: RuntimeContainer | undefined): boolean {
  if (isSidecar(container)) return newest?.state !== 'running';
  if (newest?.state === 'exited') return newest.exitCode !== 0 && pod.spec.restartPolicy !== 'Never';
  return newest?.state !== 'running';
}

function statusOf(
  container: Container,
  newest: RuntimeContainer | undefined,
  before: RuntimeContainer | undefined,
  fallback: Waiting,
): ContainerStatus {
  const status: ContainerStatus = {
    name: container.name,
    image: newest?.image || container.image || '',
    imageID: newest?.imageId ?? '',
    ready: false,
    started: false,
    restartCount: newest?.restartCount ?? 0,
    state: newest === undefined ? { waiting: { reason: fallback.reason } } : stateOf(newest, fallback),
    lastState: before?.state === 'exited' ? stateOf(before, fallback) : {},
  };
  if (newest !== undefined) status.containerID = `containerd://${newest.id}`;
  return status;
}

/** An instance's state. One that was never started waits; one that the runtime lost counts as ended with code 137. */
function stateOf(container: RuntimeContainer, fallback: Waiting): ContainerState {
  switch (container.state) {
    case 'running':
      return { running: { startedAt: timeOf(container.startedAt) } };
    case 'created':
      return { waiting: { reason: fallback.reason } };
    case 'exited':
      return {
        terminated: {
          exitCode: container.exitCode,
          reason: container.reason,
          ...(container.message === '' ? {} : { message: container.message }),
          ...(container.startedAt === 0 ? {} : { startedAt: timeOf(container.startedAt) }),
          ...(container.finishedAt === 0 ? {} : { finishedAt: timeOf(container.finishedAt) }),
          containerID: `containerd://${container.id}`,
        },
      };
    default:
      return {
        terminated: {
          exitCode: 137,
          reason: 'ContainerStatusUnknown',
          message: 'The container could not be located when the pod was terminated',
          containerID: `containerd://${container.id}`,
        },
      };
  }
}
