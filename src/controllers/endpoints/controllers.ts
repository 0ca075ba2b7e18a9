// The two controllers that keep EndpointSlices and Endpoints of Services with a selector.
import { isDeepStrictEqual } from 'node:util';
import { createIndex } from '../../k8s/cache-index.ts';
import { type Change, isNotFound } from '../../k8s/client.ts';
import { keyOf, type ObjectKey } from '../../k8s/object.ts';
import { endpointSlices, endpoints as endpointsResource, nodes, pods, services } from '../../k8s/resources.ts';
import { matchesLabels } from '../../k8s/selectors.ts';
import type { EndpointSlice, Endpoints, Pod } from '../../k8s/types.generated.ts';
import type { WorkQueue } from '../../k8s/work-queue.ts';
import type { ControllerContext } from '../context.ts';
import { type Controller, runController } from '../controller.ts';
import { createWritten } from '../written.ts';
import { hasManagedEndpoints, isEndpoint } from './endpoint.ts';
import { decideSubsets } from './legacy.ts';
import { decideSlices, headlessLabel, managedBy, managedByLabel, serviceNameLabel } from './slices.ts';
import { TriggerTimes, withTriggerTime } from './trigger-time.ts';

/** Queues the Services that a change touches: the Service itself, and those that select a pod or did so before. */
function watchServicesAndPods(context: ControllerContext, queue: WorkQueue): void {
  const serviceCache = context.cache(services);
  serviceCache.subscribe(({ object }) => queue.add(keyOf(object)));
  context.cache(pods).subscribe((change: Change<Pod>) => {
    const versions = change.type === 'updated' ? [change.old, change.object] : [change.object];
    // Without an address it has never been an endpoint.
    if (!versions.some((pod) => pod.status?.podIP)) return;
    for (const service of serviceCache.list(change.object.metadata.namespace))
      if (
        hasManagedEndpoints(service) &&
        versions.some((pod) => matchesLabels(service.spec?.selector ?? {}, pod.metadata.labels))
      )
        queue.add(keyOf(service));
  });
}

export function runEndpointSlices(context: ControllerContext): Controller {
  const { client } = context;
  const [serviceCache, podCache, nodeCache] = [context.cache(services), context.cache(pods), context.cache(nodes)];
  const cache = context.cache(endpointSlices);
  const recorder = context.recorder('endpoint-slice-controller');
  const serviceOf = (slice: EndpointSlice): string =>
    keyOf({ name: slice.metadata.labels?.[serviceNameLabel] ?? '', namespace: slice.metadata.namespace });
  const isOurs = (slice: EndpointSlice): boolean => slice.metadata.labels?.[managedByLabel] === managedBy;
  const index = createIndex(cache, (slice) => (isOurs(slice) ? [serviceOf(slice)] : []));
  const written = createWritten<EndpointSlice>();
  const triggers = new TriggerTimes();

  return runController(context, {
    name: 'endpointslice',
    needs: [serviceCache, podCache, nodeCache, cache],
    watch(queue) {
      watchServicesAndPods(context, queue);
      cache.subscribe((change) => {
        written.saw(change.object, change.type === 'deleted');
        for (const slice of change.type === 'updated' ? [change.old, change.object] : [change.object])
          if (isOurs(slice)) queue.add(serviceOf(slice));
      });
      nodeCache.subscribe((change) => {
        // Endpoints carry the zone of their node.
        const zone = (labels?: Record<string, string>): string => labels?.['topology.kubernetes.io/zone'] ?? '';
        const before = change.type === 'updated' ? zone(change.old.metadata.labels) : '';
        if (zone(change.object.metadata.labels) !== before)
          for (const service of serviceCache.list()) queue.add(keyOf(service));
      });
    },
    async reconcile(key) {
      const service = serviceCache.get(key);
      if (service === undefined) triggers.forget(keyOf(key));
      // Without the Service the garbage collector takes the slices.
      if (service === undefined || service.metadata.deletionTimestamp !== undefined) return;
      const name = keyOf(key);
      const existing = written.over(index.get(name), (slice) => serviceOf(slice) === name && isOurs(slice));
      if (!hasManagedEndpoints(service)) return;
      const nodeOf = (node: string) => nodeCache.get({ name: node });
      const all = podCache.list(key.namespace);
      const changes = decideSlices(service, all, nodeOf, existing);
      const trigger = triggers.next(
        service,
        all.filter((pod) => isEndpoint(pod, service)),
      );
      const stamped = <T extends EndpointSlice>(slice: T): T => {
        const { annotations, ...metadata } = slice.metadata;
        return { ...slice, metadata: { ...metadata, ...withTriggerTime(annotations, trigger) } };
      };
      try {
        await Promise.all([
          ...changes.create.map(async (slice) => written.wrote(await client.create(endpointSlices, stamped(slice)))),
          ...changes.update.map(async (slice) => written.wrote(await client.update(endpointSlices, stamped(slice)))),
          ...changes.remove.map(async (slice) => {
            await client.delete(endpointSlices, slice.metadata).catch((error: unknown) => {
              if (!isNotFound(error)) throw error;
            });
            written.deleted(slice);
          }),
        ]);
      } catch (error) {
        const text = error instanceof Error ? error.message : String(error);
        recorder.event(
          service,
          'Warning',
          'FailedToUpdateEndpointSlices',
          `Error updating Endpoint Slices for Service ${name}: ${text}`,
        );
        throw error;
      }
    },
  });
}

export function runEndpoints(context: ControllerContext): Controller {
  const { client } = context;
  const [serviceCache, podCache, cache] = [
    context.cache(services),
    context.cache(pods),
    context.cache(endpointsResource),
  ];
  const written = createWritten<Endpoints>();
  const current = (key: ObjectKey) => {
    const cached = cache.get(key);
    return written.over(cached === undefined ? [] : [cached], (object) => keyOf(object) === keyOf(key))[0];
  };
  return runController(context, {
    name: 'endpoints',
    needs: [serviceCache, podCache, cache],
    watch(queue) {
      watchServicesAndPods(context, queue);
      cache.subscribe((change) => {
        written.saw(change.object, change.type === 'deleted');
        if (serviceCache.get(change.object.metadata) !== undefined) queue.add(keyOf(change.object));
      });
    },
    async reconcile(key) {
      const service = serviceCache.get(key);
      const existing = current(key);
      if (service === undefined) {
        if (existing !== undefined && existing.metadata.labels?.[legacyManagedBy] !== undefined) {
          await client.delete(endpointsResource, existing.metadata, { preconditions: { uid: existing.metadata.uid } });
          written.deleted(existing);
        }
        return;
      }
      if (!hasManagedEndpoints(service) || service.metadata.deletionTimestamp !== undefined) return;
      const subsets = decideSubsets(service, podCache.list(key.namespace));
      const { [headlessLabel]: _headless, ...own } = service.metadata.labels ?? {};
      const labels: Record<string, string> = {
        ...own,
        [legacyManagedBy]: 'endpoint-controller',
        ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }),
      };
      if (existing === undefined) {
        const { name, namespace } = service.metadata;
        const metadata = { name, ...(namespace !== undefined && { namespace }), labels };
        written.wrote(
          await client.create(endpointsResource, { apiVersion: 'v1', kind: 'Endpoints', metadata, subsets }),
        );
      } else if (!isDeepStrictEqual([existing.subsets ?? [], existing.metadata.labels], [subsets, labels]))
        written.wrote(
          await client.update(endpointsResource, { ...existing, metadata: { ...existing.metadata, labels }, subsets }),
        );
    },
  });
}

const legacyManagedBy = 'endpoints.kubernetes.io/managed-by';
