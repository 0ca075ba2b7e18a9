// Decides the answer to a question from the table: NOERROR, no data or no such name, as CoreDNS gives them. Pure.
import { familyOf, parseIp } from '../net/address.ts';
import type { RecordTable } from './record-table.ts';
import { type DnsRecord, type Name, type RecordData, rcode, type } from './records.ts';

/** What the server is responsible for. */
export interface ZoneView {
  /** The cluster domain, `cluster.local`. */
  readonly zone: Name;
  readonly ttl: number;
  readonly serial: number;
  readonly table: RecordTable;
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

const isWithin = (name: Name, zone: Name): boolean => name === zone || name.endsWith(`.${zone}`);

/** The answer, or undefined where the name is none of ours and others must be asked. */
export function resolve(view: ZoneView, name: Name, qtype: number): Resolution | undefined {
  if (isWithin(name, view.zone)) return resolveInZone(view, name, qtype);
  if (!name.endsWith('.in-addr.arpa') && !name.endsWith('.ip6.arpa')) return undefined;
  // Reverse names that no Service has fall through to the upstreams.
  const records = view.table.get(name);
  if (records === undefined || records.length === 0) return undefined;
  return qtype === type.PTR ? answered(view, name, records, qtype) : noData(view);
}

function resolveInZone(view: ZoneView, name: Name, qtype: number): Resolution {
  const { zone, table } = view;
  const records = table.get(name) ?? [];
  const alias = records.find((record) => record.type === 'CNAME');
  if (alias?.type === 'CNAME') return followAlias(view, name, alias.target, qtype);
  if (records.some((record) => type[record.type] === qtype)) return answered(view, name, records, qtype);
  const special = specialRecords(view, name, qtype);
  if (special !== undefined) return special;
  if (records.length > 0 || table.get(name) !== undefined) return noData(view);
  return exists(view, name, zone) ? noData(view) : noSuchName(view);
}

/** Names that exist without a Service: the zone's own, the namespaces and pods. */
function specialRecords(view: ZoneView, name: Name, qtype: number): Resolution | undefined {
  const { zone, ttl } = view;
  const one = (data: RecordData, seconds = ttl): Resolution => result([{ name, ttl: seconds, data }]);
  if (name === zone && qtype === type.SOA) return one(soa(view));
  if (name === zone && qtype === type.NS) return nameServers(view);
  if (name === `dns-version.${zone}`)
    return qtype === type.TXT ? one({ type: 'TXT', text: schemaVersion }, versionTtl) : noData(view);
  const pod = podAddress(view, name);
  if (pod === undefined) return undefined;
  const data: RecordData = { type: familyOf(pod) === 'IPv4' ? 'A' : 'AAAA', ip: pod };
  return type[data.type] === qtype ? one(data) : noData(view);
}

function exists({ namespaceExists }: ZoneView, name: Name, zone: Name): boolean {
  if (name === zone || name === `svc.${zone}` || name === `pod.${zone}`) return true;
  const [namespace, kind, ...rest] = name.slice(0, -zone.length - 1).split('.');
  return rest.length === 0 && (kind === 'svc' || kind === 'pod') && namespaceExists(namespace ?? '');
}

/** `10-244-1-2.NAMESPACE.pod.ZONE`: the address in the name itself, unverified (CoreDNS: pods insecure). */
function podAddress(view: ZoneView, name: Name): ReturnType<typeof parseIp> {
  const [label = '', namespace = '', kind, ...rest] = name.slice(0, -view.zone.length - 1).split('.');
  if (kind !== 'pod' || rest.length > 0 || !view.namespaceExists(namespace)) return undefined;
  return parseIp(/^\d+-\d+-\d+-\d+$/.test(label) ? label.replaceAll('-', '.') : label.replaceAll('-', ':'));
}

function answered(view: ZoneView, name: Name, records: readonly RecordData[], qtype: number): Resolution {
  const answers = records
    .filter((data) => type[data.type] === qtype)
    .map((data): DnsRecord => ({ name, ttl: view.ttl, data }));
  const targets = new Set(answers.flatMap(({ data }) => (data.type === 'SRV' ? [data.target] : [])));
  return result(
    answers,
    [...targets].flatMap((target) => addressesOf(view, target)),
  );
}

const addressesOf = (view: ZoneView, name: Name): DnsRecord[] =>
  (view.table.get(name) ?? [])
    .filter((data) => data.type === 'A' || data.type === 'AAAA')
    .map((data): DnsRecord => ({ name, ttl: view.ttl, data }));

/** ExternalName: the alias, then what it leads to within the zone. */
function followAlias(view: ZoneView, start: Name, first: Name, qtype: number): Resolution {
  const answers: DnsRecord[] = [];
  let name = start;
  let target = first;
  for (let step = 0; step < longestChain; step++) {
    answers.push({ name, ttl: view.ttl, data: { type: 'CNAME', target } });
    if (qtype === type.CNAME) return result(answers);
    if (!isWithin(target, view.zone)) return { ...result(answers), chase: target };
    const records = view.table.get(target) ?? [];
    const next = records.find((record) => record.type === 'CNAME');
    if (next?.type !== 'CNAME') {
      const end = resolveInZone(view, target, qtype);
      return { ...end, answers: [...answers, ...end.answers] };
    }
    name = target;
    target = next.target;
  }
  return { ...result([]), rcode: rcode.serverFailure };
}

function nameServers(view: ZoneView): Resolution {
  const service = `kube-dns.kube-system.svc.${view.zone}`;
  const glue = addressesOf(view, service);
  const target = glue.length > 0 ? service : `ns.dns.${view.zone}`;
  return result([{ name: view.zone, ttl: view.ttl, data: { type: 'NS', target } }], glue);
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
