// When what a controller is about to write was triggered: the annotation by which proxies measure how long a change took
// to reach the kernel (kubernetes staging/src/k8s.io/endpointslice/trigger_time_tracker.go).
import { keyOf, type Stored } from '../../k8s/object.ts';
import type { Pod, Service } from '../../k8s/types.generated.ts';

export const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

interface Seen {
  readonly pods: ReadonlyMap<string, number>;
  readonly service: number;
}

/** When a pod became ready or ceased to be so, in ms since 1970. */
const triggerOf = (pod: Pod): number =>
  Date.parse(pod.status?.conditions?.find(({ type }) => type === 'Ready')?.lastTransitionTime ?? '');

export class TriggerTimes {
  readonly #seen = new Map<string, Seen>();

  /**
   * The time of the earliest trigger since the last call for the Service, in ms since 1970; of a Service seen for the
   * first time when it was created; undefined where nothing that has a time was the trigger (a pod that is gone).
   * @param pods those that the Service selects.
   */
  next(service: Stored<Service>, pods: readonly Pod[]): number | undefined {
    const key = keyOf(service);
    const before = this.#seen.get(key);
    const created = Date.parse(service.metadata.creationTimestamp);
    const now = new Map<string, number>();
    const changed: number[] = [];
    for (const pod of pods) {
      const trigger = triggerOf(pod);
      if (Number.isNaN(trigger)) continue;
      const name = pod.metadata.name ?? '';
      now.set(name, trigger);
      if (trigger > (before?.pods.get(name) ?? Number.NEGATIVE_INFINITY)) changed.push(trigger);
    }
    this.#seen.set(key, { pods: now, service: created });
    if (before === undefined) return Number.isNaN(created) ? undefined : created;
    if (created > before.service) changed.push(created);
    return changed.length === 0 ? undefined : Math.min(...changed);
  }

  forget(service: string): void {
    this.#seen.delete(service);
  }
}

/** The annotations with the time of the trigger, or without one of before. */
export function withTriggerTime(
  annotations: Readonly<Record<string, string>> | undefined,
  trigger: number | undefined,
): { annotations?: Record<string, string> } {
  const { [triggerTimeAnnotation]: _, ...others } = annotations ?? {};
  const all =
    trigger === undefined
      ? others
      : { ...others, [triggerTimeAnnotation]: new Date(trigger).toISOString().replace('.000Z', 'Z') };
  return Object.keys(all).length === 0 ? {} : { annotations: all };
}
