// Mirrors Endpoints that users keep by hand (for Services without a selector) into EndpointSlices, which the proxy reads.
import { isDeepStrictEqual } from 'node:util';
import { isNotFound } from '../../k8s/client.ts';
import { keyOf, type Stored } from '../../k8s/object.ts';
import { endpointSlices, endpoints as endpointsResource, services } from '../../k8s/resources.ts';
import type { EndpointSlice, Endpoints } from '../../k8s/types.generated.ts';
import { type Family, familyOf, parseIp } from '../../net/address.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { controllerReference } from '../owned-pods.ts';
import { managedByLabel, serviceNameLabel } from './slices.ts';

const mirrorManager = 'endpointslicemirroring-controller.k8s.io';
/** The label by which Endpoints ask not to be mirrored. */
const skipLabel = 'endpointslice.kubernetes.io/skip-mirror';

/** The slices of hand-kept Endpoints: one for each subset and family, named after both, so that each pass finds its own. */
function mirroredSlices(source: Stored<Endpoints>): EndpointSlice[] {
  const { name, namespace, labels } = source.metadata;
  return (source.subsets ?? []).flatMap((subset, index) =>
    (['IPv4', 'IPv6'] as const satisfies readonly Family[]).flatMap((family) => {
      const listed = [
        ...(subset.addresses ?? []).map((address) => ({ ...address, ready: true })),
        ...(subset.notReadyAddresses ?? []).map((address) => ({ ...address, ready: false })),
      ].filter(({ ip }) => {
        const parsed = parseIp(ip);
        return parsed !== undefined && familyOf(parsed) === family;
      });
      if (listed.length === 0) return [];
      const slice: EndpointSlice = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: {
          name: `${name}-mirror-${family.toLowerCase()}-${index}`,
          ...(namespace !== undefined && { namespace }),
          labels: { ...labels, [serviceNameLabel]: name, [managedByLabel]: mirrorManager },
          ownerReferences: [controllerReference(source)],
        },
        addressType: family,
        endpoints: listed.map(({ ip, ready, hostname, nodeName, targetRef }) => ({
          addresses: [ip],
          conditions: { ready, serving: ready, terminating: false },
          ...(hostname !== undefined && { hostname }),
          ...(nodeName !== undefined && { nodeName }),
          ...(targetRef !== undefined && { targetRef }),
        })),
        ports: (subset.ports ?? []).map(({ name: port = '', protocol = 'TCP', ...rest }) => ({
          name: port,
          protocol,
          ...rest,
        })),
      };
      return [slice];
    }),
  );
}

export function runEndpointsMirror(context: ControllerContext): Controller {
  const { client } = context;
  const [cache, serviceCache, sliceCache] = [
    context.cache(endpointsResource),
    context.cache(services),
    context.cache(endpointSlices),
  ];
  const isMirror = (slice: EndpointSlice): boolean => slice.metadata.labels?.[managedByLabel] === mirrorManager;
  const isMirrored = (source: Stored<Endpoints>): boolean => {
    const selector = serviceCache.get(source.metadata)?.spec?.selector;
    const isPlain = selector === undefined || Object.keys(selector).length === 0;
    return serviceCache.get(source.metadata) !== undefined && isPlain && source.metadata.labels?.[skipLabel] !== 'true';
  };
  return runController(context, {
    name: 'endpointslice-mirroring',
    needs: [cache, serviceCache, sliceCache],
    watch(queue) {
      cache.subscribe(({ object }) => queue.add(keyOf(object)));
      serviceCache.subscribe(({ object }) => queue.add(keyOf(object)));
      sliceCache.subscribe(({ object }) => {
        const { namespace, labels } = object.metadata;
        if (isMirror(object)) queue.add(keyOf({ namespace, name: labels?.[serviceNameLabel] ?? '' }));
      });
    },
    async reconcile(key) {
      const source = cache.get(key);
      // The API server keeps slices for its own Service itself.
      if (key.namespace === 'default' && key.name === 'kubernetes') return;
      const existing = sliceCache
        .list(key.namespace)
        .filter((slice) => isMirror(slice) && slice.metadata.labels?.[serviceNameLabel] === key.name);
      const wanted = source !== undefined && isMirrored(source) ? mirroredSlices(source) : [];
      for (const slice of wanted) {
        const found = existing.find(({ metadata }) => metadata.name === slice.metadata.name);
        if (found === undefined) await client.create(endpointSlices, slice);
        else if (
          !isDeepStrictEqual(
            [found.endpoints, found.ports, found.metadata.labels],
            [slice.endpoints, slice.ports, slice.metadata.labels],
          )
        )
          await client.update(endpointSlices, { ...slice, metadata: { ...found.metadata, ...slice.metadata } });
      }
      for (const slice of existing)
        if (!wanted.some(({ metadata }) => metadata.name === slice.metadata.name))
          await client.delete(endpointSlices, slice.metadata).catch((error: unknown) => {
            if (!isNotFound(error)) throw error;
          });
    },
  });
}
