// The names of the sets: kube-proxy's, different for the two families, and short enough for the kernel.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { kernelSetName, setNames } from './sets.ts';

test('no two sets have one name, and none is too long', () => {
  const names = setNames.flatMap((name) => [kernelSetName(name, 'IPv4'), kernelSetName(name, 'IPv6')]);
  assert.equal(new Set(names).size, names.length);
  for (const name of names) assert.ok(name.length <= 31, name);
});

test('the names of IPv6 are those of kube-proxy', () => {
  assert.equal(kernelSetName('KUBE-CLUSTER-IP', 'IPv6'), 'KUBE-6-CLUSTER-IP');
  assert.equal(kernelSetName('KUBE-LOAD-BALANCER-SOURCE-CIDR', 'IPv6'), 'KUBE-6-LOAD-BALANCER-SOURCE-CID');
});
