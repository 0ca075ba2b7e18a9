import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../net/address.ts';
import { nodePortAddresses } from './node-port-addresses.ts';

const own = ['172.18.0.2', 'fd18::2'].map(asIp);
const present = ['127.0.0.1', '::1', '172.18.0.2', 'fd18::2', '10.244.1.1', 'fe80::1', '169.254.3.4'].map(asIp);
const of = (...ranges: string[]) => nodePortAddresses(ranges.map(asCidr), own, present);

test('without ranges NodePorts are open on the addresses of the node, and on 127.0.0.1', () => {
  assert.deepEqual(nodePortAddresses(undefined, own, present), ['172.18.0.2', 'fd18::2', '127.0.0.1']);
  assert.deepEqual(nodePortAddresses(undefined, [asIp('fd18::2')], present), ['fd18::2']);
});

test('ranges choose from all addresses of the node but those that many machines have', () => {
  assert.deepEqual(of('0.0.0.0/0', '::/0'), ['172.18.0.2', 'fd18::2', '10.244.1.1', '127.0.0.1']);
  assert.deepEqual(of('172.18.0.0/16'), ['172.18.0.2']);
  assert.deepEqual(of('127.0.0.0/8'), ['127.0.0.1']);
  assert.deepEqual(of('198.51.100.0/24', '::1/128'), []);
});
