// What DNS keeps of the objects that it follows: a cluster's EndpointSlices are large, and names need little of them. Pure.
import type { Stored } from '../k8s/object.ts';
import type { EndpointSlice, Namespace, Service } from '../k8s/types.generated.ts';

export function trimService({ apiVersion, kind, metadata, spec = {} }: Stored<Service>): Stored<Service> {
  const { type, clusterIP, clusterIPs, externalName, ports } = spec;
  return {
    apiVersion,
    kind,
    metadata: identity(metadata),
    spec: {
      ...(type !== undefined && { type }),
      ...(clusterIP !== undefined && { clusterIP }),
      ...(clusterIPs !== undefined && { clusterIPs }),
      ...(externalName !== undefined && { externalName }),
      ...(ports !== undefined && {
        ports: ports.map(({ name, port, protocol }) => ({
          port,
          ...(name !== undefined && { name }),
          ...(protocol !== undefined && { protocol }),
        })),
      }),
    },
  };
}

/** Without the endpoints that are not ready, which have no names. */
export function trimSlice(slice: Stored<EndpointSlice>): Stored<EndpointSlice> {
  const { apiVersion, kind, metadata, addressType, ports, endpoints } = slice;
  const ready = (endpoints ?? []).filter(({ conditions }) => conditions?.ready ?? true);
  return {
    apiVersion,
    kind,
    metadata: { ...identity(metadata), ...triggerOf(metadata) },
    addressType,
    ...(ports !== undefined && { ports }),
    endpoints: ready.map(({ addresses, hostname, targetRef }) => ({
      addresses,
      ...(hostname !== undefined && { hostname }),
      // What an endpoint without a hostname may be called (endpoint_pod_names).
      ...(hostname === undefined && targetRef?.name !== undefined && { targetRef: { name: targetRef.name } }),
    })),
  };
}

/** When the change happened that the slice tells of: by it the way to an answer is measured. */
export const triggerAnnotation = 'endpoints.kubernetes.io/last-change-trigger-time';

function triggerOf({ annotations }: Stored<EndpointSlice>['metadata']): { annotations?: Record<string, string> } {
  const trigger = annotations?.[triggerAnnotation];
  return trigger === undefined ? {} : { annotations: { [triggerAnnotation]: trigger } };
}

export const trimNamespace = ({ apiVersion, kind, metadata, spec }: Stored<Namespace>): Stored<Namespace> => ({
  apiVersion,
  kind,
  metadata: identity(metadata),
  spec,
});

function identity<M extends Stored<Service>['metadata']>(metadata: M): M {
  const { annotations: _, ownerReferences: __, finalizers: ___, generateName: ____, ...rest } = metadata;
  return rest as M;
}
