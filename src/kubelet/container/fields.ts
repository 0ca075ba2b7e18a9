// The downward API: what a pod may know of itself. Pure. Rules: kubernetes pkg/fieldpath and pkg/api/v1/resource.
import type { Container, Pod, ResourceFieldSelector } from '../../k8s/types.generated.ts';
import { bytesOf, milliCpuOf } from './resources.ts';

/** What fields say that is not in the pod's spec. */
export interface FieldSource {
  readonly podIps: readonly string[];
  readonly hostIps: readonly string[];
  readonly nodeName: string;
  /** What the node can give to pods: the limit of a container that has none. */
  readonly allocatable: { readonly cpu: string; readonly memory: string; readonly ephemeralStorage: string };
}

/** The value of a fieldPath such as `metadata.labels['app']`; throws a RangeError where there is no such field. */
export function fieldValue(pod: Pod, path: string, source: FieldSource): string {
  const key = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (key?.[1] !== undefined && key[2] !== undefined)
    return pod.metadata[key[1] === 'labels' ? 'labels' : 'annotations']?.[key[2]] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name ?? '';
    case 'metadata.namespace':
      return pod.metadata.namespace ?? '';
    case 'metadata.uid':
      return pod.metadata.uid ?? '';
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return source.nodeName;
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'spec.restartPolicy':
      return pod.spec.restartPolicy ?? 'Always';
    case 'status.podIP':
      return source.podIps[0] ?? '';
    case 'status.podIPs':
      return source.podIps.join(',');
    case 'status.hostIP':
      return source.hostIps[0] ?? '';
    case 'status.hostIPs':
      return source.hostIps.join(',');
    default:
      throw new RangeError(`unsupported fieldPath: ${path}`);
  }
}

/** Labels or annotations as lines of `key="value"`, sorted. */
function formatMap(map: Readonly<Record<string, string>> = {}): string {
  return Object.keys(map)
    .sort()
    .map((key) => `${key}=${JSON.stringify(map[key])}`)
    .join('\n');
}

/** The value of a resource of a container, in units of the divisor, rounded up; a missing limit is the node's capacity. */
export function resourceValue(
  pod: Pod,
  self: Container,
  { containerName, resource, divisor }: ResourceFieldSelector,
  source: FieldSource,
): string {
  const all = [...pod.spec.containers, ...(pod.spec.initContainers ?? [])];
  const container = containerName ? all.find(({ name }) => name === containerName) : self;
  if (container === undefined) throw new RangeError(`container ${containerName} not found`);
  const [kind, name = ''] = resource.split(/\.(.*)/s);
  const { limits, requests } = container.resources ?? {};
  const fallback: Readonly<Record<string, string>> = {
    cpu: source.allocatable.cpu,
    memory: source.allocatable.memory,
    'ephemeral-storage': source.allocatable.ephemeralStorage,
  };
  const quantity = kind === 'limits' ? (limits?.[name] ?? fallback[name]) : (requests?.[name] ?? limits?.[name] ?? '0');
  if (quantity === undefined) throw new RangeError(`unsupported container resource: ${resource}`);
  const unit = divisor === undefined || divisor === '' || divisor === '0' ? '1' : divisor;
  if (name === 'cpu') return String(Math.ceil(milliCpuOf(quantity) / milliCpuOf(unit)));
  return String(Math.ceil(bytesOf(quantity) / bytesOf(unit)));
}
