// The EndpointSlices by the Service that they belong to.
import type { Change } from '../k8s/client.ts';
import type { Stored } from '../k8s/object.ts';
import type { EndpointSlice } from '../k8s/types.generated.ts';

const sliceOwner = 'kubernetes.io/service-name';

export class SliceIndex {
  readonly #slices = new Map<string, Map<string, Stored<EndpointSlice>>>();

  /** The slices of a Service, named `namespace/name`. */
  of(service: string): Stored<EndpointSlice>[] {
    return [...(this.#slices.get(service)?.values() ?? [])];
  }

  /** Takes a change in; returns the Services that it concerns (two when the slice changed hands). */
  take(change: Change<EndpointSlice>): Set<string> {
    const concerned = new Set<string>();
    const before = change.type === 'updated' ? change.old : change.object;
    const old = ownerOf(before);
    const own = this.#slices.get(old);
    if (own?.delete(before.metadata.name)) concerned.add(old);
    if (own?.size === 0) this.#slices.delete(old);
    if (change.type === 'deleted') return concerned;
    const { object } = change;
    const key = ownerOf(object);
    const group = this.#slices.get(key) ?? new Map<string, Stored<EndpointSlice>>();
    this.#slices.set(key, group.set(object.metadata.name, object));
    return concerned.add(key);
  }
}

const ownerOf = ({ metadata }: Stored<EndpointSlice>): string =>
  `${metadata.namespace}/${metadata.labels?.[sliceOwner] ?? ''}`;
