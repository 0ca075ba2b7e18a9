import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp, cidrContains } from '../../net/address.ts';
import type { ApiObject } from '../object.ts';
import { Storage } from '../storage.ts';
import { ServiceAddresses } from './service-addresses.ts';

const range = asCidr('10.96.0.0/24');

const service = (name: string, clusterIP: string, nodePort?: number): ApiObject => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default', uid: name },
  spec: { clusterIP, clusterIPs: [clusterIP], ports: [{ port: 80, ...(nodePort === undefined ? {} : { nodePort }) }] },
});

test('addresses are given once, within the range, above its reserved part, never the network or broadcast one', () => {
  const storage = new Storage(':memory:');
  const addresses = new ServiceAddresses(storage, [range]);
  const given = new Set<string>();
  for (let i = 0; i < 254; i++) {
    const address = addresses.freeAddress('IPv4');
    assert.ok(cidrContains(range, address));
    assert.ok(!given.has(address));
    if (i < 238) assert.ok(Number(address.split('.')[3]) > 16, 'the lower part is used last');
    given.add(address);
    storage.put('/services', service(`s${i}`, address));
  }
  assert.ok(!given.has('10.96.0.0') && !given.has('10.96.0.255'));
  assert.throws(() => addresses.freeAddress('IPv4'), /range is full/);
});

test('what is taken or outside is refused in the words of Kubernetes; deleting frees', () => {
  const storage = new Storage(':memory:');
  const addresses = new ServiceAddresses(storage, [range], { from: 30000, to: 32767 });
  storage.put('/services', service('a', '10.96.0.10', 30080));
  assert.throws(() => addresses.checkAddress('10.96.0.10'), /provided IP is already allocated/);
  assert.throws(
    () => addresses.checkAddress('10.97.0.1'),
    /is not in the valid range\. The range of valid IPs is 10\.96\.0\.0\/24/,
  );
  assert.throws(() => addresses.checkPort(30080), /provided port is already allocated/);
  assert.throws(() => addresses.checkPort(80), /The range of valid ports is 30000-32767/);
  storage.delete('/services', 'default', 'a');
  addresses.checkAddress('10.96.0.10');
  addresses.checkPort(30080);
});

test('what stored Services have is known from the start', () => {
  const storage = new Storage(':memory:');
  storage.put('/services', service('a', asIp('10.96.0.10'), 30080));
  const addresses = new ServiceAddresses(storage, [range]);
  assert.throws(() => addresses.checkAddress('10.96.0.10'), /already allocated/);
});
