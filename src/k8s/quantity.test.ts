import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addQuantities,
  asQuantity,
  compareQuantities,
  formatBinary,
  formatQuantity,
  parseQuantity,
  toMilli,
  toWhole,
} from './quantity.ts';

test('every suffix and exponent is read exactly', () => {
  const equal = [
    ['1', '1000m'],
    ['0.5', '500m'],
    ['1.5Gi', '1536Mi'],
    ['1Ki', '1024'],
    ['2e3', '2k'],
    ['1E3', '1000'],
    ['1E', '1000000000000000000'],
    ['.5', '0.5'],
    ['1.', '1'],
    ['-1', '-1000m'],
    ['100n', '0.1u'],
  ] as const;
  for (const [a, b] of equal) assert.equal(compareQuantities(a, b), 0, `${a} ${b}`);
});

test('what is not a quantity is refused', () => {
  for (const text of ['', 'x', '1 Gi', '1gi', '1K', '--1', '1e', '0x10', 'Gi', '.'])
    assert.equal(parseQuantity(text), undefined, text);
  assert.throws(() => asQuantity('x'), /quantities must match/);
});

test('sums, rounding up and printing', () => {
  assert.equal(addQuantities('250m', '1', '0.75'), '2');
  assert.equal(toMilli(asQuantity('0.0001')), 1);
  assert.equal(toWhole(asQuantity('1500m')), 2);
  assert.equal(formatBinary(asQuantity('16Gi')), '16Gi');
  assert.equal(formatBinary(asQuantity('1000')), '1000');
});

test('printing and reading give the same amount', () => {
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: 10n ** 30n }), (n) => parseQuantity(formatQuantity(n)) === n));
});
