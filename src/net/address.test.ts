import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  addressAt,
  asCidr,
  asIp,
  cidrContains,
  cidrsOverlap,
  formatIp,
  ipToBigInt,
  parseCidr,
  parseIp,
  parsePort,
  subnetAt,
  urlHost,
} from './address.ts';

test('an address is its number and back, for both families', () => {
  fc.assert(fc.property(fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }), (n) => ipToBigInt(formatIp(n, 'IPv4')) === n));
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }), (n) => ipToBigInt(asIp(formatIp(n, 'IPv6'))) === n),
  );
});

test('IPv6 text is canonical as RFC 5952 says', () => {
  assert.equal(parseIp('2001:DB8:0:0:1:0:0:1'), '2001:db8::1:0:0:1');
  assert.equal(parseIp('2001:db8:0:1:1:1:1:1'), '2001:db8:0:1:1:1:1:1');
  assert.equal(parseIp('::'), '::');
  assert.equal(parseIp('::ffff:1.2.3.4'), '::ffff:102:304');
});

test('what is not an address, a range or a port is refused', () => {
  for (const text of ['', '1.2.3', '01.2.3.4', '1.2.3.4/8', 'fe80::1%eth0', 'a', '1.2.3.256'])
    assert.equal(parseIp(text), undefined, text);
  for (const text of ['10.0.0.0', '10.0.0.0/33', '10.0.0.0/08', '10.0.0.0/-1', '/8', '::/129', '10.0.0.0/8/8'])
    assert.equal(parseCidr(text), undefined, text);
  for (const text of ['0', '65536', '-1', '1e3', '']) assert.equal(parsePort(text), undefined, text);
});

test('a range is its network: host bits are cleared', () => {
  assert.equal(asCidr('10.244.1.7/16'), '10.244.0.0/16');
  assert.equal(asCidr('fd00::1/64'), 'fd00::/64');
});

test('ranges overlap exactly when one holds the first address of the other', () => {
  const cidr = fc
    .tuple(fc.bigInt({ min: 0n, max: (1n << 32n) - 1n }), fc.integer({ min: 0, max: 32 }))
    .map(([n, p]) => asCidr(`${formatIp(n, 'IPv4')}/${p}`));
  fc.assert(
    fc.property(
      cidr,
      cidr,
      (a, b) => cidrsOverlap(a, b) === (cidrContains(a, addressAt(b, 0)) || cidrContains(b, addressAt(a, 0))),
    ),
  );
});

test('subnets of a range follow one another and end with it', () => {
  assert.equal(subnetAt(asCidr('10.244.0.0/16'), 24, 255), '10.244.255.0/24');
  assert.throws(() => subnetAt(asCidr('10.244.0.0/16'), 24, 256), /has no \/24 subnet number 256/);
});

test('a URL has IPv6 addresses in brackets', () => {
  assert.equal(urlHost(asIp('10.0.0.1')), '10.0.0.1');
  assert.equal(urlHost(asIp('fd00::1')), '[fd00::1]');
});
