import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { parseQuantity } from '../../k8s/quantity.ts';
import { canonicalBase64, canonicalQuantity, canonicalTime } from './scalars.ts';

it('a quantity is written with the largest suffix of its own family that needs no fraction', () => {
  const cases: Record<string, string> = {
    '0.5': '500m',
    '1000m': '1',
    '1500m': '1500m',
    '1000': '1k',
    '1024Mi': '1Gi',
    '1.5Gi': '1536Mi',
    '0.5Ki': '512',
    '1e3': '1e3',
    '100': '100',
    '0': '0',
    '00': '0',
    '-1': '-1',
    '2000000': '2M',
    '0.0001': '100u',
  };
  for (const [given, canonical] of Object.entries(cases)) assert.equal(canonicalQuantity(given), canonical, given);
  for (const given of ['', 'x', '1x', '1 Gi', '1.2.3', '--1']) assert.equal(canonicalQuantity(given), undefined, given);
});

it('the canonical form means the same amount and is its own canonical form', () => {
  const quantity = fc
    .tuple(
      fc.integer({ min: -5000, max: 5_000_000 }),
      fc.constantFrom('', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'u', 'e3'),
    )
    .map(([number, suffix]) => `${number}${suffix}`);
  fc.assert(
    fc.property(quantity, (text) => {
      const canonical = canonicalQuantity(text) ?? '';
      assert.equal(parseQuantity(canonical), parseQuantity(text));
      assert.equal(canonicalQuantity(canonical), canonical);
    }),
  );
});

it('times are written in UTC, to the second or the microsecond', () => {
  assert.equal(canonicalTime('2024-01-02T03:04:05.678+02:00', 0), '2024-01-02T01:04:05Z');
  assert.equal(canonicalTime('2024-01-02T03:04:05.6789Z', 6), '2024-01-02T03:04:05.678900Z');
  assert.equal(canonicalTime('2024-01-02', 0), undefined);
  assert.equal(canonicalTime('2024-13-02T03:04:05Z', 0), undefined);
});

it('base64 loses its line breaks; a strange byte is named by its place', () => {
  assert.deepEqual(canonicalBase64('YWJj\nZGVm'), { text: 'YWJjZGVm' });
  assert.deepEqual(canonicalBase64('YW*j'), { badByte: 2 });
});
