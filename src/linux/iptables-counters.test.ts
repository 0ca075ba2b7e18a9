import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCounted } from './iptables-counters.ts';

test('rules of iptables are read with their tables and counters', () => {
  const output =
    '*nat\n:KUBE-SVC-X - [0:0]\n[2:120] -A KUBE-SVC-X -m comment --comment "a -j b" -j KUBE-SEP-Y\nCOMMIT\n';
  const text = '-m comment --comment "a -j b" -j KUBE-SEP-Y';
  assert.deepEqual(readCounted(output), [{ chain: 'nat KUBE-SVC-X', text, packets: 2, bytes: 120 }]);
});
