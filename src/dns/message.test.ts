import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeAnyName, mapDataNames, readPlainRecords, writePlainRecord } from './message.ts';
import { readName, WireError, writeQuery } from './wire.ts';

const label = fc.uint8Array({ minLength: 1, maxLength: 20 });

test('a name with any octets in its labels is written as it was read, in lower case', () => {
  fc.assert(
    fc.property(fc.array(label, { maxLength: 8 }), (labels) => {
      const wire = Buffer.concat([...labels.map((one) => Buffer.from([one.length, ...one])), Buffer.from([0])]);
      const lower = Buffer.concat([
        ...labels.map((one) =>
          Buffer.from([one.length, ...one.map((octet) => (octet >= 65 && octet <= 90 ? octet + 32 : octet))]),
        ),
        Buffer.from([0]),
      ]);
      assert.deepEqual(encodeAnyName(readName(wire, 0).name), lower);
    }),
  );
});

test('names within data are taken from the message and can be changed', () => {
  const query = writeQuery(1, 'example.org', 15);
  // MX 5 mail.example.org, its end pointing to the question.
  const data = Buffer.from([0, 5, 4, ...Buffer.from('mail'), 0xc0, 12]);
  const record = Buffer.concat([Buffer.from([0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 60, 0, data.length]), data]);
  const message = Buffer.concat([query.subarray(0, -11), record]);
  const [found] = readPlainRecords(message, query.length - 11, 1);
  assert.ok(found);
  assert.equal(readName(found.data, 2).name, 'mail.example.org');
  const changed = mapDataNames(found, (name) => name.replace('example.org', 'example.net'));
  assert.deepEqual([changed.readUInt16BE(0), readName(changed, 2).name], [5, 'mail.example.net']);
  const again = readPlainRecords(writePlainRecord(found), 0, 1);
  assert.deepEqual(again, [found]);
});

test('no octets make the reader fail in another way than by a WireError', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.integer({ min: 1, max: 4 }), (octets, count) => {
      try {
        readPlainRecords(Buffer.from(octets), 0, count);
      } catch (error) {
        assert.ok(error instanceof WireError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});
