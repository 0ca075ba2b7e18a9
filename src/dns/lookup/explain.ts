// Says why a name of the cluster has the answer that it has: from which object, or what is missing. Pure.

import type { EndpointSlice, Namespace, Service } from '../../k8s/types.generated.ts';
import { endpointSliceOwner } from '../content.ts';
import type { Name } from '../records.ts';

/** The objects that names of a cluster are made of. */
export interface NamedObjects {
  readonly namespaces: readonly Namespace[];
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
}

export interface Explanation {
  /** The objects that the answer is made of, or that the name leads to: `Service default/web`. */
  readonly objects: readonly string[];
  /** One sentence. */
  readonly why: string;
}

/** Why a name in the zone of the cluster has its answer; `found` says whether it had one of the type asked for. */
export function explainName(objects: NamedObjects, zone: Name, name: Name, type: string, found: boolean): Explanation {
  const labels = name === zone ? [] : name.slice(0, -zone.length - 1).split('.');
  const kind = labels.at(-1);
  if (kind === undefined) return plain(`${zone} is the zone of the cluster itself`);
  if (kind === 'svc' && labels.length >= 3) return explainService(objects, zone, labels, type, found);
  if (kind === 'svc' && labels.length === 2) return explainNamespace(objects, labels[0] ?? '');
  if (kind === 'pod') return explainPod(objects, labels, found);
  if (kind === 'svc') return plain(`svc.${zone} holds the namespaces`);
  if (kind === 'dns-version') return plain('the version of the DNS specification that this server keeps');
  return plain(formHint(objects, zone, labels));
}

const plain = (why: string): Explanation => ({ objects: [], why });

/** Names of Services have four parts before they are complete; those that people forget are named. */
function formHint({ services }: NamedObjects, zone: Name, labels: readonly string[]): string {
  const form = `names of Services are NAME.NAMESPACE.svc.${zone}`;
  const [service = '', namespace = 'default'] = labels;
  const meant = services.find(({ metadata }) => metadata.name === service && metadata.namespace === namespace);
  return meant === undefined ? form : `${form}; did you mean ${service}.${namespace}.svc.${zone}?`;
}

function explainNamespace({ namespaces }: NamedObjects, namespace: string): Explanation {
  const known = namespaces.some(({ metadata }) => metadata.name === namespace);
  return known
    ? { objects: [`Namespace ${namespace}`], why: 'a namespace has no addresses itself' }
    : plain(noNamespace(namespaces, namespace));
}

function noNamespace(namespaces: readonly Namespace[], namespace: string): string {
  const names = namespaces.flatMap(({ metadata }) => metadata.name ?? []);
  return `namespace ${namespace} does not exist${didYouMean(namespace, names)}`;
}

function explainService(
  objects: NamedObjects,
  zone: Name,
  labels: readonly string[],
  type: string,
  found: boolean,
): Explanation {
  const [name = '', namespace = ''] = labels.slice(-3);
  if (!objects.namespaces.some(({ metadata }) => metadata.name === namespace))
    return plain(noNamespace(objects.namespaces, namespace));
  const service = objects.services.find(({ metadata }) => metadata.name === name && metadata.namespace === namespace);
  if (service === undefined) return plain(noService(objects, zone, name, namespace));
  const own = `Service ${namespace}/${name}`;
  const slices = objects.slices.filter(
    ({ metadata }) => metadata.namespace === namespace && metadata.labels?.[endpointSliceOwner] === name,
  );
  const below = labels.slice(0, -3);
  if (below.length > 0) return explainBelow(own, service, slices, below, found);
  return explainOwn(own, service, slices, type, found);
}

function noService({ services }: NamedObjects, zone: Name, name: string, namespace: string): string {
  const elsewhere = services.filter(({ metadata }) => metadata.name === name).map(({ metadata }) => metadata.namespace);
  const missing = `there is no Service ${name} in namespace ${namespace}`;
  if (elsewhere.length > 0)
    return `${missing}; there is one in namespace ${elsewhere.join(', ')}: ${name}.${elsewhere[0]}.svc.${zone}`;
  const names = services.flatMap(({ metadata }) => (metadata.namespace === namespace ? (metadata.name ?? []) : []));
  return `${missing}${didYouMean(name, names)}`;
}

