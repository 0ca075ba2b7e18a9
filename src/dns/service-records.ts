// Decides the DNS records of a Service (Kubernetes DNS-Based Service Discovery 1.1.0; details as CoreDNS has them). Pure.
import type { Endpoint, EndpointSlice, Service } from '../k8s/types.generated.ts';
import { familyOf, type Ip, ipToBigInt, parseIp } from '../net/address.ts';
import type { Name, RecordData } from './records.ts';

/** A record of the table; its time to live is that of the table. */
export interface TableRecord {
  readonly name: Name;
  readonly data: RecordData;
}

interface Port {
  readonly name: string;
  readonly protocol: string;
  readonly number: number;
}

const label = /^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?$/;
const isHostname = (text: string): boolean => text.length <= 253 && text.split('.').every((part) => label.test(part));

/** All records of a Service: for its name, its ports, its endpoints, and back from its addresses. */
export function serviceRecords(service: Service, slices: readonly EndpointSlice[], zone: Name): TableRecord[] {
  const { name = '', namespace = '' } = service.metadata;
  const spec = service.spec ?? {};
  const own = `${name}.${namespace}.svc.${zone}`;
  if (spec.type === 'ExternalName') {
    const target = (spec.externalName ?? '').toLowerCase().replace(/\.$/, '');
    return isHostname(target) ? [{ name: own, data: { type: 'CNAME', target } }] : [];
  }
  const endpoints = slices.flatMap((slice) => endpointRecords(slice, own));
  if (spec.clusterIP === 'None') {
    // Without a ready endpoint there is no record at all, and so the name does not exist.
    const found = unique([...endpoints.flatMap(({ records }) => records)]);
    const targets = endpoints.flatMap(({ target, ports }) => ports.map((port) => ({ port, target })));
    return unique([...found, ...endpoints.map(({ data }) => ({ name: own, data })), ...serviceLocations(own, targets)]);
  }
  const ips = addresses(spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
  const ports = (spec.ports ?? []).map((port) => ({
    name: port.name ?? '',
    protocol: port.protocol ?? 'TCP',
    number: port.port,
  }));
  return unique([
    ...ips.map((ip) => ({ name: own, data: addressRecord(ip) })),
    ...(ips.length === 0
      ? []
      : serviceLocations(
          own,
          ports.map((port) => ({ port, target: own })),
        )),
    ...ips.map((ip): TableRecord => ({ name: reverseName(ip), data: { type: 'PTR', target: own } })),
    ...endpoints.flatMap(({ records }) => records),
  ]);
}

/** SRV records at the Service's name (all ports) and at `_port._protocol` below it (named ports). */
function serviceLocations(own: Name, targets: readonly { port: Port; target: Name }[]): TableRecord[] {
  const byName = new Map<Name, Map<string, { port: Port; target: Name }>>();
  const add = (name: Name, entry: { port: Port; target: Name }): void => {
    const group = byName.get(name) ?? new Map<string, { port: Port; target: Name }>();
    group.set(`${entry.port.number} ${entry.target}`, entry);
    byName.set(name, group);
  };
  for (const entry of targets) {
    add(own, entry);
    if (entry.port.name !== '') add(`_${entry.port.name}._${entry.port.protocol.toLowerCase()}.${own}`, entry);
  }
  return [...byName].flatMap(([name, group]) =>
    [...group.values()].map(
      ({ port, target }): TableRecord => ({
        name,
        data: {
          type: 'SRV',
          priority: 0,
          weight: Math.max(1, Math.floor(100 / group.size)),
          port: port.number,
          target,
        },
      }),
    ),
  );
}

interface EndpointRecords {
  readonly target: Name;
  readonly data: RecordData;
  readonly ports: readonly Port[];
  readonly records: readonly TableRecord[];
}

/** The ready endpoints of a slice: each has a name of its own, forwards and back. */
function endpointRecords(slice: EndpointSlice, service: Name): EndpointRecords[] {
  const ports = (slice.ports ?? []).flatMap(({ name = '', protocol = 'TCP', port }) =>
    port === undefined ? [] : [{ name, protocol, number: port }],
  );
  return (slice.endpoints ?? [])
    .filter(({ conditions }) => conditions?.ready ?? true)
    .flatMap((endpoint) =>
      addresses(endpoint.addresses).map((ip): EndpointRecords => {
        const target = `${endpointLabel(endpoint, ip)}.${service}`;
        const data = addressRecord(ip);
        const back: TableRecord = { name: reverseName(ip), data: { type: 'PTR', target } };
        return { target, data, ports, records: [{ name: target, data }, back] };
      }),
    );
}

/** The endpoint's hostname, or its address with dashes: `10-0-0-2`, `fd00--1`. */
function endpointLabel({ hostname: given = '' }: Endpoint, ip: Ip): string {
  const own = given.toLowerCase();
  return label.test(own) ? own : ip.replaceAll(/[.:]/g, '-');
}

const addressRecord = (ip: Ip): RecordData => ({ type: familyOf(ip) === 'IPv4' ? 'A' : 'AAAA', ip });

const addresses = (texts: readonly string[]): Ip[] =>
  texts.map((text) => parseIp(text)).filter((ip): ip is Ip => ip !== undefined);

/** The name under which an address is looked up: in-addr.arpa, or ip6.arpa with a label for each half octet. */
export function reverseName(ip: Ip): Name {
  if (familyOf(ip) === 'IPv4') return `${ip.split('.').reverse().join('.')}.in-addr.arpa`;
  return `${[...ipToBigInt(ip).toString(16).padStart(32, '0')].reverse().join('.')}.ip6.arpa`;
}

function unique(records: readonly TableRecord[]): TableRecord[] {
  return [...new Map(records.map((record) => [`${record.name} ${JSON.stringify(record.data)}`, record])).values()];
}
