import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  formatLabelSelector,
  matchesLabelSelector,
  parseFieldSelector,
  parseLabelSelector,
  SelectorError,
} from './selectors.ts';

const labels = { app: 'web', tier: 'front', rank: '7', 'example.com/zone': '' };

test('each operator of a label selector is read and applied', () => {
  const expected: [string, boolean][] = [
    ['', true],
    ['app=web', true],
    ['app==web', true],
    ['app=db', false],
    ['app!=db', true],
    ['absent!=db', true],
    ['app in (db, web)', true],
    ['app in (db)', false],
    ['app notin (db,cache)', true],
    ['absent notin (x)', true],
    ['app', true],
    ['absent', false],
    ['!absent', true],
    ['! app', false],
    ['rank>5,rank<8', true],
    ['rank > 7', false],
    ['example.com/zone=', true],
    ['example.com/zone in (,a)', true],
    ['app=web,tier=front,!absent', true],
    ['app=web,tier=back', false],
  ];
  for (const [text, matches] of expected) assert.equal(parseLabelSelector(text)(labels), matches, text);
});

test('a label selector that cannot be read is refused', () => {
  for (const text of ['a in b', 'a in (b', ',a', 'a,', '=b', 'a=b=c', 'a b', '-a=b', 'a=-b', 'a>x', 'a/b/c', '/a'])
    assert.throws(() => parseLabelSelector(text), SelectorError, text);
});

test('an absent LabelSelector matches nothing and an empty one everything', () => {
  assert.equal(matchesLabelSelector(undefined, labels), false);
  assert.equal(matchesLabelSelector({}, labels), true);
});

test('a LabelSelector and its text select the same', () => {
  const key = fc.constantFrom('app', 'tier', 'x');
  const value = fc.constantFrom('web', 'db', 'front');
  const values = fc.uniqueArray(value, { minLength: 1 });
  const expression = fc.oneof(
    fc.record({ key, operator: fc.constantFrom('In', 'NotIn'), values }),
    fc.record({ key, operator: fc.constantFrom('Exists', 'DoesNotExist') }),
  );
  const selector = fc.record({ matchLabels: fc.dictionary(key, value), matchExpressions: fc.array(expression) });
  fc.assert(
    fc.property(selector, fc.dictionary(key, value), (each, given) => {
      assert.equal(parseLabelSelector(formatLabelSelector(each))(given), matchesLabelSelector(each, given));
    }),
  );
});

test('field selectors know =, == and !=, and unescape values', () => {
  const fields: Record<string, string> = { 'metadata.name': 'a', 'spec.nodeName': 'n,1=x\\' };
  const read = (field: string): string => fields[field] ?? '';
  assert.equal(parseFieldSelector('metadata.name=a,spec.nodeName!=b')(read), true);
  assert.equal(parseFieldSelector('metadata.name==b')(read), false);
  assert.equal(parseFieldSelector('spec.nodeName=n\\,1\\=x\\\\')(read), true);
  assert.equal(parseFieldSelector('status.phase=')(read), true);
  assert.equal(parseFieldSelector('')(read), true);
  assert.deepEqual(parseFieldSelector('a!=b').requirements, [{ field: 'a', operator: '!=', value: 'b' }]);
  assert.throws(() => parseFieldSelector('metadata.name'), /invalid selector: 'metadata.name'; can't understand/);
  assert.throws(() => parseFieldSelector('a=b=c'), SelectorError);
});
