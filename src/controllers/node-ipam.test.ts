import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asCidr, type Cidr, cidrsOverlap } from '../net/address.ts';
import { allocate, choose, freeSubnet, reserve } from './node-ipam.ts';

test('subnets are given out in order, and one that was released is given out again', () => {
  const range = asCidr('10.244.0.0/16');
  assert.equal(freeSubnet(range, 24, []), '10.244.0.0/24');
  assert.equal(freeSubnet(range, 24, [asCidr('10.244.0.0/24'), asCidr('10.244.2.0/24')]), '10.244.1.0/24');
  assert.equal(freeSubnet(range, 24, [asCidr('10.244.0.0/17')]), '10.244.128.0/24');
});

test('nodes never share addresses, and a range that is used up gives none', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), (count) => {
      const ranges = [asCidr('10.0.0.0/20'), asCidr('fd00::/60')];
      const used: Cidr[] = [];
      for (let node = 0; node < count; node++) {
        const next = allocate(ranges, { IPv4: 24, IPv6: 64 }, used);
        assert.equal(next === undefined, node >= 16);
        for (const subnet of next ?? []) assert.ok(!used.some((other) => cidrsOverlap(subnet, other)));
        used.push(...(next ?? []));
      }
    }),
  );
});

test('expected nodes get their shares by their order, also when they come late or again; others get what is left', () => {
  const ranges = [asCidr('10.244.0.0/22')];
  const sizes = { IPv4: 24, IPv6: 64 };
  const reserved = reserve(['control-plane', 'worker', 'worker2'], ranges, sizes);
  const used: Cidr[] = [];
  const next = (name: string) => {
    const chosen = choose(name, reserved, ranges, sizes, used);
    used.push(...(chosen ?? []));
    return chosen?.join();
  };
  assert.equal(next('worker2'), '10.244.2.0/24');
  assert.equal(next('stranger'), '10.244.3.0/24');
  assert.equal(next('control-plane'), '10.244.0.0/24');
  assert.equal(next('another'), '10.244.1.0/24');
  assert.equal(next('worker'), undefined);
});
