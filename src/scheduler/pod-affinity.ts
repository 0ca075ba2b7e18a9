// Pod affinity and anti-affinity: which topology domains a pod must, must not or would rather share with others.
import { type LabelRequirement, matchesLabelSelector, meetsRequirement } from '../k8s/selectors.ts';
import type { Pod, PodAffinityTerm } from '../k8s/types.generated.ts';
import type { NodeInfo, Snapshot } from './state.ts';

/** A term with its namespaces and label keys resolved for the pod that carries it. */
interface Term {
  readonly topologyKey: string;
  matches(pod: Pod): boolean;
}

function termOf(term: PodAffinityTerm, carrier: Pod, { namespaceLabels }: Snapshot): Term {
  const { labelSelector, namespaces = [], namespaceSelector, matchLabelKeys = [], mismatchLabelKeys = [] } = term;
  const labels = carrier.metadata.labels ?? {};
  const byKey =
    (operator: 'In' | 'NotIn') =>
    (key: string): LabelRequirement[] =>
      labels[key] === undefined ? [] : [{ key, operator, values: [labels[key]] }];
  const more = [...matchLabelKeys.flatMap(byKey('In')), ...mismatchLabelKeys.flatMap(byKey('NotIn'))];
  const own = namespaces.length === 0 && namespaceSelector === undefined;
  return {
    topologyKey: term.topologyKey,
    matches(pod) {
      const namespace = pod.metadata.namespace ?? '';
      const inNamespace = own
        ? namespace === carrier.metadata.namespace
        : namespaces.includes(namespace) ||
          (namespaceSelector !== undefined && matchesLabelSelector(namespaceSelector, namespaceLabels(namespace)));
      const given = pod.metadata.labels ?? {};
      return (
        inNamespace && matchesLabelSelector(labelSelector, given) && more.every((each) => meetsRequirement(each, given))
      );
    },
  };
}

const domainOf = ({ node }: NodeInfo, topologyKey: string): string | undefined => node.metadata.labels?.[topologyKey];

/** How many pods that the term matches each domain of its topology has. */
function countByDomain(term: Term, snapshot: Snapshot): Map<string, number> {
  const counts = new Map<string, number>();
  for (const info of snapshot.nodes) {
    const domain = domainOf(info, term.topologyKey);
    if (domain === undefined) continue;
    for (const pod of info.pods.values()) if (term.matches(pod)) counts.set(domain, (counts.get(domain) ?? 0) + 1);
  }
  return counts;
}

type Verdict = { readonly reason: string; readonly resolvable: boolean } | undefined;

/** The filter for one pod: per node, why affinity rules forbid it. */
export function podAffinityFilter(pod: Pod, snapshot: Snapshot): (info: NodeInfo) => Verdict {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const resolve = (terms: readonly PodAffinityTerm[] | undefined) =>
    (terms ?? []).map((raw) => {
      const term = termOf(raw, pod, snapshot);
      return { term, counts: countByDomain(term, snapshot) };
    });
  const wanted = resolve(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
  const unwanted = resolve(podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution);
  // The first of a group that wants its own company may go anywhere.
  const isFirst = wanted.every(({ term, counts }) => counts.size === 0 && term.matches(pod));
  const forbidden = domainsForbiddenByOthers(pod, snapshot);
  return (info) => {
    for (const { term, counts } of wanted) {
      const domain = domainOf(info, term.topologyKey);
      if (domain === undefined || (!isFirst && !counts.has(domain)))
        return { reason: "node(s) didn't match pod affinity rules", resolvable: false };
    }
    for (const { term, counts } of unwanted)
      if (counts.has(domainOf(info, term.topologyKey) ?? ''))
        return { reason: "node(s) didn't match pod anti-affinity rules", resolvable: true };
    for (const [topologyKey, domains] of forbidden)
      if (domains.has(domainOf(info, topologyKey) ?? ''))
        return { reason: "node(s) didn't satisfy existing pods anti-affinity rules", resolvable: true };
    return undefined;
  };
}

/** By topology key, the domains where a running pod's required anti-affinity forbids this pod. */
function domainsForbiddenByOthers(pod: Pod, snapshot: Snapshot): Map<string, Set<string>> {
  const forbidden = new Map<string, Set<string>>();
  for (const info of snapshot.nodes)
    for (const other of info.pods.values())
      for (const raw of other.spec?.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []) {
        const domain = domainOf(info, raw.topologyKey);
        if (domain === undefined || !termOf(raw, other, snapshot).matches(pod)) continue;
        forbidden.set(raw.topologyKey, (forbidden.get(raw.topologyKey) ?? new Set<string>()).add(domain));
      }
  return forbidden;
}

/** The score for one pod: per node, the weights of preferred terms met, of its own and of those that run there. */
export function podAffinityScore(pod: Pod, snapshot: Snapshot): (info: NodeInfo) => number {
  const { podAffinity, podAntiAffinity } = pod.spec?.affinity ?? {};
  const preferred = [
    ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({ ...each, sign: 1 })),
    ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({ ...each, sign: -1 })),
  ].map(({ weight, podAffinityTerm, sign }) => {
    const term = termOf(podAffinityTerm, pod, snapshot);
    return { weight: weight * sign, term, counts: countByDomain(term, snapshot) };
  });
  const byOthers = weightsOfOthers(pod, snapshot);
  return (info) => {
    let score = 0;
    for (const { weight, term, counts } of preferred)
      score += weight * (counts.get(domainOf(info, term.topologyKey) ?? '') ?? 0);
    for (const [topologyKey, weights] of byOthers) score += weights.get(domainOf(info, topologyKey) ?? '') ?? 0;
    return score;
  };
}

/** By topology key and domain, the weights with which pods that run there prefer or avoid this pod. */
function weightsOfOthers(pod: Pod, snapshot: Snapshot): Map<string, Map<string, number>> {
  const byKey = new Map<string, Map<string, number>>();
  for (const info of snapshot.nodes)
    for (const other of info.pods.values()) {
      const { podAffinity, podAntiAffinity } = other.spec?.affinity ?? {};
      const terms = [
        ...(podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? []).map((term) => ({ term, weight: 1 })),
        ...(podAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({
          term: each.podAffinityTerm,
          weight: each.weight,
        })),
        ...(podAntiAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map((each) => ({
          term: each.podAffinityTerm,
          weight: -each.weight,
        })),
      ];
      for (const { term, weight } of terms) {
        const domain = domainOf(info, term.topologyKey);
        if (domain === undefined || !termOf(term, other, snapshot).matches(pod)) continue;
        const weights = byKey.get(term.topologyKey) ?? new Map<string, number>();
        byKey.set(term.topologyKey, weights.set(domain, (weights.get(domain) ?? 0) + weight));
      }
    }
  return byKey;
}
