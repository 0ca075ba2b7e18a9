import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp } from '../net/address.ts';
import { HotPath } from './hot-path.ts';
import { type } from './records.ts';
import { resolve, type ZoneView } from './resolve.ts';
import type { ServiceEndpoint, ServiceEntry } from './service-entry.ts';
import { ServiceTable } from './service-table.ts';
import {
  encodeName,
  questionEnd,
  readHeader,
  readName,
  readQuery,
  readRecords,
  writeQuery,
  writeReply,
} from './wire.ts';

const zone = 'cluster.local';
const base = { namespace: 'default', target: '', ips: [], ports: [], endpoints: [] } as const;
const sql = [{ name: 'sql', protocol: 'tcp', number: 3306 }];
const many: ServiceEndpoint[] = Array.from({ length: 100 }, (_, index) => ({
  ip: asIp(`10.244.1.${index}`),
  ports: sql,
}));

const table = new ServiceTable();
const add = (entry: ServiceEntry): void => table.set(entry.namespace, entry.name, entry);
add({
  ...base,
  name: 'web',
  kind: 'address',
  ips: [asIp('10.96.0.1')],
  ports: [{ name: 'http', protocol: 'tcp', number: 80 }],
});
add({ ...base, name: 'dual', kind: 'address', ips: [asIp('10.96.0.2'), asIp('fd96::2')], ports: [] });
add({
  ...base,
  name: 'db',
  kind: 'headless',
  endpoints: [...many.slice(0, 3), { label: 'db-0', ip: asIp('fd44::1'), ports: sql }],
});
add({ ...base, name: 'many', kind: 'headless', endpoints: many });
add({ ...base, name: 'dns', kind: 'address', ips: [asIp('10.96.0.3')], ports: [] });
add({ ...base, name: 'alias', kind: 'alias', target: 'web.default.svc.cluster.local' });
const view: ZoneView = { zone, ttl: 30, serial: 7, table, namespaceExists: (name) => name === 'default' };
const hot = new HotPath({ view, recursionAvailable: () => false, isOn: () => true });

const out = Buffer.alloc(65_535);
function ask(query: Buffer, transport: 'udp' | 'tcp' = 'udp'): Buffer | undefined {
  const length = hot.answer(query, 0, query.length, out, 0, transport);
  return length === 0 ? undefined : Buffer.from(out.subarray(0, length));
}

/** What a message says, in an order of its own: sections with names, types, data. */
function meaning(message: Buffer): unknown {
  const header = readHeader(message) ?? assert.fail('no header');
  const { answers, authorities, additionals } = header;
  const places = readRecords(message, questionEnd(message), answers + authorities + additionals).map((place) => {
    const named = [type.CNAME, type.PTR, type.NS, type.SOA].some((code) => code === place.type);
    const data = named ? readName(message, place.ttlAt + 6).name : place.data.toString('hex');
    return `${place.name} ${place.type} ${place.class} ${place.ttl} ${data}`;
  });
  const question = message.subarray(12, questionEnd(message)).toString('latin1');
  const [first, second] = [answers, answers + authorities];
  return [header, question, places.slice(0, first).sort(), places.slice(first, second), places.slice(second).sort()];
}

const names = [
  ...['web.default.svc', 'dual.default.svc', 'db.default.svc', 'db-0.db.default.svc', '10-244-1-1.db.default.svc'],
  ...[
    '_sql._tcp.db.default.svc',
    '_tcp.db.default.svc',
    '_http._tcp.web.default.svc',
    'many.default.svc',
    'none.default.svc',
  ],
  ...['x.dns.default.svc', 'dns.default.svc', 'dns', 'a.dns', 'hostmaster.x', 'example.com', 'web.none.svc', 'ns.dns'],
].map((name) => `${name}.${zone}`);

test('the hot path says what the whole protocol would say, to all names, types, sizes and transports', () => {
  const types = [type.A, type.AAAA, type.SRV, type.TXT, type.ANY, type.SOA, type.NS, 65];
  for (const name of names)
    for (const qtype of types)
      for (const [transport, size] of [
        ['udp', 0],
        ['udp', 512],
        ['udp', 4096],
        ['tcp', 0],
      ] as const) {
        const query = writeQuery(77, name, qtype);
        if (size > 0) query.writeUInt16BE(size, query.length - 8);
        const plain = size > 0 ? query : withoutOpt(query);
        const found = resolve(view, name, qtype) ?? assert.fail('not ours');
        const limit = transport === 'tcp' ? 65_535 : Math.min(Math.max(size, 512), 1232);
        const reply = { ...found, authoritative: true, recursionAvailable: false };
        const expected = writeReply(readQuery(plain), reply, limit);
        const given = ask(plain, transport) ?? assert.fail(`${name} ${qtype} is not answered`);
        const [own, other] = [meaning(given), meaning(expected)] as [unknown[], unknown[]];
        const isCut = ((readHeader(expected)?.flags ?? 0) & 0x200) !== 0 || given.length < expected.length;
        // What is cut may be cut elsewhere: turns differ, and additional records are left out as a whole.
        if (isCut) assert.deepEqual(own[1], other[1]);
        else assert.deepEqual(own, other, `${name} ${qtype} ${transport} ${size}`);
        assert.ok(given.length <= limit);
        assert.equal((readHeader(given)?.flags ?? 0) & 0x200, (readHeader(expected)?.flags ?? 0) & 0x200);
      }
});

function withoutOpt(query: Buffer): Buffer {
  const plain = Buffer.from(query.subarray(0, query.length - 11));
  plain.writeUInt16BE(0, 10);
  return plain;
}

