// From what triggered a change of endpoints (a pod that became ready, say) to the rules in the kernel: the time that the
// EndpointSlice controller notes in an annotation, as kube-proxy reads it (pkg/proxy/endpointslicecache.go).
import type { Change } from '../../k8s/client.ts';
import type { EndpointSlice } from '../../k8s/types.generated.ts';
import type { Family } from '../../net/address.ts';

export const triggerTimeAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

interface Waiting {
  /** In ms since 1970. */
  readonly trigger: number;
  readonly family: Family;
}

export class ProgrammingLatency {
  readonly #since: number;
  readonly #waiting = new Map<string, Waiting[]>();

  /** What was triggered before `since` (ms since 1970), as this process had not started, is not its latency. */
  constructor(since: number) {
    this.#since = since;
  }

  /** Takes in a change of a slice of these Services. */
  saw(change: Change<EndpointSlice>, owners: Iterable<string>): void {
    const { metadata, addressType } = change.object;
    const text = metadata.annotations?.[triggerTimeAnnotation];
    const before = change.type === 'updated' ? change.old.metadata.annotations?.[triggerTimeAnnotation] : undefined;
    const trigger = text === undefined ? Number.NaN : Date.parse(text);
    if (change.type === 'deleted' || text === before || !(trigger > this.#since)) return;
    if (addressType !== 'IPv4' && addressType !== 'IPv6') return;
    for (const owner of owners) {
      const list = this.#waiting.get(owner) ?? [];
      list.push({ trigger, family: addressType });
      this.#waiting.set(owner, list);
    }
  }

  /** What was in the kernel at `now` (ms since 1970) with the write of these Services: the seconds that each took. */
  written(owners: Iterable<string>, now: number): { readonly seconds: number; readonly family: Family }[] {
    const done: { seconds: number; family: Family }[] = [];
    for (const owner of owners) {
      for (const { trigger, family } of this.#waiting.get(owner) ?? [])
        done.push({ seconds: Math.max(0, now - trigger) / 1000, family });
      this.#waiting.delete(owner);
    }
    return done;
  }
}
