// Node lifecycle: silent nodes become Unknown, conditions become taints, pods of lost nodes not ready, then evicted.
import { isDeepStrictEqual } from 'node:util';
import { createIndex } from '../../k8s/cache-index.ts';
import { isConflict, isNotFound } from '../../k8s/client.ts';
import { conditionOf, formatTime } from '../../k8s/conditions.ts';
import { keyOf, type Stored } from '../../k8s/object.ts';
import { isPodReady, isPodTerminal } from '../../k8s/pod.ts';
import { leases, nodes, pods } from '../../k8s/resources.ts';
import type { Node, Pod } from '../../k8s/types.generated.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { evictionTime, gracePeriod, lostConditions, taintsFor } from './health.ts';

const leaseNamespace = 'kube-node-lease';

export function runNodeLifecycle(context: ControllerContext): Controller {
  const { client, log } = context;
  const [cache, podCache] = [context.cache(nodes), context.cache(pods)];
  const leaseCache = client.cache(leases, { namespace: leaseNamespace });
  const podsByNode = createIndex(podCache, (pod) => (pod.spec?.nodeName ? [pod.spec.nodeName] : []));
  const recorder = context.recorder('node-controller');
  const evictions = context.recorder('taint-eviction-controller');
  /** What a node last reported, and when that was seen here: the clocks of nodes are not compared with ours. */
  const heartbeats = new Map<string, { sign: string; at: number }>();

  const beat = (name: string): number => {
    const ready = conditionOf(cache.get({ name })?.status?.conditions, 'Ready');
    const lease = leaseCache.get({ name, namespace: leaseNamespace });
    // The transition to Unknown is this controller's own doing, no sign of life.
    const sign = JSON.stringify([lease?.spec.renewTime, ready?.lastHeartbeatTime]);
    const before = heartbeats.get(name);
    if (before?.sign === sign) return before.at;
    heartbeats.set(name, { sign, at: context.now() });
    return context.now();
  };
  /** Asks the API server itself: the cache may be behind after the server was away. */
  const isReallySilent = async (name: string, known: string | undefined): Promise<boolean> => {
    try {
      return (await client.get(leases, { name, namespace: leaseNamespace })).spec.renewTime === known;
    } catch (error) {
      if (isNotFound(error)) return true;
      throw error;
    }
  };
  const markLost = async (node: Stored<Node>): Promise<Stored<Node>> => {
    const conditions = lostConditions(node, formatTime(context.now()));
    if (isDeepStrictEqual(conditions, node.status?.conditions)) return node;
    recorder.event(node, 'Normal', 'NodeNotReady', `Node ${node.metadata.name} status is now: NodeNotReady`);
    log.warn({ node: node.metadata.name }, 'the node has fallen silent');
    return client.update(nodes, { ...node, status: { ...node.status, conditions } }, 'status');
  };
  const markPodsNotReady = async (name: string): Promise<void> => {
    const condition = { type: 'Ready', status: 'False', lastTransitionTime: formatTime(context.now()) };
    await Promise.all(
      podsByNode.get(name).map(async (pod) => {
        if (!isPodReady(pod)) return;
        recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
        const body = { metadata: { uid: pod.metadata.uid }, status: { conditions: [condition] } };
        await client.patch(pods, pod.metadata, { type: 'strategic', body }, 'status').catch(ignoreGone);
      }),
    );
  };
  const evict = async (node: Stored<Node>, again: (ms: number) => void): Promise<void> => {
    const taints = node.spec?.taints ?? [];
    if (!taints.some(({ effect }) => effect === 'NoExecute')) return;
    for (const pod of podsByNode.get(node.metadata.name)) {
      if (pod.metadata.deletionTimestamp !== undefined || isPodTerminal(pod)) continue;
      const at = evictionTime(pod, taints);
      if (at === undefined) continue;
      const left = at - context.now();
      if (left > 0) again(left);
      else await evictPod(pod);
    }
  };
  const evictPod = async (pod: Stored<Pod>): Promise<void> => {
    evictions.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${keyOf(pod)}`);
    await client.delete(pods, pod.metadata, { preconditions: { uid: pod.metadata.uid } }).catch(ignoreGone);
  };

  const running = runController(context, {
    name: 'node-lifecycle',
    needs: [cache, podCache, leaseCache],
    watch(queue) {
      cache.subscribe((change) => {
        const { name } = change.object.metadata;
        if (change.type === 'deleted') {
          heartbeats.delete(name);
          recorder.event(
            change.object,
            'Normal',
            'RemovingNode',
            `Node ${name} event: Removing Node ${name} from Controller`,
          );
          return;
        }
        if (change.type === 'added')
          recorder.event(
            change.object,
            'Normal',
            'RegisteredNode',
            `Node ${name} event: Registered Node ${name} in Controller`,
          );
        beat(name);
        queue.add(name);
      });
      leaseCache.subscribe(({ type, object: { metadata } }) => {
        if (type === 'deleted') return;
        beat(metadata.name);
        // A sign of life of a node that counts as lost; of others the next look is planned already.
        if (conditionOf(cache.get({ name: metadata.name })?.status?.conditions, 'Ready')?.status === 'Unknown')
          queue.add(metadata.name);
      });
      podCache.subscribe(({ type, object }) => {
        const node = object.spec?.nodeName;
        if (type !== 'added' || !node) return;
        if (cache.get({ name: node })?.spec?.taints?.some(({ effect }) => effect === 'NoExecute')) queue.add(node);
      });
    },
    async reconcile({ name }, again) {
      let node = cache.get({ name });
      if (node === undefined) return;
      const silentFor = context.now() - beat(name);
      const ready = conditionOf(node.status?.conditions, 'Ready')?.status;
      if (silentFor < gracePeriod) again(gracePeriod - silentFor);
      else if (ready !== 'Unknown') {
        const known = leaseCache.get({ name, namespace: leaseNamespace })?.spec.renewTime;
        if (!(await isReallySilent(name, known))) return again(gracePeriod / 4);
        node = await markLost(node);
      }
      const taints = taintsFor(node, formatTime(context.now()));
      if (!isDeepStrictEqual(taints, node.spec?.taints ?? [])) {
        const { resourceVersion } = node.metadata;
        const body = { metadata: { resourceVersion }, spec: { taints: taints.length > 0 ? taints : null } };
        node = await client.patch(nodes, { name }, { type: 'merge', body });
      }
      if (conditionOf(node.status?.conditions, 'Ready')?.status === 'Unknown') await markPodsNotReady(name);
      await evict(node, again);
    },
  });
  return {
    async stop() {
      leaseCache.stop();
      podsByNode.stop();
      await running.stop();
    },
  };
}

function ignoreGone(error: unknown): void {
  if (!isNotFound(error) && !isConflict(error)) throw error;
}
