// Reads values of users' objects and collects what is wrong with them, each with the name of its field. Pure.
import { matchesLabelSelector, requirementOf, SelectorError } from '../k8s/selectors.ts';
import type { LabelSelector } from '../k8s/types.generated.ts';

/** Something that cannot be followed: `spec.addresses[0]`, and why. */
export interface Problem {
  readonly field: string;
  readonly reason: string;
}

/** A predicate over labels. */
export type Selector = (labels: Readonly<Record<string, string>> | undefined) => boolean;

/** Whether any of the selectors matches; undefined where none are given. A wrong one is told and matches nothing. */
export function readSelectors(
  selectors: readonly LabelSelector[] | undefined,
  field: string,
  problems: Problem[],
): Selector | undefined {
  if (selectors === undefined || selectors.length === 0) return undefined;
  const good = selectors.filter((selector, index) => {
    const reason = selectorProblem(selector);
    if (reason !== undefined) problems.push({ field: `${field}[${index}]`, reason });
    return reason === undefined;
  });
  return (labels) => good.some((selector) => matchesLabelSelector(selector, labels));
}

function selectorProblem({ matchExpressions = [] }: LabelSelector): string | undefined {
  try {
    for (const expression of matchExpressions) {
      const { key, operator, values } = requirementOf(expression);
      const needsValues = operator === 'In' || operator === 'NotIn';
      if (needsValues !== values.length > 0)
        return `matchExpressions: ${key} ${operator} ${needsValues ? 'needs values' : 'takes no values'}`;
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof SelectorError)) throw error;
    return error.message;
  }
}

/** Told as one text, a line for each. */
export const describeProblems = (problems: readonly Problem[]): string =>
  problems.map(({ field, reason }) => `${field}: ${reason}`).join('\n');