function explainOwn(
  own: string,
  service: Service,
  slices: readonly EndpointSlice[],
  type: string,
  found: boolean,
): Explanation {
  const spec = service.spec ?? {};
  if (spec.type === 'ExternalName')
    return { objects: [own], why: `${own} is an ExternalName: another name for ${spec.externalName ?? 'nothing'}` };
  const [ready, all] = countEndpoints(slices);
  const objects = [own, ...slices.map(sliceName)];
  const endpoints = endpointText(ready, all, service, slices);
  if (spec.clusterIP === 'None') {
    if (found) return { objects, why: `${own} is headless: the addresses of its ${plural(ready, 'ready endpoint')}` };
    return ready === 0
      ? { objects, why: `${own} exists and is headless, but ${endpoints}: such a name does not exist in DNS` }
      : { objects, why: `${own} is headless, and its ready endpoints have no ${type} record` };
  }
  const warning =
    ready === 0 ? `; but ${endpoints}: connections to it are refused` : `, with ${plural(ready, 'ready endpoint')}`;
  if (found) return { objects, why: `the address of ${own}${warning}` };
  const families = spec.ipFamilies?.join(' and ') ?? 'IPv4';
  const address =
    type === 'A' || type === 'AAAA' ? `${own} has addresses of ${families} only` : `${own} has no ${type} record`;
  return { objects: [own], why: address };
}

function explainBelow(
  own: string,
  service: Service,
  slices: readonly EndpointSlice[],
  below: readonly string[],
  found: boolean,
): Explanation {
  const [first = '', second = ''] = below;
  const objects = [own, ...slices.map(sliceName)];
  if (first.startsWith('_')) {
    const ports = (service.spec?.ports ?? []).map((port) => `${port.name ?? '(no name)'}/${port.protocol ?? 'TCP'}`);
    const wanted = `${first.slice(1)}/${second.replace(/^_/, '').toUpperCase()}`;
    return found
      ? { objects, why: `the port ${wanted} of ${own}` }
      : { objects, why: `${own} has no port ${wanted}; it has ${ports.join(', ') || 'none'}` };
  }
  const endpoints = slices.flatMap((slice) => slice.endpoints ?? []);
  const named = (one: (typeof endpoints)[number]): string[] => [
    ...(one.hostname === undefined ? [] : [one.hostname]),
    ...one.addresses.map((address) => address.replaceAll(/[.:]/g, '-')),
  ];
  const match = endpoints.find((one) => named(one).includes(first));
  if (match === undefined) {
    const names = endpoints.map((one) => named(one)[0] ?? '').slice(0, 5);
    return { objects, why: `${own} has no endpoint ${first}; it has ${names.join(', ') || 'none'}` };
  }
  const pod = match.targetRef?.kind === 'Pod' ? `Pod ${match.targetRef.namespace}/${match.targetRef.name}` : first;
  return found
    ? { objects: [...objects, pod], why: `the address of ${pod}, an endpoint of ${own}` }
    : { objects: [...objects, pod], why: `${pod} is an endpoint of ${own}, but it is not ready` };
}

function explainPod({ namespaces }: NamedObjects, labels: readonly string[], found: boolean): Explanation {
  const [address = '', namespace = ''] = labels;
  if (labels.length === 3 && !namespaces.some(({ metadata }) => metadata.name === namespace))
    return plain(noNamespace(namespaces, namespace));
  if (found) return plain('the address is in the name itself; the pod was not looked for (pods insecure)');
  return plain(
    `${address} is no address with dashes such as 10-244-1-2, or the Corefile has pods disabled or verified`,
  );
}

const sliceName = ({ metadata }: EndpointSlice): string => `EndpointSlice ${metadata.namespace}/${metadata.name}`;

function countEndpoints(slices: readonly EndpointSlice[]): [ready: number, all: number] {
  const endpoints = slices.flatMap((slice) => slice.endpoints ?? []);
  return [endpoints.filter(({ conditions }) => conditions?.ready ?? true).length, endpoints.length];
}

/** What is wrong with the endpoints of a Service that has no ready one. */
function endpointText(ready: number, all: number, service: Service, slices: readonly EndpointSlice[]): string {
  if (ready > 0) return plural(ready, 'ready endpoint');
  const selector = Object.entries(service.spec?.selector ?? {}).map(([key, value]) => `${key}=${value}`);
  if (all === 0)
    return selector.length === 0
      ? 'it has no selector and no endpoints'
      : `it has no endpoints: its selector ${selector.join(',')} matches no running pod`;
  const names = slices.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ targetRef }) => targetRef?.name ?? []));
  return `none of its ${plural(all, 'endpoint')} is ready${names.length > 0 ? ` (${names.slice(0, 3).join(', ')})` : ''}`;
}

const plural = (count: number, thing: string): string => `${count} ${thing}${count === 1 ? '' : 's'}`;

/** `; did you mean x?` where a name is like one that there is. */
export function didYouMean(text: string, known: readonly string[]): string {
  const near = known
    .map((name) => ({ name, distance: editDistance(text, name) }))
    .filter(({ name, distance }) => distance <= Math.max(1, Math.floor(Math.max(text.length, name.length) / 3)))
    .sort((a, b) => a.distance - b.distance)[0];
  return near === undefined ? '' : `; did you mean ${near.name}?`;
}

/** How many letters have to be changed, added or taken away (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
