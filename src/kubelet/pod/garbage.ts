// Which dead containers and sandboxes of a pod are of no more use. Pure.
import type { PodRuntime } from './runtime-status.ts';

export interface Garbage {
  readonly containers: readonly { readonly id: string; readonly name: string; readonly logPath: string }[];
  readonly sandboxes: readonly string[];
}

/** How many dead instances of each container stay: one, for `kubectl logs --previous`. */
const keptDead = 1;

/** All but the newest dead instance of each container; sandboxes that are down, not the newest, and empty after that. */
export function garbageOf(runtime: PodRuntime): Garbage {
  const dead = new Map<string, number>();
  const containers = runtime.containers.filter(({ name, state }, index) => {
    const newest = runtime.containers.findIndex((other) => other.name === name) === index;
    if (state === 'running' || newest) return false;
    const seen = (dead.get(name) ?? 0) + 1;
    dead.set(name, seen);
    return seen > keptDead;
  });
  const gone = new Set(containers.map(({ id }) => id));
  const used = new Set(runtime.containers.filter(({ id }) => !gone.has(id)).map(({ sandboxId }) => sandboxId));
  const sandboxes = runtime.sandboxes
    .filter(({ id, ready }, index) => index > 0 && !ready && !used.has(id))
    .map(({ id }) => id);
  return { containers: containers.map(({ id, name, logPath }) => ({ id, name, logPath })), sandboxes };
}
