// Where the pods of a DaemonSet belong, and which are to be created and deleted next. Pure.
import { findUntoleratedTaint, matchesRequiredNodeAffinity } from '../../k8s/node-selection.ts';
import { availableIn, isPodActive, isPodReady, isPodTerminal } from '../../k8s/pod.ts';
import type {
  DaemonSet,
  DaemonSetStatus,
  Node,
  NodeSelectorTerm,
  PodTemplateSpec,
  Toleration,
} from '../../k8s/types.generated.ts';
import { scaledValue } from '../deployment/rollout.ts';
import type { StoredPod } from '../owned-pods.ts';
import { revisionHashLabel } from '../revisions.ts';

const tolerated = (key: string, effect: string): Toleration => ({
  key: `node.kubernetes.io/${key}`,
  operator: 'Exists',
  effect,
});

/** What every daemon pod tolerates (upstream's AddOrUpdateDaemonPodTolerations). */
function daemonTolerations(hostNetwork: boolean): Toleration[] {
  return [
    tolerated('not-ready', 'NoExecute'),
    tolerated('unreachable', 'NoExecute'),
    tolerated('disk-pressure', 'NoSchedule'),
    tolerated('memory-pressure', 'NoSchedule'),
    tolerated('pid-pressure', 'NoSchedule'),
    tolerated('unschedulable', 'NoSchedule'),
    ...(hostNetwork ? [tolerated('network-unavailable', 'NoSchedule')] : []),
  ];
}

/** The template for one node: daemon tolerations, the revision's label, and affinity that admits that node alone. */
export function templateForNode(template: PodTemplateSpec, nodeName: string, revision: string): PodTemplateSpec {
  const spec = template.spec ?? { containers: [] };
  const added = daemonTolerations(spec.hostNetwork === true);
  const own = (spec.tolerations ?? []).filter(
    (each) => !added.some((other) => JSON.stringify(other) === JSON.stringify(each)),
  );
  const field = { key: 'metadata.name', operator: 'In', values: [nodeName] };
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  // Terms are alternatives: each of them is narrowed to the node.
  const terms: NodeSelectorTerm[] = (required?.nodeSelectorTerms ?? [{}]).map((term) => ({
    ...term,
    matchFields: [field],
  }));
  return {
    ...template,
    metadata: { ...template.metadata, labels: { ...template.metadata?.labels, [revisionHashLabel]: revision } },
    spec: {
      ...spec,
      tolerations: [...own, ...added],
      affinity: {
        ...spec.affinity,
        nodeAffinity: {
          ...spec.affinity?.nodeAffinity,
          requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms },
        },
      },
    },
  };
}

/** Whether a daemon pod should be started on the node, and whether one that is there may stay. */
export function belongsOn(daemonSet: DaemonSet, node: Node): { run: boolean; stay: boolean } {
  const spec = daemonSet.spec.template.spec ?? { containers: [] };
  if (spec.nodeName && spec.nodeName !== node.metadata.name) return { run: false, stay: false };
  if (!matchesRequiredNodeAffinity(spec, node)) return { run: false, stay: false };
  const tolerations = [...(spec.tolerations ?? []), ...daemonTolerations(spec.hostNetwork === true)];
  const { taints } = node.spec ?? {};
  const stay = findUntoleratedTaint(taints, tolerations, ['NoExecute']) === undefined;
  return { run: findUntoleratedTaint(taints, tolerations, ['NoExecute', 'NoSchedule']) === undefined, stay };
}

/** The node of a daemon pod: where it runs, or the one that its affinity admits. */
export function nodeOf({ spec }: StoredPod): string {
  if (spec?.nodeName) return spec.nodeName;
  const terms = spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? [];
  for (const { matchFields = [] } of terms)
    for (const { key, values = [] } of matchFields)
      if (key === 'metadata.name' && values[0] !== undefined) return values[0];
  return '';
}

export interface DaemonDecision {
  /** Names of nodes that get a pod. */
  readonly create: readonly string[];
  readonly remove: readonly StoredPod[];
  /** Pods that failed, to be deleted after a back-off. */
  readonly failed: readonly StoredPod[];
  readonly status: DaemonSetStatus;
}

export interface DaemonInput {
  readonly daemonSet: DaemonSet;
  readonly nodes: readonly Node[];
  readonly pods: readonly StoredPod[];
  readonly revision: string;
  readonly now: number;
}

