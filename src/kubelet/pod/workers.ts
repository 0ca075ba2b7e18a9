// The pods of this node: a worker for each, orphans removed, and the kubelet's API answered from them.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Cache } from '../../k8s/client.ts';
import type { Pod } from '../../k8s/types.generated.ts';
import type { PodContainer, PodInstance, PodSource } from '../runtime.ts';
import { cleanUpPod } from './clean-up.ts';
import { stopContainer, stopSandbox } from './kill.ts';
import type { NodeContext } from './node-context.ts';
import { type PodRuntime, readySandbox } from './runtime-status.ts';
import { PodWorker } from './worker.ts';

export interface PodWorkers extends PodSource {
  runtimeChanged(runtime: PodRuntime): void;
  /** The runtime was away and is back. */
  runtimeBack(): void;
  /** Ends and removes what runs, or is left on the disk, of pods that are no more in the API. */
  removeOrphans(): Promise<void>;
  stop(): void;
}

const orphanGraceSeconds = 30;

/** Takes the pods from the cache; the cache and the runtime must have been read completely before. */
export function startPodWorkers(node: NodeContext, pods: Cache<Pod>): PodWorkers {
  const workers = new Map<string, PodWorker>();
  const removing = new Set<string>();

  const unsubscribe = pods.subscribe((change) => {
    const pod = change.object;
    const { uid } = pod.metadata;
    const worker = workers.get(uid);
    if (change.type === 'deleted') {
      worker?.remove(pod);
      return;
    }
    // A pod of the same name came in place of the old one within one relist.
    if (change.type === 'updated' && change.old.metadata.uid !== uid)
      workers.get(change.old.metadata.uid)?.remove(change.old);
    if (worker !== undefined) worker.update(pod);
    else workers.set(uid, new PodWorker(node, pod, () => workers.delete(uid)));
  });

  const removeRuntime = async (runtime: PodRuntime): Promise<void> => {
    if (removing.has(runtime.uid)) return;
    removing.add(runtime.uid);
    try {
      const running = runtime.containers.filter(({ state }) => state === 'running');
      await Promise.all(running.map(({ id }) => stopContainer(node, id, orphanGraceSeconds)));
      await Promise.all(runtime.sandboxes.map(({ id }) => stopSandbox(node, id)));
      await cleanUpPod(node, runtime, await node.cache.refresh(runtime));
      await node.cache.refresh(runtime);
    } finally {
      removing.delete(runtime.uid);
    }
  };

  return {
    runtimeChanged: (runtime) => workers.get(runtime.uid)?.runtimeChanged(runtime),

    runtimeBack() {
      for (const worker of workers.values()) worker.retry();
    },

    async removeOrphans() {
      const orphans = node.cache.all().filter(({ uid }) => !workers.has(uid));
      await Promise.all(orphans.map(removeRuntime));
      const folders = await readdir(join(node.rootDir, 'pods')).catch(() => []);
      await Promise.all(folders.filter((uid) => !workers.has(uid)).map((uid) => node.volumes.remove(uid)));
    },

    findPod(namespace, name) {
      const pod = pods.get({ namespace, name });
      if (pod === undefined) return undefined;
      return instanceOf(pod, node.cache.get({ uid: pod.metadata.uid, namespace, name }));
    },
    pods: () => pods.list(),

    stop() {
      unsubscribe();
      for (const worker of workers.values()) worker.stop();
    },
  };
}

function instanceOf(pod: Pod, runtime: PodRuntime): PodInstance {
  return {
    pod,
    sandboxId: readySandbox(runtime)?.id,
    containers: runtime.containers.map(
      ({ name, id, state, logPath, restartCount }): PodContainer => ({
        name,
        id,
        state,
        logPath,
        attempt: restartCount,
      }),
    ),
  };
}
