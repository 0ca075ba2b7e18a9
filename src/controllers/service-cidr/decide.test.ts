import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { IPAddress, Service, ServiceCIDR } from '../../k8s/types.generated.ts';
import { asCidr, asIp } from '../../net/address.ts';
import { addressFault, addressObject, canGo, portFaults } from './decide.ts';

const cidr = (...cidrs: string[]): ServiceCIDR => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name: cidrs[0] ?? '' },
  spec: { cidrs },
});
const service = (name: string, clusterIPs: string[], nodePort?: number): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { clusterIPs, ports: [{ port: 80, ...(nodePort !== undefined && { nodePort }) }] },
});
const address = (ip: string): IPAddress => addressObject(asIp(ip), service('a', [ip]));

test('a ServiceCIDR goes when no other holds what is in it', () => {
  const gone = cidr('10.96.0.0/24', 'fd00::/112');
  assert.ok(canGo(gone, [], []));
  assert.ok(canGo(gone, [], [address('10.97.0.1')]), 'elsewhere');
  assert.ok(!canGo(gone, [], [address('10.96.0.1')]));
  assert.ok(!canGo(gone, [cidr('10.96.0.0/16')], [address('fd00::1')]), 'the other family is held alone');
  assert.ok(canGo(gone, [cidr('10.96.0.0/16')], [address('10.96.0.1')]), 'a wider one has it');
  assert.ok(canGo(gone, [cidr('10.96.0.0/28')], [address('10.96.0.1')]), 'a narrower one has this address');
  assert.ok(!canGo(gone, [cidr('10.96.0.0/28')], [address('10.96.0.99')]));
  const foreign: IPAddress = { ...address('10.96.0.1'), metadata: { name: '10.96.0.1' } };
  assert.ok(canGo(gone, [], [foreign]), 'not a Service’s');
});

test('what does not fit between a Service and its IPAddress is told, and mended where it can be', () => {
  const ip = asIp('10.96.0.5');
  const own = service('own', [ip]);
  const other = service('other', [ip]);
  const ranges = [asCidr('10.96.0.0/24')];
  const right = addressObject(ip, own);
  const reason = (...[object, parent]: [IPAddress?, Service?]): (string | undefined)[] => {
    const fault = addressFault(own, ip, ranges, object, parent);
    return [fault?.reason, fault?.repair];
  };
  assert.deepEqual(reason(right, own), [undefined, undefined]);
  assert.deepEqual(reason(undefined), ['ClusterIPNotAllocated', 'create']);
  assert.deepEqual(reason({ ...right, metadata: { name: ip } }, own), ['ClusterIPNotAllocated', 'recreate']);
  const gateway = { group: 'example.com', resource: 'gateways', name: 'own', namespace: 'default' };
  assert.deepEqual(reason({ ...right, spec: { parentRef: gateway } }), ['ClusterIPNotAllocated', 'recreate']);
  assert.deepEqual(reason(addressObject(ip, other), undefined), ['ClusterIPNotAllocated', 'recreate']);
  assert.deepEqual(reason(addressObject(ip, other), other), ['ClusterIPAlreadyAllocated', undefined]);
  assert.equal(addressFault(own, ip, [asCidr('10.97.0.0/24')], right, own)?.reason, 'ClusterIPOutOfRange');
});

test('a node port that is out of the range or has two owners is told', () => {
  const range = { from: 30000, to: 30010 };
  const reasons = (port: number, holders: number): string[] =>
    portFaults(service('a', [], port), range, () => holders).map((fault) => fault.reason);
  assert.deepEqual(reasons(30005, 1), []);
  assert.deepEqual(reasons(30005, 2), ['PortAlreadyAllocated']);
  assert.deepEqual(reasons(31000, 1), ['PortOutOfRange']);
});