test('the case of letters is that of the question, and does not matter', () => {
  const query = writeQuery(1, `WeB.Default.SVC.${zone}`, type.A);
  const answer = ask(query) ?? assert.fail('no answer');
  assert.equal(answer.toString('latin1', 13, 16), 'WeB');
  assert.equal(readHeader(answer)?.answers, 1);
});

test('addresses take turns in being the first', () => {
  const first = new Set(
    [1, 2, 3].map((id) => {
      const answer = ask(writeQuery(id, `db.default.svc.${zone}`, type.A)) ?? assert.fail('no answer');
      return readRecords(answer, questionEnd(answer), 3)[0]?.data.join('.');
    }),
  );
  assert.equal(first.size, 3);
});

test('aliases, other zones, other classes, transfers and odd messages are left to the responder', () => {
  const changed = (change: (query: Buffer) => void): Buffer => {
    const query = writeQuery(1, `web.default.svc.${zone}`, type.A);
    change(query);
    return query;
  };
  for (const query of [
    ...[`alias.default.svc.${zone}`, 'example.com', zone, `default.svc.${zone}`, `1-2-3-4.default.pod.${zone}`].map(
      (name) => writeQuery(1, name, type.A),
    ),
    writeQuery(1, `web.default.svc.${zone}`, type.AXFR),
    changed((query) => query.writeUInt16BE(3, questionEnd(query) - 2)),
    changed((query) => query.writeUInt8(1, query.length - 5)),
    changed((query) => query.writeUInt16BE(2, 4)),
    changed((query) => query.writeUInt8(0x80, 2)),
    changed((query) => query.writeUInt8(0x20, 2)),
    changed((query) => query.writeUInt16BE(1, 6)),
    Buffer.concat([changed(() => {}), Buffer.from([0])]),
  ])
    assert.equal(ask(query), undefined);
});

test('a change of a Service is in its next answer', () => {
  const own = new ServiceTable();
  const live = new HotPath({ view: { ...view, table: own }, recursionAvailable: () => false, isOn: () => true });
  const ip = (): string | undefined => {
    const query = writeQuery(1, `web.default.svc.${zone}`, type.A);
    const length = live.answer(query, 0, query.length, out, 0, 'udp');
    const [record] = readRecords(out.subarray(0, length), questionEnd(query), readHeader(out)?.answers ?? 0);
    return record?.data.join('.');
  };
  assert.equal(ip(), undefined);
  for (const last of ['10.96.0.7', '10.96.0.8']) {
    own.set('default', 'web', { ...base, name: 'web', kind: 'address', ips: [asIp(last)] });
    assert.equal(ip(), last);
  }
  own.set('default', 'web', undefined);
  assert.equal(ip(), undefined);
});

test('names of addresses are answered in the zones that are its own, as the whole protocol would, until the table changes', () => {
  const own = new ServiceTable();
  for (const entry of table.entries()) own.set(entry.namespace, entry.name, entry);
  const live = { ...view, table: own };
  const zones = ['in-addr.arpa', 'ip6.arpa'];
  const all = { view: live, recursionAvailable: () => false, isOn: () => true };
  const reversing = new HotPath({ ...all, reverseZones: () => zones });
  const given = (path: HotPath, name: string, qtype: number): Buffer | undefined => {
    const query = writeQuery(5, name, qtype);
    const length = path.answer(query, 0, query.length, out, 0, 'udp');
    return length === 0 ? undefined : Buffer.from(out.subarray(0, length));
  };
  const nibbles = `${'2.0.0.0.'.repeat(1)}${'0.'.repeat(24)}6.9.d.f`;
  for (const name of ['1.0.96.10.IN-ADDR.arpa', '1.1.244.10.in-addr.arpa', `${nibbles}.ip6.arpa`])
    for (const qtype of [type.PTR, type.TXT, type.PTR]) {
      const found = resolve(live, name.toLowerCase(), qtype) ?? assert.fail(`${name} is not ours`);
      const reply = { ...found, authoritative: true, recursionAvailable: false };
      const expected = writeReply(readQuery(writeQuery(5, name, qtype)), reply, 1232);
      const answer = given(reversing, name, qtype) ?? assert.fail(`${name} is not answered`);
      assert.deepEqual(meaning(answer), meaning(expected));
    }
  for (const name of ['9.9.9.9.in-addr.arpa', '96.10.in-addr.arpa', 'a.b.c.d.in-addr.arpa'])
    assert.equal(given(reversing, name, type.PTR), undefined);
  assert.equal(given(new HotPath(all), '1.0.96.10.in-addr.arpa', type.PTR), undefined);
  own.set('default', 'web', undefined);
  assert.equal(given(reversing, '1.0.96.10.in-addr.arpa', type.PTR), undefined);
});

test('a name of 255 octets with labels of 63 does not exist, as any other', () => {
  const long = [...['a', 'b', 'c'].map((letter) => letter.repeat(63)), 'd'.repeat(61 - zone.length - 1), zone].join(
    '.',
  );
  assert.equal(encodeName(long).length, 255);
  const answer = ask(writeQuery(1, long, type.A)) ?? assert.fail('no answer');
  assert.equal((readHeader(answer)?.flags ?? 0) & 0xf, 3);
});

test('no octets make it fail, and no answer is longer than asked for', () => {
  const seeds = names.map((name) => writeQuery(1, name, type.A));
  const mutation = fc.record({ at: fc.nat(80), value: fc.nat(255) });
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(mutation, { maxLength: 6 }), fc.nat(20), (seed, changes, cut) => {
      const query = Buffer.from(seed.subarray(0, seed.length - (cut > 14 ? cut - 14 : 0)));
      for (const { at, value } of changes) if (at < query.length) query[at] = value;
      const answer = ask(query);
      assert.ok(answer === undefined || answer.length <= 1232);
      if (answer !== undefined) meaning(answer);
    }),
    { numRuns: 5000 },
  );
});
