// The message format of netlink: what is written can be read, and damage is not read past its end.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { attribute, encodeRequest, flag, parseAttributes, parseMessages, readText, text, u32 } from './netlink.ts';

const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), fc.uint8Array({ maxLength: 40 })), {
  selector: ([type]) => type,
});

test('attributes are read as they were written, whatever their length', () => {
  fc.assert(
    fc.property(attributes, (list) => {
      const payload = Buffer.concat(list.map(([type, bytes]) => attribute(type, Buffer.from(bytes))));
      const parsed = parseAttributes(payload);
      assert.equal(payload.length % 4, 0);
      assert.deepEqual(
        [...parsed].map(([type, bytes]) => [type, new Uint8Array(bytes)]),
        list,
      );
    }),
  );
});

test('damaged bytes are never read past their end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const message of parseMessages(Buffer.from(bytes))) parseAttributes(message.body);
      parseAttributes(Buffer.from(bytes));
    }),
  );
});

test('a request has its length, type, flags and sequence number in the header', () => {
  const bytes = encodeRequest(
    { type: 16, flags: flag.create, body: Buffer.alloc(16), attributes: [u32(4, 1400)], what: 'a test' },
    flag.ack,
    7,
  );
  assert.equal(bytes.readUInt32LE(0), bytes.length);
  assert.equal(bytes.readUInt16LE(6), flag.request | flag.ack | flag.create);
  const [message] = parseMessages(bytes);
  assert.deepEqual([message?.type, message?.sequence], [16, 7]);
  assert.equal(
    parseAttributes(message?.body.subarray(16) ?? Buffer.alloc(0))
      .get(4)
      ?.readUInt32LE(),
    1400,
  );
});

test('text ends at its zero byte', () => {
  assert.equal(readText(parseAttributes(text(3, 'eth0')).get(3)), 'eth0');
  assert.equal(readText(undefined), undefined);
});
