// Decides the node of a pod: nodes are filtered, then scored, as upstream's default plugins do. Pure.
import {
  findUntoleratedTaint,
  matchesNodeTerm,
  matchesRequiredNodeAffinity,
  tolerates,
} from '../k8s/node-selection.ts';
import { controllerOf } from '../k8s/pod.ts';
import type { Pod } from '../k8s/types.generated.ts';
import { podAffinityFilter, podAffinityScore } from './pod-affinity.ts';
import { podRequests, presumedRequests } from './resources.ts';
import { conflicts, hostPortsOf, type NodeInfo, type Snapshot } from './state.ts';
import { topologySpreadFilter, topologySpreadScore } from './topology-spread.ts';

export type Placement =
  | { readonly kind: 'placed'; readonly node: string }
  /** No node fits; the message is upstream's. */
  | { readonly kind: 'unschedulable'; readonly message: string };

/** Why a node does not fit. Not resolvable: removing other pods from it would not help. */
interface Refusal {
  readonly reasons: readonly string[];
  readonly resolvable: boolean;
}

type Filter = (info: NodeInfo) => Refusal | undefined;

export function placePod(pod: Pod, snapshot: Snapshot): Placement {
  const { nodes } = snapshot;
  if (nodes.length === 0) return { kind: 'unschedulable', message: 'no nodes available to schedule pods' };
  const filters = filtersFor(pod, snapshot);
  const refusals: Refusal[] = [];
  const fitting: NodeInfo[] = [];
  for (const info of nodes) {
    const refusal = firstRefusal(filters, info);
    if (refusal === undefined) fitting.push(info);
    else refusals.push(refusal);
  }
  const best = fitting.length > 1 ? bestOf(pod, fitting, snapshot) : fitting[0];
  if (best !== undefined) return { kind: 'placed', node: best.name };
  return { kind: 'unschedulable', message: describeRefusals(nodes.length, refusals) };
}

