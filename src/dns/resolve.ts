// Decides the answer to a question from the table: NOERROR, no data or no such name, as CoreDNS gives them. Pure.
import { type Ip, parseIp } from '../net/address.ts';
import { type DnsRecord, type Name, type RecordData, rcode, type } from './records.ts';
import { addressOfReverse, addressRecord, endpointLabel, type ServiceEntry } from './service-entry.ts';
import type { ServiceTable } from './service-table.ts';

/** What the server is responsible for. */
export interface ZoneView {
  /** The cluster domain, `cluster.local`. */
  readonly zone: Name;
  readonly ttl: number;
  readonly serial: number;
  readonly table: ServiceTable;
  /** The Service of the name servers of the zone; default kube-dns in kube-system. */
  readonly nameService?: { readonly namespace: string; readonly name: string };
  /** Whether addresses with dashes below `pod.ZONE` have names: default for any address (`insecure`). */
  readonly pods?: 'disabled' | 'insecure' | 'verified';
  /** For `pods: verified`: whether a pod of that namespace has the address. */
  podHasAddress?(namespace: string, ip: Ip): boolean;
  namespaceExists(name: string): boolean;
}

export interface Resolution {
  readonly rcode: number;
  readonly answers: readonly DnsRecord[];
  readonly authorities: readonly DnsRecord[];
  readonly additionals: readonly DnsRecord[];
  /** The alias leads out of the zone: its target is to be asked elsewhere and added. */
  readonly chase?: Name;
}

/** The version of the specification that this server keeps (`dns-version.<zone>`). */
const schemaVersion = '1.1.0';
const versionTtl = 28_800;
const longestChain = 8;

export const isWithin = (name: Name, zone: Name): boolean => name === zone || name.endsWith(`.${zone}`);

/** The answer, or undefined where the name is none of ours and others must be asked. */
export function resolve(view: ZoneView, name: Name, qtype: number): Resolution | undefined {
  if (isWithin(name, view.zone)) return resolveInZone(view, name, qtype);
  // Reverse names that no Service has fall through to the upstreams.
  const ip = addressOfReverse(name);
  const names = ip === undefined ? [] : namesOfAddress(view, ip);
  if (names.length === 0) return undefined;
  return qtype === type.PTR ? result(records(view, name, names)) : noData(view);
}

/** What a Service's address, or else an endpoint's, is called. */
function namesOfAddress({ table, zone }: ZoneView, ip: Ip): RecordData[] {
  const owners = table.byAddress(ip);
  const service = owners.find(({ ips }) => ips.includes(ip));
  const targets =
    service === undefined
      ? owners.flatMap((entry) =>
          entry.endpoints.filter((one) => one.ip === ip).map((one) => `${endpointLabel(one)}.${nameOf(entry, zone)}`),
        )
      : [nameOf(service, zone)];
  return [...new Set(targets)].map((target) => ({ type: 'PTR', target }));
}

function resolveInZone(view: ZoneView, name: Name, qtype: number): Resolution {
  const labels = name === view.zone ? [] : name.slice(0, -view.zone.length - 1).split('.');
  switch (labels.at(-1)) {
    case undefined:
      return resolveApex(view, name, qtype);
    case 'dns-version': {
      if (labels.length > 1) return noSuchName(view);
      const version: DnsRecord = { name, ttl: versionTtl, data: { type: 'TXT', text: schemaVersion } };
      return qtype === type.TXT ? result([version]) : noData(view);
    }
    case 'svc':
      return labels.length < 3 ? resolveFolder(view, labels) : resolveService(view, name, labels, qtype);
    case 'pod':
      return labels.length < 3 ? resolveFolder(view, labels) : resolvePod(view, name, labels, qtype);
    default:
      return noSuchName(view);
  }
}

