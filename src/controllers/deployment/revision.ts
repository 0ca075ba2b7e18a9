// The revisions of a Deployment: annotations that rollout history and undo read.
import { isDeepStrictEqual } from 'node:util';
import type { Deployment, ReplicaSet } from '../../k8s/types.generated.ts';
import {
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
  revisionAnnotation,
  revisionHistoryAnnotation,
  revisionOf,
} from './rollout.ts';

/** Those that a ReplicaSet does not take over from its Deployment. */
const own = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deprecated.deployment.rollback.to',
  revisionAnnotation,
  revisionHistoryAnnotation,
  desiredReplicasAnnotation,
  maxReplicasAnnotation,
]);

/** The revision that follows those of the old sets. */
export function revisionAfter(old: readonly ReplicaSet[]): number {
  return Math.max(0, ...old.map(revisionOf)) + 1;
}

/**
 * The annotations of the newest ReplicaSet: the Deployment's, and the revision where it has become a new one. A set
 * that is rolled back to keeps its earlier revisions in the history annotation.
 */
export function annotationsFor(
  deployment: Deployment,
  set: ReplicaSet,
  revision: number,
): { annotations: Readonly<Record<string, string>>; changed: boolean } {
  const before = set.metadata.annotations ?? {};
  const annotations: Record<string, string> = { ...before };
  for (const [name, value] of Object.entries(deployment.metadata.annotations ?? {}))
    if (!own.has(name)) annotations[name] = value;
  const noted = revisionOf(set);
  if (noted < revision) {
    annotations[revisionAnnotation] = String(revision);
    if (noted > 0) {
      const history = before[revisionHistoryAnnotation];
      annotations[revisionHistoryAnnotation] = history ? `${history},${noted}` : String(noted);
    }
  }
  return { annotations, changed: !isDeepStrictEqual(annotations, before) };
}
