// Removes what is left of a pod on its node.
import { readdir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { containerLogLink, removeLogs } from '../container/log-files.ts';
import { podCgroup } from '../container/sandbox.ts';
import { isMissing } from '../cri/client.ts';
import type { Garbage } from './garbage.ts';
import { type PodKey, podLogDir } from './names.ts';
import type { NodeContext } from './node-context.ts';
import type { PodRuntime } from './runtime-status.ts';

const cgroupMount = '/sys/fs/cgroup';

/** Removes the pod's sandboxes with their containers, its volumes, logs and control groups. Nothing of it may run any more. */
export async function cleanUpPod(node: NodeContext, pod: PodKey, runtime: PodRuntime): Promise<void> {
  await Promise.all([
    node.volumes.remove(pod.uid),
    Promise.all(runtime.sandboxes.map(({ id }) => removeSandbox(node, id))),
    Promise.all(runtime.containers.map((container) => removeLink(node, pod, container))),
    rm(podLogDir(node.podLogsDir, pod), { recursive: true, force: true }),
  ]);
  await removeCgroups(podCgroup(node.cgroupRoot, pod.uid));
}

/** Removes dead containers and sandboxes that are of no more use, with their logs. */
export async function collectGarbage(node: NodeContext, pod: PodKey, garbage: Garbage): Promise<void> {
  await Promise.all(
    garbage.containers.map(async (container) => {
      await ignoreMissing(node.cri.call('RemoveContainer', { containerId: container.id }));
      await removeLink(node, pod, container);
      if (container.logPath !== '') await removeLogs(container.logPath);
    }),
  );
  await Promise.all(garbage.sandboxes.map((id) => removeSandbox(node, id)));
}

async function removeLink(node: NodeContext, pod: PodKey, container: { name: string; id: string }): Promise<void> {
  const names = { pod: pod.name, namespace: pod.namespace, container: container.name, id: container.id };
  await rm(containerLogLink(node.podLogsDir, names), { force: true });
}

async function removeSandbox(node: NodeContext, id: string): Promise<void> {
  await ignoreMissing(node.cri.call('RemovePodSandbox', { podSandboxId: id }));
}

async function ignoreMissing(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

/** The runtime makes a pod's control group in each hierarchy (version 1) and leaves it there: empty ones are removed. */
async function removeCgroups(group: string): Promise<void> {
  const hierarchies = await readdir(cgroupMount).catch(() => []);
  const folders = [join(cgroupMount, group), ...hierarchies.map((name) => join(cgroupMount, name, group))];
  // One that is not there, or that is not empty yet, is not worth an error.
  await Promise.all(folders.map((folder) => rmdir(folder).catch(() => undefined)));
}
