import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp, formatIp } from '../net/address.ts';
import { type DnsRecord, rcode, type } from './records.ts';
import {
  encodeName,
  questionEnd,
  type Reply,
  readHeader,
  readName,
  readQuery,
  readRecords,
  WireError,
  writeQuery,
  writeReply,
} from './wire.ts';

const label = fc.stringMatching(/^[a-z0-9_]([a-z0-9-]{0,20}[a-z0-9])?$/);
const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join('.'));
const record: fc.Arbitrary<DnsRecord> = fc.record({
  name,
  ttl: fc.nat(86_400),
  data: fc.oneof(
    fc.nat(0xffffffff).map((value) => ({ type: 'A' as const, ip: formatIp(BigInt(value), 'IPv4') })),
    fc
      .bigInt({ min: 0n, max: (1n << 128n) - 1n })
      .map((value) => ({ type: 'AAAA' as const, ip: formatIp(value, 'IPv6') })),
    fc.record({ type: fc.constantFrom('CNAME' as const, 'PTR' as const, 'NS' as const), target: name }),
    fc.record({
      type: fc.constant('SRV' as const),
      priority: fc.nat(65_535),
      weight: fc.nat(65_535),
      port: fc.nat(65_535),
      target: name,
    }),
    fc.record({ type: fc.constant('TXT' as const), text: fc.stringMatching(/^[ -~]{0,200}$/) }),
  ),
});
const reply = (part: Partial<Reply>): Reply => ({
  rcode: rcode.noError,
  authoritative: true,
  recursionAvailable: false,
  answers: [],
  authorities: [],
  additionals: [],
  ...part,
});

test('a name of 255 octets with labels of 63 is read; a longer one is refused', () => {
  const labels = ['a'.repeat(63), 'b'.repeat(63), 'c'.repeat(63)];
  const longest = [...labels, 'd'.repeat(61)].join('.');
  assert.equal(encodeName(longest).length, 255);
  assert.equal(readName(encodeName(longest), 0).name, longest);
  assert.throws(() => readName(encodeName([...labels, 'd'.repeat(62)].join('.')), 0), WireError);
});

test('a compressed name may point backwards only', () => {
  assert.throws(() => readName(Buffer.from([0xc0, 0x00]), 0), WireError);
  assert.throws(() => readName(Buffer.from([0xc0, 0x02, 0xc0, 0x00]), 0), WireError);
  assert.throws(() => readName(Buffer.from([3, 97, 98]), 0), WireError);
  assert.throws(() => readName(Buffer.from([0x40, 0]), 0), WireError);
});

test('a dot within a label is not a dot between labels', () => {
  assert.equal(readName(Buffer.from([3, 97, 46, 98, 0]), 0).name, 'a\\.b');
});

test('what is written is read again: names, types, times to live', () => {
  fc.assert(
    fc.property(name, fc.array(record, { maxLength: 20 }), (asked, records) => {
      const query = readQuery(writeQuery(7, asked, type.A));
      const message = writeReply(query, reply({ answers: records }), 65_535);
      const header = readHeader(message);
      assert.equal(header?.answers, records.length);
      const read = readRecords(message, questionEnd(message), records.length);
      assert.deepEqual(
        read.map((place) => [place.name, place.type, place.ttl]),
        records.map((one) => [one.name, type[one.data.type], one.ttl]),
      );
    }),
  );
});

test('names that were written before are written as pointers', () => {
  const query = readQuery(writeQuery(7, 'web.default.svc.cluster.local', type.A));
  const answers = [1, 2, 3].map(
    (last): DnsRecord => ({
      name: 'web.default.svc.cluster.local',
      ttl: 30,
      data: { type: 'A', ip: asIp(`10.0.0.${last}`) },
    }),
  );
  const [one, three] = [1, 3].map(
    (count) => writeReply(query, reply({ answers: answers.slice(0, count) }), 512).length,
  );
  assert.equal((three ?? 0) - (one ?? 0), 2 * 16);
});

test('no answer is larger than its limit; what misses is said by TC', () => {
  fc.assert(
    fc.property(
      name,
      fc.array(record, { maxLength: 60 }),
      fc.integer({ min: 512, max: 1232 }),
      (asked, records, limit) => {
        const query = readQuery(writeQuery(7, asked, type.A));
        const message = writeReply(query, reply({ answers: records }), limit);
        const header = readHeader(message) ?? assert.fail('no header');
        const complete = header.answers === records.length;
        return message.length <= limit && ((header.flags & 0x0200) !== 0) === !complete;
      },
    ),
  );
});

test('letter case of the question comes back as it was asked', () => {
  const query = writeQuery(7, 'wEb.Default.svc.Cluster.local', type.A);
  const message = writeReply(readQuery(query), reply({}), 512);
  assert.equal(readQuery(query).question.name, 'web.default.svc.cluster.local');
  assert.ok(message.includes('Default'));
});

test('octets of any kind are read or refused, never more', () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    // A good query, damaged in some places.
    fc.tuple(name, fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 8 })).map(([asked, damage]) => {
      const query = Uint8Array.from(writeQuery(7, asked, type.SRV));
      for (const [at, value] of damage) if (at < query.length) query[at] = value;
      return query;
    }),
  );
  fc.assert(
    fc.property(bytes, (octets) => {
      try {
        readQuery(Buffer.from(octets));
      } catch (error) {
        assert.ok(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
