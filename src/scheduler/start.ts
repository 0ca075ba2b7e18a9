// The scheduler: watches pods without a node, decides, binds; says why a pod stays pending.
import type { Client } from '../k8s/client.ts';
import { isConflict, isNotFound } from '../k8s/client.ts';
import { conditionOf, formatTime } from '../k8s/conditions.ts';
import { createRecorder } from '../k8s/events.ts';
import { keyOf, type Stored } from '../k8s/object.ts';
import { objectPath } from '../k8s/paths.ts';
import { isPodTerminal } from '../k8s/pod.ts';
import { namespaces, nodes, pods } from '../k8s/resources.ts';
import type { Binding, Node, Pod } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import { placePod } from './decide.ts';
import { createPending } from './pending.ts';
import { ClusterState } from './state.ts';

export interface SchedulerOptions {
  readonly client: Client;
  readonly log: Log;
}

const schedulerName = 'default-scheduler';

export async function startScheduler({ client, log }: SchedulerOptions): Promise<{ stop(): Promise<void> }> {
  const [podCache, nodeCache, namespaceCache] = [client.cache(pods), client.cache(nodes), client.cache(namespaces)];
  const recorder = createRecorder(client, schedulerName);
  const state = new ClusterState();
  /** Pods that were placed here and that the cache does not show on their node yet. */
  const assumed = new Set<string>();
  const inFlight = new Set<Promise<void>>();
  const namespaceLabels = (name: string) => namespaceCache.get({ name })?.metadata.labels ?? {};

  const schedule = (key: string): void => {
    const pod = podCache.get(keyToObject(key));
    if (pod === undefined || !isWaiting(pod) || assumed.has(pod.metadata.uid)) return;
    const placement = placePod(pod, state.snapshot(namespaceLabels));
    if (placement.kind === 'unschedulable') {
      pending.failed(key);
      recorder.event(pod, 'Warning', 'FailedScheduling', placement.message);
      track(setUnscheduled(client, pod, 'Unschedulable', placement.message));
      return;
    }
    assumed.add(pod.metadata.uid);
    state.setPod({ ...pod, spec: { ...(pod.spec ?? { containers: [] }), nodeName: placement.node } });
    track(bind(pod, placement.node));
  };
  const pending = createPending(schedule);
  const track = (work: Promise<void>): void => {
    const tracked = work
      .catch((error: unknown) => {
        if (!isNotFound(error) && !isConflict(error)) log.warn({ err: error }, 'the API server refused a write');
      })
      .finally(() => inFlight.delete(tracked));
    inFlight.add(tracked);
  };
  const bind = async (pod: Stored<Pod>, node: string): Promise<void> => {
    const { name, namespace, uid } = pod.metadata;
    const binding: Binding = {
      apiVersion: 'v1',
      kind: 'Binding',
      metadata: { name, ...(namespace !== undefined && { namespace }), uid },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    };
    try {
      await client.request('POST', objectPath(pods, pod.metadata, 'binding'), binding);
      recorder.event(pod, 'Normal', 'Scheduled', `Successfully assigned ${keyOf(pod)} to ${node}`);
    } catch (error) {
      assumed.delete(uid);
      state.removePod(pod);
      pending.failed(keyOf(pod));
      pending.retryAll();
      throw error;
    }
  };

  await Promise.all([podCache.synced, nodeCache.synced, namespaceCache.synced]);
  nodeCache.subscribe((change) => {
    if (change.type === 'deleted') state.removeNode(change.object.metadata.name);
    else state.setNode(change.object);
    if (change.type === 'added' || (change.type === 'updated' && mayFitMore(change.old, change.object)))
      pending.retryAll();
  });
  podCache.subscribe((change) => {
    const { object } = change;
    const key = keyOf(object);
    if (change.type === 'deleted') {
      const wasPlaced = state.has(object.metadata.uid);
      assumed.delete(object.metadata.uid);
      state.removePod(object);
      pending.remove(key);
      if (wasPlaced) pending.retryAll();
    } else if (object.spec?.nodeName || isPodTerminal(object)) {
      assumed.delete(object.metadata.uid);
      pending.remove(key);
      state.setPod(object);
      // Room came free, or a pod that others have affinity to was placed or relabelled.
      if (change.type === 'added' || mattersToOthers(change.old, object)) pending.retryAll();
    } else if (!isOurs(object) || assumed.has(object.metadata.uid)) return;
    else if (object.metadata.deletionTimestamp !== undefined) pending.remove(key);
    else if ((object.spec?.schedulingGates ?? []).length > 0)
      track(
        setUnscheduled(client, object, 'SchedulingGated', 'Scheduling is blocked due to non-empty scheduling gates'),
      );
    else if (change.type === 'added' || specChanged(change.old, object)) pending.add(key, object);
  });

  return {
    async stop() {
      pending.stop();
      for (const cache of [podCache, nodeCache, namespaceCache]) cache.stop();
      await Promise.allSettled([...inFlight]);
    },
  };
}

function keyToObject(key: string): { namespace: string; name: string } {
  const slash = key.indexOf('/');
  return { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

const isOurs = (pod: Pod): boolean => (pod.spec?.schedulerName || schedulerName) === schedulerName;

function isWaiting(pod: Pod): boolean {
  return (
    isOurs(pod) &&
    !pod.spec?.nodeName &&
    !isPodTerminal(pod) &&
    pod.metadata.deletionTimestamp === undefined &&
    (pod.spec?.schedulingGates ?? []).length === 0
  );
}

/** Whether a node's change may let a pod in that it refused: its taints, labels, room or cordon. */
function mayFitMore(old: Node, node: Node): boolean {
  const view = ({ spec, metadata, status }: Node): string =>
    JSON.stringify([spec?.taints, spec?.unschedulable, metadata.labels, status?.allocatable]);
  return view(old) !== view(node);
}

function mattersToOthers(old: Pod, pod: Pod): boolean {
  return (
    !old.spec?.nodeName ||
    isPodTerminal(old) !== isPodTerminal(pod) ||
    JSON.stringify(old.metadata.labels) !== JSON.stringify(pod.metadata.labels)
  );
}

/** Everything but the status, which the scheduler itself changes. */
function specChanged(old: Pod, pod: Pod): boolean {
  return JSON.stringify([old.spec, old.metadata.labels]) !== JSON.stringify([pod.spec, pod.metadata.labels]);
}

async function setUnscheduled(client: Client, pod: Stored<Pod>, reason: string, message: string): Promise<void> {
  const old = conditionOf(pod.status?.conditions, 'PodScheduled');
  if (old?.status === 'False' && old.reason === reason && old.message === message) return;
  const lastTransitionTime = old?.status === 'False' ? old.lastTransitionTime : formatTime(Date.now());
  const condition = { type: 'PodScheduled', status: 'False', reason, message, lastTransitionTime, lastProbeTime: null };
  const body = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
  await client.patch(pods, pod.metadata, { type: 'strategic', body }, 'status');
}
