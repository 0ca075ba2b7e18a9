import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asIp, type Port, parsePort } from '../../net/address.ts';
import type { Backend } from '../service-port.ts';
import { mostSlots, stableSlots, weightedSlots } from './slots.ts';

const port: Port = parsePort(8080) ?? assert.fail('no port');
const backend = (number: number, weight = 1): Backend => ({
  ip: asIp(`10.244.${number >> 8}.${number & 255}`),
  port,
  local: false,
  ready: true,
  terminating: false,
  weight,
});
const count = (slots: readonly Backend[], { ip }: Backend): number => slots.filter((slot) => slot.ip === ip).length;
const numbers = fc.uniqueArray(fc.integer({ min: 1, max: 2000 }), { minLength: 1, maxLength: 30 });

test('endpoints of one weight have one slot each', () => {
  const backends = [1, 2, 3].map((number) => backend(number, 7));
  assert.deepEqual(weightedSlots(backends), backends);
});

test('each endpoint has slots in proportion to its weight, at least one, and all are not too many', () => {
  const weights = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 20 });
  fc.assert(
    fc.property(weights, (given) => {
      const backends = given.map((weight, number) => backend(number, weight));
      const slots = weightedSlots(backends);
      const total = given.reduce((sum, weight) => sum + weight, 0);
      assert.ok(slots.length <= mostSlots + given.length);
      for (const one of backends) {
        const wanted = (one.weight / total) * slots.length;
        assert.ok(count(slots, one) >= 1);
        // Rounded, and crowded out a little by those that have one slot for less than that.
        assert.ok(Math.abs(count(slots, one) - wanted) <= 1 + given.length * 0.1 + wanted * 0.05);
      }
    }),
  );
});

test('when an endpoint goes, only its own slots change hands', () => {
  fc.assert(
    fc.property(numbers, fc.nat(), (given, pick) => {
      const backends = given.map((number) => backend(number));
      const gone = backends[pick % backends.length];
      const before = stableSlots(backends);
      const after = stableSlots(backends.filter((one) => one !== gone));
      assert.ok(after.every((slot, index) => before[index] === gone || before[index]?.ip === slot.ip));
    }),
    { numRuns: 30 },
  );
});

test('clients are spread evenly over endpoints, and by weight', () => {
  const even = [1, 2, 3, 4].map((number) => backend(number));
  for (const one of even) assert.ok(Math.abs(count(stableSlots(even), one) - mostSlots / 4) < 60);
  const uneven = [backend(1, 9), backend(2, 1)];
  assert.ok(Math.abs(count(stableSlots(uneven), backend(2)) - mostSlots / 10) < 40);
});

test('the order of the endpoints means nothing', () => {
  const backends = [1, 2, 3, 4, 5].map((number) => backend(number));
  assert.deepEqual(stableSlots([...backends].reverse()), stableSlots(backends));
});
