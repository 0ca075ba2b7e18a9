// Topology spread constraints: how evenly pods are to lie over zones, hosts and the like.
import { findUntoleratedTaint, matchesRequiredNodeAffinity } from '../k8s/node-selection.ts';
import { matchesLabelSelector } from '../k8s/selectors.ts';
import type { Pod, TopologySpreadConstraint } from '../k8s/types.generated.ts';
import type { NodeInfo, Snapshot } from './state.ts';

interface Spread {
  readonly constraint: TopologySpreadConstraint;
  /** Matching pods by domain; every domain with an eligible node is there. */
  readonly counts: ReadonlyMap<string, number>;
  /** 1 where the pod itself counts. */
  readonly self: number;
}

const domainOf = ({ node }: NodeInfo, { topologyKey }: TopologySpreadConstraint): string | undefined =>
  node.metadata.labels?.[topologyKey];

function spreadOf(
  pod: Pod,
  constraint: TopologySpreadConstraint,
  all: readonly TopologySpreadConstraint[],
  { nodes }: Snapshot,
): Spread {
  const labels = pod.metadata.labels ?? {};
  const { labelSelector, matchLabelKeys = [], nodeAffinityPolicy = 'Honor', nodeTaintsPolicy = 'Ignore' } = constraint;
  const matches = (other: Pod): boolean =>
    other.metadata.namespace === pod.metadata.namespace &&
    other.metadata.deletionTimestamp === undefined &&
    matchesLabelSelector(labelSelector, other.metadata.labels) &&
    matchLabelKeys.every((key) => labels[key] === undefined || other.metadata.labels?.[key] === labels[key]);
  const isEligible = (info: NodeInfo): boolean =>
    all.every((each) => domainOf(info, each) !== undefined) &&
    (nodeAffinityPolicy !== 'Honor' || matchesRequiredNodeAffinity(pod.spec ?? {}, info.node)) &&
    (nodeTaintsPolicy !== 'Honor' ||
      findUntoleratedTaint(info.node.spec?.taints, pod.spec?.tolerations, ['NoSchedule', 'NoExecute']) === undefined);
  const counts = new Map<string, number>();
  for (const info of nodes) {
    const domain = domainOf(info, constraint);
    if (domain === undefined || !isEligible(info)) continue;
    const here = [...info.pods.values()].filter(matches).length;
    counts.set(domain, (counts.get(domain) ?? 0) + here);
  }
  return { constraint, counts, self: matches(pod) ? 1 : 0 };
}

function spreadsOf(pod: Pod, whenUnsatisfiable: string, snapshot: Snapshot): Spread[] {
  const constraints = (pod.spec?.topologySpreadConstraints ?? []).filter(
    (each) => each.whenUnsatisfiable === whenUnsatisfiable,
  );
  return constraints.map((constraint) => spreadOf(pod, constraint, constraints, snapshot));
}

/** The filter for one pod: per node, why a DoNotSchedule constraint forbids it. */
export function topologySpreadFilter(
  pod: Pod,
  snapshot: Snapshot,
): (info: NodeInfo) => { reason: string; resolvable: boolean } | undefined {
  const spreads = spreadsOf(pod, 'DoNotSchedule', snapshot).map((spread) => {
    const { minDomains = 1 } = spread.constraint;
    const least = spread.counts.size < minDomains ? 0 : Math.min(...spread.counts.values());
    return { ...spread, least };
  });
  const reason = "node(s) didn't match pod topology spread constraints";
  return (info) => {
    for (const { constraint, counts, self, least } of spreads) {
      const domain = domainOf(info, constraint);
      if (domain === undefined) return { reason: `${reason} (missing required label)`, resolvable: false };
      if ((counts.get(domain) ?? 0) + self - least > constraint.maxSkew) return { reason, resolvable: true };
    }
    return undefined;
  };
}

/** The score for one pod: per node, minus the matching pods of its domains, over the ScheduleAnyway constraints. */
export function topologySpreadScore(pod: Pod, snapshot: Snapshot): (info: NodeInfo) => number {
  const spreads = spreadsOf(pod, 'ScheduleAnyway', snapshot);
  const worst = Math.max(0, ...spreads.flatMap(({ counts }) => [...counts.values()]));
  return (info) => {
    let score = 0;
    for (const { constraint, counts } of spreads) {
      const domain = domainOf(info, constraint);
      score -= domain === undefined ? worst + 1 : (counts.get(domain) ?? 0);
    }
    return score;
  };
}
