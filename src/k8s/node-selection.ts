// Which nodes a pod may use: nodeSelector, node affinity, taints and tolerations. Pure; for scheduler and DaemonSets.
import { matchesLabels, meetsRequirement, requirementOf } from './selectors.ts';
import type { Node, NodeSelector, NodeSelectorTerm, Pod, Taint, Toleration } from './types.generated.ts';

/** Whether a node matches one term: all of its expressions and fields. A term without any matches no node. */
export function matchesNodeTerm(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  const fields = { 'metadata.name': node.metadata.name ?? '' };
  return (
    matchExpressions.every((each) => meetsRequirement(requirementOf(each), node.metadata.labels ?? {})) &&
    matchFields.every((each) => meetsRequirement(requirementOf(each), fields))
  );
}

/** Whether a node matches any of the selector's terms. */
function matchesNodeSelector(selector: NodeSelector, node: Node): boolean {
  return selector.nodeSelectorTerms.some((term) => matchesNodeTerm(term, node));
}

/** Whether the pod's nodeSelector and required node affinity both allow the node. */
export function matchesRequiredNodeAffinity(
  spec: Pick<NonNullable<Pod['spec']>, 'nodeSelector' | 'affinity'>,
  node: Node,
): boolean {
  if (!matchesLabels(spec.nodeSelector ?? {}, node.metadata.labels)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || matchesNodeSelector(required, node);
}

/** Whether a toleration covers a taint; an empty key with Exists covers all, an empty effect every effect. */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  const { effect = '', key = '', operator = 'Equal', value = '' } = toleration;
  if (effect !== '' && effect !== taint.effect) return false;
  if (key !== '' && key !== taint.key) return false;
  if (operator === 'Exists') return true;
  return operator === 'Equal' && key !== '' && value === (taint.value ?? '');
}

/** The first taint with one of the effects that no toleration covers. */
export function findUntoleratedTaint(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
  effects: readonly string[],
): Taint | undefined {
  return taints?.find(
    (taint) => effects.includes(taint.effect) && !tolerations?.some((toleration) => tolerates(toleration, taint)),
  );
}