function resolveApex(view: ZoneView, name: Name, qtype: number): Resolution {
  if (qtype === type.SOA) return result(records(view, name, [soa(view)]));
  if (qtype !== type.NS) return noData(view);
  const own = view.nameService ?? { namespace: 'kube-system', name: 'kube-dns' };
  const service = view.table.get(own.namespace, own.name);
  const target = service === undefined ? `ns.dns.${view.zone}` : nameOf(service, view.zone);
  const ips = service === undefined ? [] : addressesOf(service);
  return result(records(view, name, [{ type: 'NS', target }]), records(view, target, unique(ips.map(addressRecord))));
}

/** `svc`, `pod`, `NAMESPACE.svc`, `NAMESPACE.pod`: they exist and hold nothing. */
function resolveFolder(view: ZoneView, [namespace, kind]: readonly string[]): Resolution {
  return kind === undefined || view.namespaceExists(namespace ?? '') ? noData(view) : noSuchName(view);
}

function resolveService(view: ZoneView, name: Name, labels: readonly string[], qtype: number): Resolution {
  const [service = '', namespace = ''] = labels.slice(-3);
  const entry = view.table.get(namespace, service);
  if (entry === undefined) return noSuchName(view);
  const found = recordsOfService(entry, labels.slice(0, -3), view.zone);
  if (found === undefined) return noSuchName(view);
  const [first] = found;
  if (first?.type === 'CNAME') return followAlias(view, name, first.target, qtype);
  const wanted = found.filter((data) => type[data.type] === qtype);
  return wanted.length === 0 ? noData(view) : result(records(view, name, wanted), glue(view, entry, wanted));
}

/** What a name at or below a Service holds; undefined where it does not exist, empty where only names below it do. */
function recordsOfService(entry: ServiceEntry, below: readonly string[], zone: Name): RecordData[] | undefined {
  if (below.length === 0) return recordsOfName(entry, zone);
  if (entry.kind === 'alias' || below.length > 2) return undefined;
  const [first = '', second] = below;
  if (second === undefined) {
    const found = entry.endpoints.filter((one) => endpointLabel(one) === first);
    if (found.length > 0) return unique(found.map(({ ip }) => addressRecord(ip)));
    return portsOf(entry).some(({ name, protocol }) => name !== '' && `_${protocol}` === first) ? [] : undefined;
  }
  const found = locations(entry, zone, ({ name, protocol }) => `_${name}` === first && `_${protocol}` === second);
  return found.length === 0 || first === '_' ? undefined : found;
}

function recordsOfName(entry: ServiceEntry, zone: Name): RecordData[] {
  if (entry.kind === 'alias') return [{ type: 'CNAME', target: entry.target }];
  return [...unique(addressesOf(entry).map(addressRecord)), ...locations(entry, zone, () => true)];
}

const addressesOf = (entry: ServiceEntry): readonly Ip[] =>
  entry.kind === 'headless' ? entry.endpoints.map(({ ip }) => ip) : entry.ips;

const portsOf = (entry: ServiceEntry): ServiceEntry['ports'] =>
  entry.kind === 'headless' ? entry.endpoints.flatMap(({ ports }) => ports) : entry.ports;

/** SRV records; their weight is the share of each address and port, as with CoreDNS. */
function locations(
  entry: ServiceEntry,
  zone: Name,
  wanted: (port: ServiceEntry['ports'][number]) => boolean,
): RecordData[] {
  const own = nameOf(entry, zone);
  const places =
    entry.kind === 'headless'
      ? entry.endpoints.flatMap((one) =>
          one.ports.filter(wanted).map(({ number }) => ({ number, target: `${endpointLabel(one)}.${own}` })),
        )
      : entry.ports.filter(wanted).flatMap(({ number }) => entry.ips.map(() => ({ number, target: own })));
  const weight = Math.max(1, Math.floor(100 / Math.max(1, places.length)));
  const distinct = new Map(places.map((place) => [`${place.number} ${place.target}`, place]));
  return [...distinct.values()].map(({ number, target }) => ({
    type: 'SRV',
    priority: 0,
    weight,
    port: number,
    target,
  }));
}

