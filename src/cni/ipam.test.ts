// Which address is next: never a reserved one, never a taken one, and a freed one last.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asCidr, asIp, type Ip } from '../net/address.ts';
import { capacityOf, gatewayOf, isAllocatable, nextAddress, poolOf } from './ipam.ts';

const range = asCidr('10.244.1.0/24');

test('network, gateway and broadcast are never given', () => {
  assert.equal(gatewayOf(range), '10.244.1.1');
  for (const reserved of ['10.244.1.0', '10.244.1.1', '10.244.1.255', '10.244.2.2', 'fd00::2'])
    assert.equal(isAllocatable(range, asIp(reserved)), false, reserved);
  assert.equal(isAllocatable(range, asIp('10.244.1.2')), true);
  assert.equal(isAllocatable(range, asIp('10.244.1.254')), true);
  assert.equal(capacityOf(range), 253n);
});

test('IPv6 has no broadcast', () => {
  const six = asCidr('fd00:1::/64');
  assert.equal(gatewayOf(six), 'fd00:1::1');
  assert.equal(
    nextAddress(poolOf(six), asIp('fd00:1::ffff:ffff:ffff:ffff'), () => false),
    'fd00:1::2',
  );
  assert.equal(isAllocatable(six, asIp('fd00:1::ffff:ffff:ffff:ffff')), true);
});

test('a range too small for a gateway and a pod is refused', () => {
  assert.throws(() => gatewayOf(asCidr('10.0.0.0/31')), /too small/);
  assert.equal(capacityOf(asCidr('10.0.0.0/30')), 1n);
});

test('going round, an address that was freed just now comes last', () => {
  const small = asCidr('10.0.0.0/29');
  const taken = new Set<Ip>();
  let last: Ip | undefined;
  const take = (): Ip | undefined => {
    const address = nextAddress(poolOf(small), last, (candidate) => taken.has(candidate));
    if (address !== undefined) {
      taken.add(address);
      last = address;
    }
    return address;
  };
  assert.deepEqual([take(), take()], ['10.0.0.2', '10.0.0.3']);
  taken.delete(asIp('10.0.0.3'));
  assert.deepEqual(
    [take(), take(), take(), take(), take()],
    ['10.0.0.4', '10.0.0.5', '10.0.0.6', '10.0.0.3', undefined],
  );
});

test('the next address is free and allocatable, or none is free', () => {
  const address = fc.integer({ min: 0, max: 15 }).map((n) => asIp(`10.0.0.${n}`));
  fc.assert(
    fc.property(fc.uniqueArray(address), fc.option(address, { nil: undefined }), (list, last) => {
      const small = asCidr('10.0.0.0/28');
      const taken = new Set(list);
      const found = nextAddress(poolOf(small), last, (candidate) => taken.has(candidate));
      const free = Array.from({ length: 16 }, (_, n) => asIp(`10.0.0.${n}`)).filter(
        (candidate) => isAllocatable(small, candidate) && !taken.has(candidate),
      );
      if (found === undefined) assert.equal(free.length, 0);
      else assert.ok(free.includes(found));
    }),
  );
});
