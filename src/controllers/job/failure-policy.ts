// podFailurePolicy of a Job (KEP-3329): what the failure of one pod means for the Job.
import type { Job, Pod, PodFailurePolicyRule } from '../../k8s/types.generated.ts';

export type FailureMeaning =
  | { readonly action: 'FailJob'; readonly message: string }
  | { readonly action: 'Ignore' | 'Count' | 'FailIndex' };

/** The action of the first rule that matches the failed pod; Count where none does. */
export function meaningOfFailure(job: Job, pod: Pod): FailureMeaning {
  for (const [index, rule] of (job.spec.podFailurePolicy?.rules ?? []).entries()) {
    const match = matchRule(rule, pod);
    if (match === undefined) continue;
    if (rule.action === 'FailJob')
      return { action: 'FailJob', message: `${match} matching FailJob rule at index ${index}` };
    if (rule.action === 'Ignore' || rule.action === 'FailIndex') return { action: rule.action };
    return { action: 'Count' };
  }
  return { action: 'Count' };
}

function matchRule({ onExitCodes, onPodConditions }: PodFailurePolicyRule, pod: Pod): string | undefined {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  if (onExitCodes !== undefined) {
    const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
    for (const { name: container, state } of [...initContainerStatuses, ...containerStatuses]) {
      const exitCode = state?.terminated?.exitCode ?? 0;
      if (exitCode === 0 || (onExitCodes.containerName ?? container) !== container) continue;
      if (onExitCodes.values.includes(exitCode) === (onExitCodes.operator === 'In'))
        return `Container ${container} for pod ${name} failed with exit code ${exitCode}`;
    }
    return undefined;
  }
  const met = onPodConditions?.find(({ type, status = 'True' }) =>
    pod.status?.conditions?.some((condition) => condition.type === type && condition.status === status),
  );
  return met && `Pod ${name} has condition ${met.type}`;
}
