// Ends that the runtime has missed. While containerd's CRI part starts, it begins to wait for the end of a container
// before it knows the container itself: an end in between is dropped, and CRI says "running" until containerd is started
// anew (containerd issue 10390, mended in 2.1). containerd's own list of tasks tells the truth.
import type { Message } from '../cri/protocol.ts';

/** The ids of the containers and sandboxes that CRI holds to be running though their task has stopped. */
export function lostExits(
  sandboxes: readonly Pick<Message<'PodSandbox'>, 'id' | 'state'>[],
  containers: readonly Pick<Message<'Container'>, 'id' | 'state'>[],
  tasks: readonly Message<'Process'>[],
): string[] {
  const ended = new Set(tasks.filter(({ status }) => status === 'STOPPED').map(({ id }) => id));
  return [
    ...sandboxes.filter(({ state }) => state === 'SANDBOX_READY'),
    ...containers.filter(({ state }) => state === 'CONTAINER_RUNNING'),
  ]
    .map(({ id }) => id)
    .filter((id) => ended.has(id));
}
