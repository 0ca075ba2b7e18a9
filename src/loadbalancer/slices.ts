// The EndpointSlices of load balancers, followed only while it matters on which nodes a Service answers.
import { type CacheIndex, createIndex } from '../k8s/cache-index.ts';
import type { Cache, Client } from '../k8s/client.ts';
import { keyOf, type Stored } from '../k8s/object.ts';
import { endpointSlices } from '../k8s/resources.ts';
import type { Endpoint, EndpointSlice, Service } from '../k8s/types.generated.ts';

const serviceLabel = 'kubernetes.io/service-name';

export class FollowedSlices {
  readonly #client: Pick<Client, 'cache'>;
  readonly #onChange: (service: string) => void;
  #cache: Cache<EndpointSlice> | undefined;
  #byService: CacheIndex<EndpointSlice> | undefined;

  /** `onChange` is called with the key of the Service whose slices have changed. */
  constructor(client: Pick<Client, 'cache'>, onChange: (service: string) => void) {
    this.#client = client;
    this.#onChange = onChange;
  }

  /** Whether all slices are known. */
  get isKnown(): boolean {
    return this.#cache?.isSynced === true;
  }

  /** Begins to follow, or ends it; `onKnown` is called when all are there. */
  follow(isNeeded: boolean, onKnown: () => void): void {
    if (!isNeeded) this.stop();
    if (!isNeeded || this.#cache !== undefined) return;
    const cache = this.#client.cache(endpointSlices, {}, trim);
    this.#cache = cache;
    this.#byService = createIndex(cache, (slice) => [serviceOf(slice)]);
    cache.synced.then(
      () => {
        if (this.#cache !== cache) return;
        cache.subscribe(({ object }) => this.#onChange(serviceOf(object)));
        onKnown();
      },
      () => {},
    );
  }

  of(service: Service): readonly EndpointSlice[] {
    return this.#byService?.get(keyOf(service)) ?? [];
  }

  stop(): void {
    this.#byService?.stop();
    this.#cache?.stop();
    this.#cache = undefined;
    this.#byService = undefined;
  }
}

const serviceOf = ({ metadata }: EndpointSlice): string =>
  `${metadata.namespace}/${metadata.labels?.[serviceLabel] ?? ''}`;

/** Of thousands of endpoints it matters on which nodes there is any that is ready, or that still serves while it ends. */
export function trim({
  metadata,
  addressType,
  apiVersion,
  kind,
  endpoints = [],
}: Stored<EndpointSlice>): Stored<EndpointSlice> {
  const { name, namespace, uid, resourceVersion, creationTimestamp, labels } = metadata;
  const kinds = new Map<string, Endpoint>();
  for (const { nodeName, conditions = {} } of endpoints) {
    const { ready, serving, terminating } = conditions;
    const kept: Endpoint = {
      addresses: [],
      ...(nodeName !== undefined && { nodeName }),
      conditions: { ready, serving, terminating },
    };
    kinds.set(JSON.stringify([nodeName, ready, serving, terminating]), kept);
  }
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      uid,
      resourceVersion,
      creationTimestamp,
      ...(namespace !== undefined && { namespace }),
      labels: { [serviceLabel]: labels?.[serviceLabel] ?? '' },
    },
    addressType,
    endpoints: [...kinds.values()],
  };
}
