// The bytes of IP sets, as linux/netfilter/ipset/ip_set.h says them, and that what is written can be read.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { asCidr, asIp, formatIp, parsePort } from '../net/address.ts';
import { elementData, elementText, type IpsetElement, type IpsetType, parseElement, setAttributes } from './ipset.ts';

const http = parsePort(80) ?? assert.fail();
const hex = (...parts: readonly string[]): string => parts.join('').replaceAll(' ', '');

test('an element of address, protocol and port', () => {
  assert.equal(
    elementData({ ip: asIp('10.96.0.1'), protocol: 'tcp', port: http }).toString('hex'),
    hex(
      '2000 0780', // IPSET_ATTR_DATA, nested, 32 bytes
      '0c00 0180 0800 0140 0a600001', // IPSET_ATTR_IP, nested: IPADDR_IPV4 in network order
      '0600 0440 0050 0000', // IPSET_ATTR_PORT, in network order, padded
      '0500 0700 06 000000', // IPSET_ATTR_PROTO: TCP
    ),
  );
});

test('an element with a range has its length too', () => {
  assert.equal(
    elementData({ ip: asIp('fd00::1'), net: asCidr('fd00::/8') }).toString('hex'),
    hex(
      '3c00 0780',
      '1800 0180 1400 0240 fd00000000000000 0000000000000001',
      '1800 1480 1400 0240 fd00000000000000 0000000000000000',
      '0500 1500 08 000000', // IPSET_ATTR_CIDR2
    ),
  );
});

test('a hash set may hold 2,097,152 elements, a bitmap all ports', () => {
  const bytes = (type: IpsetType): string =>
    Buffer.concat(setAttributes({ name: 'A', type, family: 'IPv6' })).toString('hex');
  assert.equal(
    bytes('hash:ip'),
    hex(
      '0600 0200 4100 0000', // IPSET_ATTR_SETNAME
      '0c00 0300 686173683a697000', // IPSET_ATTR_TYPENAME
      '0500 0400 00 000000', // IPSET_ATTR_REVISION
      '0500 0500 0a 000000', // IPSET_ATTR_FAMILY: AF_INET6
      '0c00 0780 0800 1340 00200000', // IPSET_ATTR_DATA: IPSET_ATTR_MAXELEM
    ),
  );
  assert.ok(bytes('bitmap:port').endsWith(hex('1400 0780 0600 0440 0000 0000 0600 0540 ffff 0000')));
});

const address = fc.oneof(
  fc.bigInt({ min: 1n, max: 2n ** 32n - 1n }).map((value) => formatIp(value, 'IPv4')),
  fc.bigInt({ min: 1n, max: 2n ** 128n - 1n }).map((value) => formatIp(value, 'IPv6')),
);
const port = fc.integer({ min: 1, max: 65_535 }).map((number) => parsePort(number) ?? assert.fail());
const protocol = fc.constantFrom('tcp', 'udp', 'sctp');

test('an element is read as it was written', () => {
  fc.assert(
    fc.property(address, port, protocol, address, (ip, number, l4, ip2) => {
      const all: readonly [IpsetType, IpsetElement][] = [
        ['hash:ip', { ip }],
        ['bitmap:port', { port: number }],
        ['hash:ip,port', { ip, port: number, protocol: l4 }],
        ['hash:ip,port,ip', { ip, port: number, protocol: l4, ip2 }],
        ['hash:ip,port,net', { ip, port: number, protocol: l4, net: asCidr(`${ip2}/${ip2.includes(':') ? 128 : 32}`) }],
      ];
      for (const [type, element] of all)
        assert.deepEqual(parseElement(elementData(element).subarray(4), type), element);
    }),
  );
});

test('an element is named as ipset(8) names it', () => {
  const ip = asIp('10.96.0.1');
  assert.equal(elementText({ ip }), '10.96.0.1');
  assert.equal(elementText({ port: http }), '80');
  assert.equal(
    elementText({ ip, port: http, protocol: 'udp', net: asCidr('10.0.0.0/8') }),
    '10.96.0.1,udp:80,10.0.0.0/8',
  );
});