function firstRefusal(filters: readonly Filter[], info: NodeInfo): Refusal | undefined {
  for (const filter of filters) {
    const refusal = filter(info);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

const hopeless = (reason: string): Refusal => ({ reasons: [reason], resolvable: false });
const single =
  (filter: (info: NodeInfo) => { reason: string; resolvable: boolean } | undefined): Filter =>
  (info) => {
    const verdict = filter(info);
    return verdict && { reasons: [verdict.reason], resolvable: verdict.resolvable };
  };

/** In upstream's order: the first that refuses gives the reason. */
function filtersFor(pod: Pod, snapshot: Snapshot): Filter[] {
  const spec = pod.spec ?? { containers: [] };
  const wanted = hostPortsOf(pod);
  const unschedulable = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' };
  return [
    ({ node }) =>
      node.spec?.unschedulable === true && !spec.tolerations?.some((each) => tolerates(each, unschedulable))
        ? hopeless('node(s) were unschedulable')
        : undefined,
    ({ name }) =>
      spec.nodeName && spec.nodeName !== name ? hopeless("node(s) didn't match the requested node name") : undefined,
    ({ node }) => {
      const taint = findUntoleratedTaint(node.spec?.taints, spec.tolerations, ['NoSchedule', 'NoExecute']);
      return taint && hopeless(`node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`);
    },
    ({ node }) =>
      matchesRequiredNodeAffinity(spec, node)
        ? undefined
        : hopeless("node(s) didn't match Pod's node affinity/selector"),
    ({ pods }) =>
      wanted.length > 0 &&
      [...pods.values()].some((other) => hostPortsOf(other).some((a) => wanted.some((b) => conflicts(a, b))))
        ? { reasons: ["node(s) didn't have free ports for the requested pod ports"], resolvable: true }
        : undefined,
    resourceFilter(pod),
    single(topologySpreadFilter(pod, snapshot)),
    single(podAffinityFilter(pod, snapshot)),
  ];
}

function resourceFilter(pod: Pod): Filter {
  const asked = Object.entries(podRequests(pod)).filter(([, amount]) => amount > 0);
  return ({ allocatable, requested, pods }) => {
    const reasons: string[] = [];
    if (pods.size + 1 > (allocatable.pods ?? 0)) reasons.push('Too many pods');
    let resolvable = true;
    for (const [resource, amount] of asked) {
      const total = allocatable[resource] ?? 0;
      if (amount <= total - (requested[resource] ?? 0)) continue;
      reasons.push(`Insufficient ${resource}`);
      if (amount > total) resolvable = false;
    }
    return reasons.length > 0 ? { reasons, resolvable } : undefined;
  };
}

/** `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) …. preemption: 0/3 nodes are available: …` */
function describeRefusals(total: number, refusals: readonly Refusal[]): string {
  const count = (reasons: readonly string[]): string => {
    const counts = new Map<string, number>();
    for (const reason of reasons) counts.set(reason, (counts.get(reason) ?? 0) + 1);
    return [...counts]
      .map(([reason, times]) => `${times} ${reason}`)
      .sort()
      .join(', ');
  };
  const lead = `0/${total} nodes are available`;
  const preemption = refusals.map(({ resolvable }) =>
    resolvable ? 'No preemption victims found for incoming pod' : 'Preemption is not helpful for scheduling',
  );
  return `${lead}: ${count(refusals.flatMap(({ reasons }) => reasons))}. preemption: ${lead}: ${count(preemption)}.`;
}

interface Score {
  /** How much it counts against the others; upstream's weights. */
  readonly weight: number;
  /** Higher is better; scaled over the nodes to 0–100 unless it is so already. */
  readonly of: (info: NodeInfo) => number;
  readonly scaled?: boolean;
}

function bestOf(pod: Pod, fitting: readonly NodeInfo[], snapshot: Snapshot): NodeInfo | undefined {
  const totals = new Map(fitting.map((info) => [info, 0]));
  for (const { weight, of, scaled } of scoresFor(pod, snapshot)) {
    const values = new Map(fitting.map((info) => [info, of(info)]));
    const [low, high] = [Math.min(...values.values()), Math.max(...values.values())];
    for (const [info, value] of values) {
      const points = scaled ? value : high === low ? 0 : ((value - low) / (high - low)) * 100;
      totals.set(info, (totals.get(info) ?? 0) + weight * points);
    }
  }
  return [...totals].sort(
    ([a, left], [b, right]) => right - left || a.pods.size - b.pods.size || (a.name < b.name ? -1 : 1),
  )[0]?.[0];
}

function scoresFor(pod: Pod, snapshot: Snapshot): Score[] {
  const owner = controllerOf(pod)?.uid;
  const siblings = ({ pods }: NodeInfo): number =>
    owner === undefined ? 0 : [...pods.values()].filter((other) => controllerOf(other)?.uid === owner).length;
  const preferred = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? [];
  const asked = presumedRequests(pod);
  return [
    { weight: 3, of: ({ node }) => -untoleratedPreferences(pod, node.spec?.taints) },
    {
      weight: 2,
      of: ({ node }) =>
        preferred.reduce((sum, { weight, preference }) => sum + (matchesNodeTerm(preference, node) ? weight : 0), 0),
    },
    { weight: 2, of: topologySpreadScore(pod, snapshot) },
    { weight: 2, of: podAffinityScore(pod, snapshot) },
    // Without constraints of its own, a pod keeps away from the other replicas of its owner.
    { weight: 2, of: (pod.spec?.topologySpreadConstraints ?? []).length > 0 ? () => 0 : (info) => -siblings(info) },
    { weight: 1, scaled: true, of: (info) => leastAllocated(info, asked) },
  ];
}

function untoleratedPreferences(pod: Pod, taints: NonNullable<NodeInfo['node']['spec']>['taints']): number {
  return (taints ?? []).filter(
    (taint) => taint.effect === 'PreferNoSchedule' && !pod.spec?.tolerations?.some((each) => tolerates(each, taint)),
  ).length;
}

/** The free share of cpu and memory with the pod on the node, 0 to 100. */
function leastAllocated({ allocatable, presumed }: NodeInfo, asked: Readonly<Record<string, number>>): number {
  const shares = ['cpu', 'memory'].map((resource) => {
    const total = allocatable[resource] ?? 0;
    const used = (presumed[resource] ?? 0) + (asked[resource] ?? 0);
    return total <= 0 || used > total ? 0 : ((total - used) / total) * 100;
  });
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}
