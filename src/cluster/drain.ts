// Empties a node before it goes: no new pods, and those that others can run elsewhere end there first.
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, isNotFound } from '../k8s/client.ts';
import { nodes, pods } from '../k8s/resources.ts';
import type { Pod } from '../k8s/types.generated.ts';

const askEveryMs = 100;

/** The pods that are deleted: all of the node but those of DaemonSets, which would come back at once. Pure. */
export function podsToEnd(list: readonly Pod[]): Pod[] {
  return list.filter(({ metadata }) => !metadata.ownerReferences?.some(({ kind }) => kind === 'DaemonSet'));
}

/** Marks the node unschedulable, deletes its pods and waits until they have ended, or for so many ms. */
export async function drainNode(client: Client, name: string, patienceMs: number): Promise<void> {
  try {
    await client.patch(nodes, { name }, { type: 'merge', body: { spec: { unschedulable: true } } });
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  const selection = { fieldSelector: `spec.nodeName=${name}` };
  const remaining = async () => podsToEnd((await client.list(pods, selection)).items);
  for (const { metadata } of await remaining()) {
    const { namespace = '', name: pod = '' } = metadata;
    await client.delete(pods, { namespace, name: pod }).catch(ignoreNotFound);
  }
  const deadline = performance.now() + patienceMs;
  while ((await remaining()).length > 0 && performance.now() < deadline) await delay(askEveryMs);
}

/** Deletes the Node, and what of its pods is left. */
export async function deleteNode(client: Client, name: string): Promise<void> {
  await client.delete(nodes, { name }).catch(ignoreNotFound);
  const { items } = await client.list(pods, { fieldSelector: `spec.nodeName=${name}` });
  for (const pod of items) await client.delete(pods, keyOfPod(pod), { gracePeriodSeconds: 0 }).catch(ignoreNotFound);
}

const keyOfPod = ({ metadata: { namespace = '', name = '' } }: Pod) => ({ namespace, name });

function ignoreNotFound(error: unknown): void {
  if (!isNotFound(error)) throw error;
}
