import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service, ServiceSpec } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import { type DnsRecord, type } from './records.ts';
import { resolve, type ZoneView } from './resolve.ts';
import { reverseName, serviceEntry } from './service-entry.ts';
import { ServiceTable } from './service-table.ts';

const zone = 'cluster.local';
const service = (name: string, spec: ServiceSpec): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec,
});
type Ready = { ready?: boolean; hostname?: string };
const slice = (
  name: string,
  endpoints: [ip: string, more?: Ready][],
  ports: EndpointSlice['ports'] = [],
): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name: `${name}-1`, namespace: 'default' },
  addressType: endpoints[0]?.[0].includes(':') ? 'IPv6' : 'IPv4',
  ports,
  endpoints: endpoints.map(([ip, { ready = true, hostname } = {}]) => ({
    addresses: [ip],
    conditions: { ready },
    ...(hostname === undefined ? {} : { hostname }),
  })),
});
const sql = [{ name: 'sql', port: 3306, protocol: 'TCP' }];

const table = new ServiceTable();
for (const [object, slices] of [
  [
    service('web', {
      clusterIP: '10.96.0.1',
      ports: [
        { name: 'http', port: 80 },
        { port: 81, name: 'alt' },
      ],
    }),
    [],
  ],
  [service('dual', { clusterIP: '10.96.0.2', clusterIPs: ['10.96.0.2', 'fd96::2'], ports: [{ port: 80 }] }), []],
  [
    service('db', { clusterIP: 'None', ports: [{ name: 'sql', port: 3306 }] }),
    [slice('db', [['10.244.1.2', { hostname: 'db-0' }], ['10.244.1.3'], ['10.244.1.4', { ready: false }]], sql)],
  ],
  [service('six', { clusterIP: 'None' }), [slice('six', [['fd44::1']])]],
  [service('idle', { clusterIP: 'None' }), [slice('idle', [['10.244.1.9', { ready: false }]])]],
  [service('out', { type: 'ExternalName', externalName: 'Example.COM.' }), []],
  [service('alias', { type: 'ExternalName', externalName: 'web.default.svc.cluster.local' }), []],
  [service('loop', { type: 'ExternalName', externalName: 'loop.default.svc.cluster.local' }), []],
] as [Service, EndpointSlice[]][])
  table.set('default', object.metadata.name ?? '', serviceEntry(object, slices));

const view: ZoneView = { zone, ttl: 30, serial: 1, table, namespaceExists: (name) => name === 'default' };

const show = ({ data }: DnsRecord): string => {
  if (data.type === 'SRV') return `SRV ${data.weight} ${data.port} ${data.target}`;
  if ('ip' in data) return `${data.type} ${data.ip}`;
  if ('target' in data) return `${data.type} ${data.target}`;
  return data.type === 'TXT' ? `TXT ${data.text}` : data.type;
};

const noData = 'no data';
const noName = 'no such name';
// As the tables of CoreDNS (plugin/kubernetes/*_test.go) have them.
const cases: [name: string, type: keyof typeof type, expected: string | string[]][] = [
  ['web.default.svc', 'A', ['A 10.96.0.1']],
  ['web.default.svc', 'AAAA', noData],
  ['web.default.svc', 'TXT', noData],
  ['web.default.svc', 'ANY', noData],
  ['dual.default.svc', 'AAAA', ['AAAA fd96::2']],
  ['_http._tcp.web.default.svc', 'SRV', ['SRV 100 80 web.default.svc.cluster.local']],
  ['web.default.svc', 'SRV', ['SRV 50 80 web.default.svc.cluster.local', 'SRV 50 81 web.default.svc.cluster.local']],
  ['_none._tcp.web.default.svc', 'SRV', noName],
  ['db.default.svc', 'A', ['A 10.244.1.2', 'A 10.244.1.3']],
  ['db-0.db.default.svc', 'A', ['A 10.244.1.2']],
  ['10-244-1-3.db.default.svc', 'A', ['A 10.244.1.3']],
  ['10-244-1-4.db.default.svc', 'A', noName],
  [
    '_sql._tcp.db.default.svc',
    'SRV',
    ['SRV 50 3306 db-0.db.default.svc.cluster.local', 'SRV 50 3306 10-244-1-3.db.default.svc.cluster.local'],
  ],
  ['six.default.svc', 'A', noData],
  ['fd44--1.six.default.svc', 'AAAA', ['AAAA fd44::1']],
  ['idle.default.svc', 'A', noName],
  ['out.default.svc', 'A', ['CNAME example.com']],
  ['child.out.default.svc', 'A', noName],
  ['alias.default.svc', 'A', ['CNAME web.default.svc.cluster.local', 'A 10.96.0.1']],
  ['alias.default.svc', 'CNAME', ['CNAME web.default.svc.cluster.local']],
  ['none.default.svc', 'A', noName],
  ['web.none.svc', 'A', noName],
  ['*.default.svc', 'A', noName],
  ['default.svc', 'A', noData],
  ['none.svc', 'A', noName],
  ['svc', 'A', noData],
  ['pod', 'A', noData],
  ['default.pod', 'A', noData],
  ['1-2-3-4.default.pod', 'A', ['A 1.2.3.4']],
  ['1-2-3-4.default.pod', 'AAAA', noData],
  ['fd00--1.default.pod', 'AAAA', ['AAAA fd00::1']],
  ['1-2-3-4.none.pod', 'A', noName],
  ['1-2-3-400.default.pod', 'A', noName],
  ['dns-version', 'TXT', ['TXT 1.1.0']],
  ['dns-version', 'A', noData],
];

