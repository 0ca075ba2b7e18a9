// Decides what DNS has to know of a Service (Kubernetes DNS-Based Service Discovery 1.1.0; details as CoreDNS). Pure.
import type { Endpoint, EndpointSlice, Service } from '../k8s/types.generated.ts';
import { familyOf, type Ip, ipToBigInt, parseIp } from '../net/address.ts';
import type { Name, RecordData } from './records.ts';

export interface ServicePort {
  /** Empty where it has none: then there is no name `_port._protocol` for it. */
  readonly name: string;
  /** In lower case, as in names. */
  readonly protocol: string;
  readonly number: number;
}

export interface ServiceEndpoint {
  /** Its own label, where it is not its address with dashes. */
  readonly label?: string;
  readonly ip: Ip;
  readonly ports: readonly ServicePort[];
}

/** What the names of a Service are made of. An object of this type never changes. */
export interface ServiceEntry {
  readonly namespace: string;
  readonly name: string;
  /** `alias`: an ExternalName. `headless`: its addresses are those of its endpoints. */
  readonly kind: 'address' | 'headless' | 'alias';
  /** Where an alias leads to; empty for the others. */
  readonly target: Name;
  readonly ips: readonly Ip[];
  readonly ports: readonly ServicePort[];
  /** The ready ones. */
  readonly endpoints: readonly ServiceEndpoint[];
}

export interface EntryOptions {
  /** False: endpoints have no names, and headless Services neither. */
  readonly endpoints?: boolean;
  /** Endpoints without a hostname are named after their pods. */
  readonly endpointPodNames?: boolean;
  /** A Service with an address but without a ready endpoint has no name. */
  readonly ignoreEmptyServices?: boolean;
}

const label = /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/;
const isHostname = (text: string): boolean => text.length <= 253 && text.split('.').every((part) => label.test(part));
const noPorts: readonly ServicePort[] = [];

/** What DNS knows of a Service, or undefined where it has no name (a headless one without a ready endpoint has none). */
export function serviceEntry(
  service: Service,
  slices: readonly EndpointSlice[],
  options: EntryOptions = {},
): ServiceEntry | undefined {
  const { name = '', namespace = '' } = service.metadata;
  const spec = service.spec ?? {};
  const base = { namespace, name, target: '', ips: [], ports: noPorts, endpoints: [] };
  if (spec.type === 'ExternalName') {
    const target = (spec.externalName ?? '').toLowerCase().replace(/\.$/, '');
    // An address is no name: as with CoreDNS, there is no record then.
    return isHostname(target) && parseIp(target) === undefined ? { ...base, kind: 'alias', target } : undefined;
  }
  const endpoints = options.endpoints === false ? [] : distinct(slices.flatMap((slice) => endpointsOf(slice, options)));
  if (spec.clusterIP === 'None') return endpoints.length === 0 ? undefined : { ...base, kind: 'headless', endpoints };
  const ips = addresses(spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
  if (ips.length === 0 && endpoints.length === 0) return undefined;
  if (options.ignoreEmptyServices === true && !slices.some(hasReady)) return undefined;
  const ports = (spec.ports ?? []).map((port) => portOf(port.name, port.protocol, port.port));
  return { ...base, kind: 'address', ips, ports, endpoints };
}

const portOf = (name = '', protocol = 'TCP', number = 0): ServicePort => ({
  name: name.toLowerCase(),
  protocol: protocol.toLowerCase(),
  number,
});

const isReady = ({ conditions }: Endpoint): boolean => conditions?.ready ?? true;
const hasReady = (slice: EndpointSlice): boolean => (slice.endpoints ?? []).some(isReady);

/** The ready endpoints of a slice; they share one list of ports. */
function endpointsOf(slice: EndpointSlice, options: EntryOptions): ServiceEndpoint[] {
  const ports = (slice.ports ?? []).flatMap(({ name, protocol, port }) =>
    port === undefined ? [] : [portOf(name, protocol, port)],
  );
  return (slice.endpoints ?? []).filter(isReady).flatMap((endpoint) => {
    const given = givenLabel(endpoint, options);
    return addresses(endpoint.addresses).map(
      (ip): ServiceEndpoint => (given === undefined ? { ip, ports } : { label: given, ip, ports }),
    );
  });
}

function givenLabel({ hostname = '', targetRef }: Endpoint, { endpointPodNames }: EntryOptions): string | undefined {
  const wanted = hostname !== '' ? hostname : endpointPodNames === true ? (targetRef?.name ?? '') : '';
  const own = wanted.toLowerCase();
  return label.test(own) ? own : undefined;
}

/** While endpoints move from one slice to another, both may have them. */
function distinct(endpoints: readonly ServiceEndpoint[]): ServiceEndpoint[] {
  const seen = new Set<string>();
  return endpoints.filter((endpoint) => {
    const id = `${endpoint.ip} ${endpoint.label ?? ''} ${endpoint.ports.map(({ name, number }) => `${name}:${number}`)}`;
    return !seen.has(id) && seen.add(id);
  });
}

/** The endpoint's hostname, or its address with dashes: `10-0-0-2`, `fd00--1`. */
export const endpointLabel = ({ label: given, ip }: ServiceEndpoint): string => given ?? ip.replaceAll(/[.:]/g, '-');

export const addressRecord = (ip: Ip): RecordData => ({ type: familyOf(ip) === 'IPv4' ? 'A' : 'AAAA', ip });

const addresses = (texts: readonly string[]): Ip[] =>
  texts.map((text) => parseIp(text)).filter((ip): ip is Ip => ip !== undefined);

/** The name under which an address is looked up: in-addr.arpa, or ip6.arpa with a label for each half octet. */
export function reverseName(ip: Ip): Name {
  if (familyOf(ip) === 'IPv4') return `${ip.split('.').reverse().join('.')}.in-addr.arpa`;
  return `${[...ipToBigInt(ip).toString(16).padStart(32, '0')].reverse().join('.')}.ip6.arpa`;
}

/** The address that a reverse name stands for, or undefined where it is none of a whole address. */
export function addressOfReverse(name: Name): Ip | undefined {
  if (name.endsWith('.in-addr.arpa')) {
    const parts = name.slice(0, -'.in-addr.arpa'.length).split('.');
    const plain = parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part));
    return plain ? parseIp(parts.reverse().join('.')) : undefined;
  }
  if (!name.endsWith('.ip6.arpa')) return undefined;
  const digits = name.slice(0, -'.ip6.arpa'.length).split('.');
  if (digits.length !== 32 || !digits.every((digit) => /^[0-9a-f]$/.test(digit))) return undefined;
  const groups = digits.reverse().join('').match(/.{4}/g) ?? [];
  return parseIp(groups.join(':'));
}
