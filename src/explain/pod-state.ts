// Why a pod is not ready, in words: what its conditions and containers say. Pure.
import { conditionOf } from '../k8s/conditions.ts';
import type { Container, ContainerStatus, Pod } from '../k8s/types.generated.ts';

/** What keeps the pod from being ready; undefined while it is ready. */
export function whyNotReady(pod: Pod): string | undefined {
  const { conditions, phase, containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const ready = conditionOf(conditions, 'Ready');
  if (ready?.status === 'True') return undefined;
  if (pod.metadata.deletionTimestamp !== undefined) return 'it is ending';
  const scheduled = conditionOf(conditions, 'PodScheduled');
  if (scheduled?.status === 'False')
    return `it has no node: ${scheduled.message ?? scheduled.reason ?? 'no reason told'}`;
  if (pod.spec?.nodeName === undefined) return 'it waits for a node';
  const stuck = [...initContainerStatuses, ...containerStatuses].map(trouble).find((text) => text !== undefined);
  if (stuck !== undefined) return stuck;
  const unready = containerStatuses.find((status) => status.state?.running !== undefined && !status.ready);
  if (unready !== undefined)
    return probeOf(
      pod.spec.containers.find(({ name }) => name === unready.name),
      unready,
    );
  const gate = pod.spec.readinessGates?.find(
    ({ conditionType }) => conditionOf(conditions, conditionType)?.status !== 'True',
  );
  if (gate !== undefined) return `its readiness gate ${gate.conditionType} is not True`;
  if (ready?.reason === 'NodeNotReady' || conditionOf(conditions, 'ContainersReady')?.status === 'True')
    return `its node ${pod.spec.nodeName} is not Ready`;
  return ready?.message ?? `it is ${phase ?? 'not reported yet'}`;
}

/** Of a container that does not run. */
function trouble({ name, state, lastState }: ContainerStatus): string | undefined {
  const waiting = state?.waiting;
  if (waiting !== undefined && waiting.reason !== 'PodInitializing' && waiting.reason !== 'ContainerCreating') {
    const exit = lastState?.terminated?.exitCode;
    return `container ${name}: ${waiting.reason ?? 'waiting'}${exit === undefined ? '' : `, it ended with ${exit}`}`;
  }
  const ended = state?.terminated;
  return ended === undefined || ended.exitCode === 0 ? undefined : `container ${name} ended with ${ended.exitCode}`;
}

function probeOf(container: Container | undefined, status: ContainerStatus): string {
  if (status.started === false && container?.startupProbe !== undefined)
    return `container ${status.name}: its startup probe has not passed`;
  return container?.readinessProbe === undefined
    ? `container ${status.name} is not ready`
    : `container ${status.name}: its readiness probe does not pass`;
}
