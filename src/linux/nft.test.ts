import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp } from '../net/address.ts';
import {
  type Change,
  type Element,
  elementKey,
  elementVerdict,
  NftSyntaxError,
  renderChange,
  renderRule,
} from './nft.ts';

const table = { family: 'ip', name: 'weft-test' } as const;
const empty: Change = { chains: [], removed: [], added: [] };
const element = (part: Partial<Element>): Change => ({
  ...empty,
  added: [{ set: 'services', key: elementKey(asIp('10.96.0.1'), 'tcp', 80), ...part }],
});

test('a change without content is no text', () => {
  assert.equal(renderChange(table, empty), '');
});

test('a full write replaces the table in one transaction and defines before it refers', () => {
  const text = renderChange(table, {
    replace: {
      sets: [{ name: 'services', key: [{ kind: 'payload', header: 'ip', field: 'daddr' }], value: 'verdict' }],
    },
    chains: [
      { name: 'first', rules: [{ statements: [{ do: 'verdict', to: { verdict: 'goto', chain: 'second' } }] }] },
      { name: 'second', hook: { type: 'nat', hook: 'output', priority: -100 }, rules: [] },
    ],
    removed: [],
    added: [{ set: 'services', key: elementKey(asIp('10.96.0.1')), value: elementVerdict({ verdict: 'drop' }) }],
  });
  assert.deepEqual(text.trim().split('\n'), [
    'add table ip weft-test',
    'delete table ip weft-test',
    'add table ip weft-test',
    'add map ip weft-test services { type ipv4_addr : verdict; }',
    'add chain ip weft-test first',
    'add chain ip weft-test second { type nat hook output priority -100; policy accept; }',
    'add rule ip weft-test first goto second',
    'add element ip weft-test services { 10.96.0.1 : drop }',
  ]);
});

test('elements are deleted before they are added: a new value needs both', () => {
  const key = elementKey(asIp('10.96.0.1'), 'tcp', 80);
  const [drop, accept] = (['drop', 'accept'] as const).map((verdict) => elementVerdict({ verdict }));
  const text = renderChange(table, {
    ...empty,
    removed: [{ set: 's', key, ...(drop && { value: drop }) }],
    added: [{ set: 's', key, ...(accept && { value: accept }), comment: 'default/web:http ClusterIP' }],
  });
  assert.equal(
    text,
    'delete element ip weft-test s { 10.96.0.1 . tcp . 80 : drop }\n' +
      'add element ip weft-test s { 10.96.0.1 . tcp . 80 comment "default/web:http ClusterIP" : accept }\n',
  );
});

test('no text of others can leave its place: names, comments and addresses are checked', () => {
  assert.throws(() => renderChange(table, element({ comment: 'x" } ; flush ruleset' })), NftSyntaxError);
  assert.throws(() => renderChange(table, element({ comment: 'x\ny' })), NftSyntaxError);
  assert.throws(() => renderChange(table, element({ set: 'a b' })), NftSyntaxError);
  assert.throws(() => elementKey(1.5), NftSyntaxError);
  assert.throws(
    () => renderRule({ statements: [{ do: 'vmap', key: { kind: 'meta', key: 'mark' }, map: '}' }] }),
    NftSyntaxError,
  );
});

test('whatever the comment, it is refused or stands between its quotes', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (comment) => {
      let text: string;
      try {
        text = renderChange(table, element({ comment }));
      } catch (error) {
        return error instanceof NftSyntaxError;
      }
      return (
        text === `add element ip weft-test services { 10.96.0.1 . tcp . 80 comment "${comment}" }\n` &&
        !/["\n\\]/.test(comment)
      );
    }),
  );
});
