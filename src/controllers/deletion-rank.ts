// Which replicas go first when there are too many: the order of upstream's ActivePodsWithRanks.
import { isPodReady, readySince } from '../k8s/pod.ts';
import type { Pod } from '../k8s/types.generated.ts';

const costAnnotation = 'controller.kubernetes.io/pod-deletion-cost';
const phaseRank: Readonly<Record<string, number>> = { Pending: 0, Unknown: 1, Running: 2 };

/**
 * The pods in the order in which they are to be deleted: not yet on a node; pending; not ready; cheaper by annotation;
 * on nodes with more pods of `related` (the pods of the same Deployment); ready for less long; restarted more; newer.
 */
export function rankForDeletion<P extends Pod>(pods: readonly P[], related: readonly Pod[] = pods): P[] {
  const onNode = new Map<string, number>();
  for (const { spec } of related) if (spec?.nodeName) onNode.set(spec.nodeName, (onNode.get(spec.nodeName) ?? 0) + 1);
  const ranks = new Map(
    pods.map((pod) => [
      pod,
      [
        pod.spec?.nodeName ? 1 : 0,
        phaseRank[pod.status?.phase ?? 'Pending'] ?? 0,
        isPodReady(pod) ? 1 : 0,
        Number(pod.metadata.annotations?.[costAnnotation] ?? 0) || 0,
        -(onNode.get(pod.spec?.nodeName ?? '') ?? 0),
        -(readySince(pod) ?? 0),
        -restartsOf(pod),
        -Date.parse(pod.metadata.creationTimestamp ?? ''),
      ],
    ]),
  );
  return [...pods].sort((a, b) => compareRanks(ranks.get(a) ?? [], ranks.get(b) ?? []));
}

function compareRanks(a: readonly number[], b: readonly number[]): number {
  for (const [index, rank] of a.entries()) {
    const difference = rank - (b[index] ?? 0);
    if (difference !== 0 && !Number.isNaN(difference)) return difference;
  }
  return 0;
}

/** The restarts of the container that restarted most. */
function restartsOf(pod: Pod): number {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  return Math.max(0, ...[...containerStatuses, ...initContainerStatuses].map(({ restartCount }) => restartCount));
}