for (const [name, qtype, expected] of cases)
  test(`${qtype} ${name}`, () => {
    const found = resolve(view, `${name}.${zone}`, type[qtype]) ?? assert.fail('not ours');
    const negative = found.rcode === 3 ? noName : noData;
    assert.deepEqual(found.answers.length === 0 ? negative : found.answers.map(show), expected);
    if (found.answers.length === 0) assert.deepEqual(found.authorities.map(show), ['SOA']);
  });

test('the apex has SOA and NS, and nothing else', () => {
  assert.deepEqual(resolve(view, zone, type.SOA)?.answers.map(show), ['SOA']);
  assert.deepEqual(resolve(view, zone, type.NS)?.answers.map(show), ['NS ns.dns.cluster.local']);
  assert.equal(resolve(view, zone, type.A)?.rcode, 0);
});

test('addresses lead back to the names of Services and endpoints; unknown ones are for others', () => {
  const back = (ip: string) => resolve(view, reverseName(asIp(ip)), type.PTR)?.answers.map(show);
  assert.deepEqual(back('10.96.0.1'), ['PTR web.default.svc.cluster.local']);
  assert.deepEqual(back('fd96::2'), ['PTR dual.default.svc.cluster.local']);
  assert.deepEqual(back('10.244.1.2'), ['PTR db-0.db.default.svc.cluster.local']);
  assert.equal(back('10.9.9.9'), undefined);
});

test('names outside of the zone are for others, those that only end alike too', () => {
  assert.equal(resolve(view, 'example.com', type.A), undefined);
  assert.equal(resolve(view, 'notcluster.local', type.A), undefined);
});

test('an external name that is no host name has no record', () => {
  for (const externalName of ['a..b', `${'x'.repeat(64)}.example`, 'a b', '', '192.0.2.1'])
    assert.equal(serviceEntry(service('bad', { type: 'ExternalName', externalName }), []), undefined);
});

test('an alias to itself is a server failure, not a loop', () => {
  assert.equal(resolve(view, `loop.default.svc.${zone}`, type.A)?.rcode, 2);
});

test('SRV targets come with their addresses', () => {
  const found = resolve(view, `_sql._tcp.db.default.svc.${zone}`, type.SRV);
  assert.deepEqual(found?.additionals.map(show), ['A 10.244.1.2', 'A 10.244.1.3']);
});

test('the table knows whose address it is, through all changes', () => {
  const names = fc.constantFrom('a', 'b', 'c');
  const ips = fc.uniqueArray(
    fc.nat(5).map((value) => `10.0.0.${value}`),
    { maxLength: 3 },
  );
  const change = fc.record({ name: names, ips, headless: fc.boolean() });
  fc.assert(
    fc.property(fc.array(change, { maxLength: 12 }), (changes) => {
      const mixed = new ServiceTable();
      const last = new Map<string, readonly string[]>();
      for (const { name, ips: own, headless } of changes) {
        const spec = headless ? { clusterIP: 'None' } : { clusterIP: own[0] ?? '', clusterIPs: [...own] };
        const slices = headless
          ? [
              slice(
                name,
                own.map((ip) => [ip]),
              ),
            ]
          : [];
        mixed.set('default', name, serviceEntry(service(name, spec), slices));
        last.set(name, own);
      }
      for (let value = 0; value < 6; value++) {
        const ip = asIp(`10.0.0.${value}`);
        const owners = [...last].filter(([, own]) => own.includes(ip)).map(([name]) => name);
        assert.deepEqual(
          mixed
            .byAddress(ip)
            .map(({ name }) => name)
            .sort(),
          owners.sort(),
        );
      }
    }),
  );
});