/** `10-244-1-2.NAMESPACE.pod.ZONE`: the address is in the name itself. */
function resolvePod(view: ZoneView, name: Name, labels: readonly string[], qtype: number): Resolution {
  const [text = '', namespace = ''] = labels;
  if (labels.length > 3 || view.pods === 'disabled' || !view.namespaceExists(namespace)) return noSuchName(view);
  const ip = parseIp(/^\d+-\d+-\d+-\d+$/.test(text) ? text.replaceAll('-', '.') : text.replaceAll('-', ':'));
  if (ip === undefined) return noSuchName(view);
  if (view.pods === 'verified' && view.podHasAddress?.(namespace, ip) !== true) return noSuchName(view);
  const data = addressRecord(ip);
  return type[data.type] === qtype ? result(records(view, name, [data])) : noData(view);
}

/** What clients ask for next: the addresses that locations lead to. */
function glue(view: ZoneView, entry: ServiceEntry, found: readonly RecordData[]): DnsRecord[] {
  const targets = new Set(found.flatMap((data) => (data.type === 'SRV' ? [data.target] : [])));
  if (targets.size === 0) return [];
  const own = nameOf(entry, view.zone);
  if (entry.kind !== 'headless') return records(view, own, unique(entry.ips.map(addressRecord)));
  const known = new Map<string, DnsRecord>();
  for (const endpoint of entry.endpoints) {
    const name = `${endpointLabel(endpoint)}.${own}`;
    if (targets.has(name))
      known.set(`${name} ${endpoint.ip}`, { name, ttl: view.ttl, data: addressRecord(endpoint.ip) });
  }
  return [...known.values()];
}

/** ExternalName: the alias, then what it leads to within the zone. */
function followAlias(view: ZoneView, start: Name, first: Name, qtype: number): Resolution {
  const answers: DnsRecord[] = [];
  let name = start;
  let target = first;
  for (let step = 0; step < longestChain; step++) {
    answers.push({ name, ttl: view.ttl, data: { type: 'CNAME', target } });
    if (qtype === type.CNAME) return result(answers);
    if (!isWithin(target, view.zone)) return { ...result(answers), chase: target };
    const next = aliasOf(view, target);
    if (next === undefined) {
      const end = resolveInZone(view, target, qtype);
      return { ...end, answers: [...answers, ...end.answers] };
    }
    name = target;
    target = next;
  }
  return { ...result([]), rcode: rcode.serverFailure };
}

function aliasOf({ table, zone }: ZoneView, name: Name): Name | undefined {
  const [service = '', namespace = '', kind, ...rest] = name.slice(0, -zone.length - 1).split('.');
  const entry = kind === 'svc' && rest.length === 0 ? table.get(namespace, service) : undefined;
  return entry?.kind === 'alias' ? entry.target : undefined;
}

const nameOf = ({ name, namespace }: ServiceEntry, zone: Name): Name => `${name}.${namespace}.svc.${zone}`;

const records = ({ ttl }: ZoneView, name: Name, found: readonly RecordData[]): DnsRecord[] =>
  found.map((data) => ({ name, ttl, data }));

function unique(found: readonly RecordData[]): RecordData[] {
  return found.length < 2
    ? [...found]
    : [...new Map(found.map((data) => ['ip' in data ? data.ip : '', data])).values()];
}

const result = (answers: readonly DnsRecord[], additionals: readonly DnsRecord[] = []): Resolution => ({
  rcode: rcode.noError,
  answers,
  authorities: [],
  additionals,
});

const soa = ({ zone, serial, ttl }: ZoneView): RecordData => ({
  type: 'SOA',
  mname: `ns.dns.${zone}`,
  rname: `hostmaster.${zone}`,
  serial,
  timers: [7200, 1800, 86_400, ttl],
});

/** The name exists, but not with this type. musl's resolver ends its search walk here, as the specification wants it. */
const noData = (view: ZoneView): Resolution => ({
  ...result([]),
  authorities: [{ name: view.zone, ttl: view.ttl, data: soa(view) }],
});

const noSuchName = (view: ZoneView): Resolution => ({ ...noData(view), rcode: rcode.noSuchName });
