// Decides the EndpointSlices of a Service: which to create, change and delete, with as few changes as possible.
import { isDeepStrictEqual } from 'node:util';
import type { Stored } from '../../k8s/object.ts';
import type { Endpoint, EndpointSlice, Node, Pod, Service } from '../../k8s/types.generated.ts';
import type { Family } from '../../net/address.ts';
import { controllerReference } from '../owned-pods.ts';
import { addressOf, endpointOf, familiesOf, isEndpoint } from './endpoint.ts';
import { portsOn, type ResolvedPort } from './ports.ts';

export const serviceNameLabel = 'kubernetes.io/service-name';
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
export const managedBy = 'endpointslice-controller.k8s.io';
export const headlessLabel = 'service.kubernetes.io/headless';

/** Upstream's default of --max-endpoints-per-slice. */
const mostEndpoints = 100;

export interface SliceChanges {
  readonly create: readonly EndpointSlice[];
  readonly update: readonly Stored<EndpointSlice>[];
  readonly remove: readonly Stored<EndpointSlice>[];
}

/** Endpoints that share family and ports, and so can share slices. */
interface Group {
  readonly family: Family;
  readonly ports: readonly ResolvedPort[];
  readonly endpoints: Map<string, Endpoint>;
}

export function decideSlices(
  service: Stored<Service>,
  pods: readonly Pod[],
  nodeOf: (name: string) => Node | undefined,
  existing: readonly Stored<EndpointSlice>[],
): SliceChanges {
  const create: EndpointSlice[] = [];
  const update: Stored<EndpointSlice>[] = [];
  const groups = groupsOf(service, pods, nodeOf);
  const labels = labelsOf(service);
  const left = new Set(existing);
  const fitting = (group: Group): Stored<EndpointSlice>[] =>
    [...left].filter((slice) => slice.addressType === group.family && samePorts(slice, group.ports));

  for (const group of groups) {
    const slices = fitting(group);
    for (const slice of slices) left.delete(slice);
    const missing = new Map(group.endpoints);
    const kept = slices.map((slice) => {
      const endpoints: Endpoint[] = [];
      for (const endpoint of slice.endpoints ?? []) {
        const wanted = missing.get(keyOfEndpoint(endpoint));
        if (wanted === undefined) continue;
        missing.delete(keyOfEndpoint(endpoint));
        endpoints.push(wanted);
      }
      return { slice, endpoints };
    });
    const rest = [...missing.values()];
    // The fullest first, so that slices fill up.
    for (const { endpoints } of [...kept].sort((a, b) => b.endpoints.length - a.endpoints.length))
      endpoints.push(...rest.splice(0, Math.max(0, mostEndpoints - endpoints.length)));
    const spare = kept.filter(({ endpoints }) => endpoints.length === 0).map(({ slice }) => slice);
    const keepsOne = group.endpoints.size === 0 ? spare.shift() : undefined;
    for (const slice of spare) left.add(slice);
    for (const { slice, endpoints } of kept)
      if (endpoints.length > 0 || slice === keepsOne) {
        const next = { ...slice, metadata: metadataFor(slice, labels, service), endpoints };
        if (!isDeepStrictEqual(next, { ...slice, endpoints: slice.endpoints ?? [] })) update.push(next);
      }
    while (rest.length > 0) {
      const endpoints = rest.splice(0, mostEndpoints);
      // A slice that has become empty, whatever its ports were, is taken over: one write in place of two.
      const empty = [...left].find((slice) => slice.addressType === group.family && !existingFor(slice, groups));
      if (empty === undefined) create.push(newSlice(service, group, labels, endpoints));
      else {
        left.delete(empty);
        const ports = group.ports.map((port) => ({ ...port }));
        update.push({ ...empty, metadata: metadataFor(empty, labels, service), endpoints, ports });
      }
    }
    if (group.endpoints.size === 0 && keepsOne === undefined) create.push(newSlice(service, group, labels, []));
  }
  return { create, update, remove: [...left] };
}

/** All groups; a family without any endpoint has one empty group, so that it is seen to have been looked at. */
function groupsOf(service: Stored<Service>, pods: readonly Pod[], nodeOf: (name: string) => Node | undefined): Group[] {
  const groups = new Map<string, Group>();
  for (const family of familiesOf(service)) {
    const before = groups.size;
    for (const pod of pods) {
      const address = isEndpoint(pod, service) ? addressOf(pod, family) : undefined;
      if (address === undefined) continue;
      const ports = portsOn(pod, service);
      // A pod that has none of the Service's ports is no endpoint; a Service without ports has its pods all the same.
      if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
      const key = `${family} ${JSON.stringify(ports)}`;
      const group = groups.get(key) ?? { family, ports, endpoints: new Map<string, Endpoint>() };
      const endpoint = endpointOf(pod, service, address, nodeOf(pod.spec?.nodeName ?? ''));
      group.endpoints.set(keyOfEndpoint(endpoint), endpoint);
      groups.set(key, group);
    }
    if (groups.size === before) groups.set(family, { family, ports: [], endpoints: new Map() });
  }
  return [...groups.values()];
}

/** Whether another group will want the slice. */
function existingFor(slice: EndpointSlice, groups: readonly Group[]): boolean {
  return (
    (slice.endpoints ?? []).length > 0 ||
    groups.some(({ family, ports }) => family === slice.addressType && samePorts(slice, ports))
  );
}

function keyOfEndpoint({ addresses, targetRef }: Endpoint): string {
  return `${addresses[0] ?? ''} ${targetRef?.uid ?? ''}`;
}

function samePorts(slice: EndpointSlice, ports: readonly ResolvedPort[]): boolean {
  const plain = (slice.ports ?? []).map(({ name = '', protocol = 'TCP', port = 0, appProtocol }) => ({
    name,
    protocol,
    port,
    ...(appProtocol !== undefined && { appProtocol }),
  }));
  return isDeepStrictEqual(plain, ports);
}

/** The Service's own labels with those that say whose the slice is. */
function labelsOf(service: Service): Record<string, string> {
  const { [headlessLabel]: _headless, ...own } = service.metadata.labels ?? {};
  return {
    ...own,
    [serviceNameLabel]: service.metadata.name ?? '',
    [managedByLabel]: managedBy,
    ...(service.spec?.clusterIP === 'None' && { [headlessLabel]: '' }),
  };
}

function metadataFor(slice: Stored<EndpointSlice>, labels: Record<string, string>, service: Stored<Service>) {
  return { ...slice.metadata, labels, ownerReferences: [controllerReference(service)] };
}

function newSlice(
  service: Stored<Service>,
  { family, ports }: Group,
  labels: Record<string, string>,
  endpoints: Endpoint[],
): EndpointSlice {
  const { name, namespace } = service.metadata;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      generateName: `${name}-`,
      ...(namespace !== undefined && { namespace }),
      labels,
      ownerReferences: [controllerReference(service)],
    },
    addressType: family,
    endpoints,
    ports: ports.map((port) => ({ ...port })),
  };
}
