// Pod garbage collection: pods whose node is gone or out of service, and pods that end without ever having had a node.
import { isConflict, isNotFound } from '../k8s/client.ts';
import { formatTime } from '../k8s/conditions.ts';
import { keyOf, type Stored } from '../k8s/object.ts';
import { isPodTerminal } from '../k8s/pod.ts';
import { nodes, pods } from '../k8s/resources.ts';
import type { Node, Pod } from '../k8s/types.generated.ts';
import type { ControllerContext } from './context.ts';
import { type Controller, runController } from './controller.ts';

/** How long a node has to be gone before its pods go too, in ms (upstream's quarantine). */
const quarantine = 40_000;

/** Why a pod is to be removed without its kubelet, or undefined. `goneFor` is how long its node has been gone, in ms. */
function reasonToRemove(pod: Pod, node: Node | undefined, goneFor: number): string | undefined {
  const nodeName = pod.spec?.nodeName;
  const deleting = pod.metadata.deletionTimestamp !== undefined;
  if (!nodeName) return deleting ? 'it was deleted before it had a node' : undefined;
  if (node === undefined) return goneFor >= quarantine ? 'its node is gone' : undefined;
  const isOut = node.spec?.taints?.some(({ key }) => key === 'node.kubernetes.io/out-of-service') === true;
  return deleting && isOut ? 'its node is out of service' : undefined;
}

export function runPodGc(context: ControllerContext): Controller {
  const { client, log } = context;
  const [cache, nodeCache] = [context.cache(pods), context.cache(nodes)];
  const goneSince = new Map<string, number>();

  const remove = async (pod: Stored<Pod>, reason: string): Promise<void> => {
    log.info({ pod: keyOf(pod), reason }, 'removing a pod without its kubelet');
    if (!isPodTerminal(pod)) {
      const message = 'PodGC: node no longer exists';
      const lastTransitionTime = formatTime(context.now());
      const condition = {
        type: 'DisruptionTarget',
        status: 'True',
        reason: 'DeletionByPodGC',
        message,
        lastTransitionTime,
      };
      const status = { phase: 'Failed', conditions: [condition] };
      const body = { metadata: { uid: pod.metadata.uid }, status };
      await client.patch(pods, pod.metadata, { type: 'strategic', body }, 'status');
    }
    await client.delete(pods, pod.metadata, { gracePeriodSeconds: 0, preconditions: { uid: pod.metadata.uid } });
  };

  return runController(context, {
    name: 'pod-gc',
    needs: [cache, nodeCache],
    watch(queue) {
      cache.subscribe(({ type, object }) => {
        if (type === 'deleted') return;
        const nodeName = object.spec?.nodeName;
        const isLost = nodeName ? nodeCache.get({ name: nodeName }) === undefined : false;
        if (isLost || object.metadata.deletionTimestamp !== undefined) queue.add(keyOf(object));
      });
      nodeCache.subscribe((change) => {
        const { name } = change.object.metadata;
        if (change.type === 'added') goneSince.delete(name);
        if (change.type === 'updated' && change.object.spec?.taints === undefined) return;
        for (const pod of cache.list())
          if (
            pod.spec?.nodeName === name &&
            (change.type === 'deleted' || pod.metadata.deletionTimestamp !== undefined)
          )
            queue.add(keyOf(pod));
      });
    },
    async reconcile(key, again) {
      const pod = cache.get(key);
      if (pod === undefined) return;
      const name = pod.spec?.nodeName ?? '';
      const node = nodeCache.get({ name });
      if (node === undefined && name !== '' && !goneSince.has(name)) goneSince.set(name, context.now());
      const goneFor = context.now() - (goneSince.get(name) ?? context.now());
      const reason = reasonToRemove(pod, node, goneFor);
      if (reason === undefined) {
        if (node === undefined && name !== '') again(quarantine - goneFor);
        return;
      }
      try {
        await remove(pod, reason);
      } catch (error) {
        if (!isNotFound(error) && !isConflict(error)) throw error;
      }
    },
  });
}