export function decideDaemons(input: DaemonInput): DaemonDecision {
  const { daemonSet, nodes, pods } = input;
  const byNode = Map.groupBy(pods, nodeOf);
  const create: string[] = [];
  const remove: StoredPod[] = [];
  const failed: StoredPod[] = [];
  for (const node of nodes) {
    const name = node.metadata.name ?? '';
    const here = byNode.get(name) ?? [];
    const { run, stay } = belongsOn(daemonSet, node);
    const live = here.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    if (!stay) {
      remove.push(...live);
      continue;
    }
    failed.push(...live.filter(isPodTerminal));
    const active = here.filter(isPodActive);
    // A pod that is still going keeps its place, unless it may be surged over.
    if (run && here.length === 0) create.push(name);
    if (active.length > 1 && surgeOf(daemonSet, nodes.length) === 0) remove.push(...youngest(active));
  }
  const rolling = rollingUpdate(input, byNode);
  const known = new Set(nodes.map(({ metadata }) => metadata.name));
  // Pods without a node of theirs: the node went away before they were placed.
  for (const pod of pods)
    if (!known.has(nodeOf(pod)) && !pod.spec?.nodeName && pod.metadata.deletionTimestamp === undefined)
      remove.push(pod);
  return {
    create: [...create, ...rolling.create],
    remove: [...new Set([...remove, ...rolling.remove])],
    failed,
    status: statusOf(input, byNode),
  };
}

/** All but the oldest, a ready one being preferred. */
function youngest(pods: readonly StoredPod[]): StoredPod[] {
  const rank = (pod: StoredPod): number => (isPodReady(pod) ? 0 : 1);
  return [...pods]
    .sort(
      (a, b) =>
        rank(a) - rank(b) || Date.parse(a.metadata.creationTimestamp) - Date.parse(b.metadata.creationTimestamp),
    )
    .slice(1);
}

function surgeOf({ spec }: DaemonSet, nodeCount: number): number {
  if (spec.updateStrategy?.type === 'OnDelete') return 0;
  return scaledValue(spec.updateStrategy?.rollingUpdate?.maxSurge ?? 0, nodeCount, true);
}

/** Replaces pods of older revisions, as many at a time as maxUnavailable (or maxSurge) allows. */
function rollingUpdate(
  { daemonSet, nodes, revision, now }: DaemonInput,
  byNode: ReadonlyMap<string, readonly StoredPod[]>,
): { create: string[]; remove: StoredPod[] } {
  const { updateStrategy, minReadySeconds = 0 } = daemonSet.spec;
  if (updateStrategy?.type === 'OnDelete') return { create: [], remove: [] };
  const wanted = nodes.filter((node) => belongsOn(daemonSet, node).run);
  const isNew = (pod: StoredPod): boolean => pod.metadata.labels?.[revisionHashLabel] === revision;
  const isAvailable = (pod: StoredPod): boolean => isPodActive(pod) && availableIn(pod, minReadySeconds, now) === 0;
  const surge = surgeOf(daemonSet, wanted.length);
  const result: { create: string[]; remove: StoredPod[] } = { create: [], remove: [] };
  const at = (node: Node): readonly StoredPod[] => byNode.get(node.metadata.name ?? '') ?? [];
  if (surge > 0) {
    let surging = wanted.filter((node) => at(node).some(isNew) && at(node).some((pod) => !isNew(pod))).length;
    for (const node of wanted) {
      const old = at(node).filter((pod) => isPodActive(pod) && !isNew(pod));
      if (old.length === 0) continue;
      if (at(node).some((pod) => isNew(pod) && isAvailable(pod))) result.remove.push(...old);
      else if (!at(node).some(isNew) && surging++ < surge) result.create.push(node.metadata.name ?? '');
    }
    return result;
  }
  const most = Math.max(1, scaledValue(updateStrategy?.rollingUpdate?.maxUnavailable ?? 1, wanted.length, true));
  let unavailable = 0;
  const candidates: StoredPod[] = [];
  for (const node of wanted) {
    const pods = at(node);
    const old = pods.filter((pod) => isPodActive(pod) && !isNew(pod));
    if (!pods.some(isAvailable)) {
      unavailable++;
      // An old pod that does not serve anyway costs nothing.
      result.remove.push(...old);
    } else candidates.push(...old);
  }
  result.remove.push(...candidates.slice(0, Math.max(0, most - unavailable)));
  return result;
}

function statusOf(
  { daemonSet, nodes, revision, now }: DaemonInput,
  byNode: ReadonlyMap<string, readonly StoredPod[]>,
): DaemonSetStatus {
  const { minReadySeconds = 0 } = daemonSet.spec;
  let [desired, current, misscheduled, ready, updated, available] = [0, 0, 0, 0, 0, 0];
  for (const node of nodes) {
    const here = (byNode.get(node.metadata.name ?? '') ?? []).filter(
      ({ metadata }) => metadata.deletionTimestamp === undefined,
    );
    if (!belongsOn(daemonSet, node).run) {
      if (here.length > 0) misscheduled++;
      continue;
    }
    desired++;
    if (here.length > 0) current++;
    if (here.some(isPodReady)) ready++;
    if (here.some((pod) => availableIn(pod, minReadySeconds, now) === 0)) available++;
    if (here.some((pod) => pod.metadata.labels?.[revisionHashLabel] === revision)) updated++;
  }
  return {
    currentNumberScheduled: current,
    desiredNumberScheduled: desired,
    numberMisscheduled: misscheduled,
    numberReady: ready,
    updatedNumberScheduled: updated,
    numberAvailable: available,
    numberUnavailable: desired - available,
    observedGeneration: daemonSet.metadata.generation ?? 0,
  };
}
