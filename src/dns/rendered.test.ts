import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type } from './records.ts';
import { RenderedAnswers } from './rendered.ts';
import { writeQuery } from './wire.ts';

const query = (id: number): Buffer => writeQuery(id, 'web.default.svc.cluster.local', type.A);
const answer = (text: string): Buffer => Buffer.from(`--${text}`);
const keyOf = (rendered: RenderedAnswers, message: Buffer): string =>
  rendered.key(message, 'udp') ?? assert.fail('not kept');

test('an answer is given again with the id of the new query, until the table changes', () => {
  const rendered = new RenderedAnswers();
  const key = keyOf(rendered, query(1));
  assert.equal(rendered.get(key, 1, query(1)), undefined);
  rendered.put(key, answer('a'), 1);
  const again = rendered.get(keyOf(rendered, query(0x4142)), 1, query(0x4142));
  assert.equal(again?.toString(), 'ABa');
  assert.equal(rendered.get(key, 2, query(1)), undefined);
});

test('each order of the records gets its turn', () => {
  const rendered = new RenderedAnswers();
  const key = keyOf(rendered, query(1));
  rendered.get(key, 1, query(1));
  rendered.put(key, answer('a'), 2);
  assert.equal(rendered.get(key, 1, query(1)), undefined);
  rendered.put(key, answer('b'), 2);
  const seen = [1, 2, 3].map(() => rendered.get(key, 1, query(1))?.toString('latin1', 2));
  assert.deepEqual(seen, ['a', 'b', 'a']);
});

test('UDP and TCP are kept apart, and long queries not at all', () => {
  const rendered = new RenderedAnswers();
  assert.notEqual(rendered.key(query(1), 'udp'), rendered.key(query(1), 'tcp'));
  assert.equal(rendered.key(Buffer.alloc(1000), 'udp'), undefined);
});
