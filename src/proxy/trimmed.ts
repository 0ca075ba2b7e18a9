// What the proxy keeps of the slices that it follows: of a hundred thousand endpoints only what decides about packets,
// packed into one text for each slice and unpacked while its Service is looked at. Pure.
import type { Stored } from '../k8s/object.ts';
import type { Endpoint, EndpointSlice, ObjectMeta } from '../k8s/types.generated.ts';

const keptLabels = ['kubernetes.io/service-name'];
const keptAnnotations = /^(weft\.dev\/|endpoints\.kubernetes\.io\/last-change-trigger-time$)/;

// Two characters that no name, address or label value can have.
const between = '\u001f';
const end = '\u001e';

/** A slice whose endpoints are packed; reading `endpoints` unpacks them each time. */
export function trimSlice(slice: Stored<EndpointSlice>): Stored<EndpointSlice> {
  const packed = (slice.endpoints ?? []).map(pack).join(end);
  const { endpoints: _, metadata, ...rest } = slice;
  return {
    ...rest,
    metadata: trimMetadata(metadata),
    get endpoints(): Endpoint[] {
      return packed === '' ? [] : packed.split(end).map(unpack);
    },
  };
}

type StoredMetadata = ObjectMeta & Stored<EndpointSlice>['metadata'];

function trimMetadata({ name, namespace, uid, resourceVersion, creationTimestamp, ...rest }: StoredMetadata) {
  const labels = pick(rest.labels, (key) => keptLabels.includes(key));
  const annotations = pick(rest.annotations, (key) => keptAnnotations.test(key));
  return {
    name,
    ...(namespace !== undefined && { namespace }),
    uid,
    resourceVersion,
    creationTimestamp,
    ...(labels !== undefined && { labels }),
    ...(annotations !== undefined && { annotations }),
  };
}

function pick(
  from: Record<string, string> | undefined,
  wanted: (key: string) => boolean,
): Record<string, string> | undefined {
  const entries = Object.entries(from ?? {}).filter(([key]) => wanted(key));
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

/** `undefined`, false and true as one character each. */
const flag = (value: boolean | undefined): string => (value === undefined ? '-' : value ? '1' : '0');
const unflag = (text: string | undefined): boolean | undefined => (text === '-' ? undefined : text === '1');

function pack({ addresses, conditions, nodeName, zone, hints, targetRef }: Endpoint): string {
  const { ready, serving, terminating } = conditions ?? {};
  const names = (all: readonly { name: string }[] | undefined): string => (all ?? []).map(({ name }) => name).join(',');
  return [
    addresses[0] ?? '',
    flag(ready) + flag(serving) + flag(terminating),
    nodeName ?? '',
    zone ?? '',
    names(hints?.forZones),
    names(hints?.forNodes),
    targetRef?.kind ?? '',
    targetRef?.name ?? '',
  ].join(between);
}

function unpack(text: string): Endpoint {
  const [address = '', flags = '', nodeName = '', zone = '', zones = '', nodes = '', kind = '', name = ''] =
    text.split(between);
  const [ready, serving, terminating] = [...flags].map(unflag);
  const listed = (all: string): { name: string }[] => all.split(',').map((one) => ({ name: one }));
  const hints = {
    ...(zones !== '' && { forZones: listed(zones) }),
    ...(nodes !== '' && { forNodes: listed(nodes) }),
  };
  return {
    addresses: [address],
    conditions: {
      ...(ready !== undefined && { ready }),
      ...(serving !== undefined && { serving }),
      ...(terminating !== undefined && { terminating }),
    },
    ...(nodeName !== '' && { nodeName }),
    ...(zone !== '' && { zone }),
    ...(Object.keys(hints).length > 0 && { hints }),
    ...(kind !== '' && { targetRef: { kind, name } }),
  };
}
