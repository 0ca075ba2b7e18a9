// What a Service of type LoadBalancer asks for: families, addresses, a pool, sharing. Pure.
import { loadBalancerAnnotation, loadBalancerClass } from '../k8s/load-balancer.ts';
import type { Service } from '../k8s/types.generated.ts';
import { type Family, familyOf, type Ip, parseIp } from '../net/address.ts';

export interface AddressRequest {
  /** The main one first. */
  readonly families: readonly Family[];
  /** Whether fewer families than these are of no use. */
  readonly needsAll: boolean;
  /** The addresses that it must be; any where empty. */
  readonly addresses: readonly Ip[];
  /** The name of a pool, or `namespace/name`. */
  readonly pool?: string;
}

/** On what terms a Service shares its address with others. */
export interface SharingTerms {
  /** Both must have the same key; undefined shares with nobody. */
  readonly key?: string;
  /** `TCP/80`: no two may have the same. */
  readonly ports: readonly string[];
  /** Where packets go on a node: empty under the policy Cluster, else the pods; both must have the same. */
  readonly backends: string;
}

/** Whether the Service is to have an address of Weft's. A Service that is being deleted is not. */
export function wantsAddress({ metadata, spec }: Service): boolean {
  const { type, loadBalancerClass: of = loadBalancerClass } = spec ?? {};
  return type === 'LoadBalancer' && of === loadBalancerClass && metadata.deletionTimestamp === undefined;
}

/** The prefix under which MetalLB had its annotations before version 0.15. */
const formerPrefix = 'metallb.universe.tf/';

function annotation({ metadata }: Service, name: string): string | undefined {
  const { annotations = {} } = metadata;
  const text = annotations[name] ?? annotations[name.replace('metallb.io/', formerPrefix)];
  return text === undefined || text.trim() === '' ? undefined : text.trim();
}

/** What the Service asks for; a text that says what is wrong where that cannot be. */
export function readRequest(service: Service): AddressRequest | string {
  const { spec = {} } = service;
  const families = familiesOf(service);
  const asked = annotation(service, loadBalancerAnnotation.addresses);
  if (asked !== undefined && spec.loadBalancerIP !== undefined)
    return `spec.loadBalancerIP and the annotation ${loadBalancerAnnotation.addresses} are both given: choose one`;
  const where = asked === undefined ? 'spec.loadBalancerIP' : `the annotation ${loadBalancerAnnotation.addresses}`;
  const addresses: Ip[] = [];
  for (const text of (asked ?? spec.loadBalancerIP ?? '').split(',').flatMap((part) => part.trim() || [])) {
    const address = parseIp(text);
    if (address === undefined) return `${where}: '${text}' is not an IP address`;
    const family = familyOf(address);
    if (!families.includes(family))
      return `${where}: ${address} is ${family}, and the Service is ${families.join('/')}`;
    if (addresses.some((other) => familyOf(other) === family)) return `${where}: there are two ${family} addresses`;
    addresses.push(address);
  }
  const needsAll = spec.ipFamilyPolicy !== 'PreferDualStack';
  if (addresses.length > 0 && needsAll && addresses.length < families.length)
    return `${where}: the Service needs an address of ${families.join(' and of ')}`;
  const pool = annotation(service, loadBalancerAnnotation.pool);
  return {
    families: addresses.length > 0 ? addresses.map(familyOf) : families,
    needsAll: needsAll || addresses.length > 0,
    addresses,
    ...(pool !== undefined && { pool }),
  };
}

function familiesOf({ spec = {} }: Service): Family[] {
  const named = (spec.ipFamilies ?? []).flatMap((text): Family[] => (text === 'IPv4' || text === 'IPv6' ? [text] : []));
  if (named.length > 0) return named;
  const addresses = spec.clusterIPs ?? [spec.clusterIP ?? ''];
  return [...new Set(addresses.flatMap((text) => parseIp(text) ?? []).map(familyOf))];
}

export function sharingTerms(service: Service): SharingTerms {
  const { ports = [], externalTrafficPolicy, selector = {} } = service.spec ?? {};
  const key = annotation(service, loadBalancerAnnotation.sharing);
  return {
    ...(key !== undefined && { key }),
    ports: ports.map(({ protocol = 'TCP', port }) => `${protocol}/${port}`),
    backends: externalTrafficPolicy === 'Local' ? JSON.stringify(Object.entries(selector).sort()) : '',
  };
}

/** Why two Services cannot have one address; undefined where they can. */
export function sharingConflict(one: SharingTerms, other: SharingTerms): string | undefined {
  if (one.key === undefined || one.key !== other.key)
    return `both need the same annotation ${loadBalancerAnnotation.sharing} to share it`;
  const port = one.ports.find((each) => other.ports.includes(each));
  if (port !== undefined) return `both have the port ${port}`;
  if (one.backends !== other.backends)
    return 'both need externalTrafficPolicy Cluster, or Local and the same selector, to share it';
  return undefined;
}

/** The addresses that a Service has by its status. */
export function addressesOf({ status }: Service): Ip[] {
  return (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => parseIp(ip ?? '') ?? []);
}
