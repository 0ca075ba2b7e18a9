// What a node's conditions and heartbeat mean: its conditions when it is lost, its taints, who is evicted when. Pure.
import { conditionOf } from '../../k8s/conditions.ts';
import { tolerates } from '../../k8s/node-selection.ts';
import type { Node, NodeCondition, Pod, Taint } from '../../k8s/types.generated.ts';

/** How long a node may be silent before it counts as lost, in ms (--node-monitor-grace-period). */
export const gracePeriod = 40_000;

const taintKey = (name: string): string => `node.kubernetes.io/${name}`;
const notReady = taintKey('not-ready');
const unreachable = taintKey('unreachable');

/** The taints that this controller sets and removes, by key and effect. */
const managed: readonly Pick<Taint, 'key' | 'effect'>[] = [
  { key: notReady, effect: 'NoSchedule' },
  { key: notReady, effect: 'NoExecute' },
  { key: unreachable, effect: 'NoSchedule' },
  { key: unreachable, effect: 'NoExecute' },
  ...['memory-pressure', 'disk-pressure', 'pid-pressure', 'network-unavailable', 'unschedulable'].map((name) => ({
    key: taintKey(name),
    effect: 'NoSchedule',
  })),
];

const pressures: readonly (readonly [string, string])[] = [
  ['MemoryPressure', 'memory-pressure'],
  ['DiskPressure', 'disk-pressure'],
  ['PIDPressure', 'pid-pressure'],
  ['NetworkUnavailable', 'network-unavailable'],
];

/** The taints that the node's conditions and its cordon ask for; taints of others stay, times stay where a taint stays. */
export function taintsFor(node: Node, time: string): Taint[] {
  const conditions = node.status?.conditions;
  const ready = conditionOf(conditions, 'Ready')?.status;
  const wanted: Pick<Taint, 'key' | 'effect'>[] = [];
  const lost = ready === 'True' ? undefined : ready === 'Unknown' ? unreachable : notReady;
  if (lost !== undefined) wanted.push({ key: lost, effect: 'NoSchedule' }, { key: lost, effect: 'NoExecute' });
  for (const [type, name] of pressures)
    if (conditionOf(conditions, type)?.status === 'True') wanted.push({ key: taintKey(name), effect: 'NoSchedule' });
  if (node.spec?.unschedulable === true) wanted.push({ key: taintKey('unschedulable'), effect: 'NoSchedule' });
  const same = (a: Pick<Taint, 'key' | 'effect'>, b: Pick<Taint, 'key' | 'effect'>): boolean =>
    a.key === b.key && a.effect === b.effect;
  const now = node.spec?.taints ?? [];
  const kept = now.filter(
    (taint) => !managed.some((each) => same(each, taint)) || wanted.some((each) => same(each, taint)),
  );
  const added = wanted
    .filter((each) => !now.some((taint) => same(each, taint)))
    .map((each) => ({ ...each, timeAdded: time }));
  return [...kept, ...added];
}

/** The conditions of a node whose kubelet has fallen silent. */
export function lostConditions(node: Node, time: string): NodeCondition[] {
  const before = node.status?.conditions ?? [];
  const types = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];
  const lost = types.map((type) => {
    const old = conditionOf(before, type);
    if (old?.status === 'Unknown') return old;
    return {
      type,
      status: 'Unknown',
      reason: old === undefined ? 'NodeStatusNeverUpdated' : 'NodeStatusUnknown',
      message: old === undefined ? 'Kubelet never posted node status.' : 'Kubelet stopped posting node status.',
      ...(old?.lastHeartbeatTime !== undefined && { lastHeartbeatTime: old.lastHeartbeatTime }),
      lastTransitionTime: time,
    };
  });
  return [...before.filter(({ type }) => !types.includes(type)), ...lost];
}

/**
 * When a pod has to leave a node with these taints, in ms since 1970: at once (0) where a NoExecute taint is not
 * tolerated, after the shortest tolerationSeconds otherwise; undefined where it may stay.
 */
export function evictionTime(pod: Pod, taints: readonly Taint[]): number | undefined {
  let earliest: number | undefined;
  for (const taint of taints) {
    if (taint.effect !== 'NoExecute') continue;
    const matching = (pod.spec?.tolerations ?? []).filter((toleration) => tolerates(toleration, taint));
    if (matching.length === 0) return 0;
    const limits = matching.flatMap(({ tolerationSeconds }) => tolerationSeconds ?? []);
    if (limits.length === 0) continue;
    const since = taint.timeAdded === undefined ? 0 : Date.parse(taint.timeAdded);
    const at = Math.min(...limits) <= 0 ? 0 : since + Math.min(...limits) * 1000;
    earliest = Math.min(earliest ?? at, at);
  }
  return earliest;
}
