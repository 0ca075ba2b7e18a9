import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readCounted } from './iptables-counters.ts';
import { readHeld } from './nft-get.ts';

test('elements are read with values, counters and comments, marks in decimal', () => {
  const output = `table ip weft-proxy {
\tmap services {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\telements = { 10.0.0.1 . tcp . 80 counter packets 3 bytes 180 comment "ClusterIP of a/b, c" : goto tcp-n2,
\t\t\t     10.0.0.2 . udp . 53 . 0x57000001 : 0x57000002 }
\t}
}
`;
  assert.deepEqual(
    [...readHeld(output)],
    [
      ['10.0.0.1 . tcp . 80', { value: 'goto tcp-n2', packets: 3, bytes: 180 }],
      ['10.0.0.2 . udp . 53 . 1459617793', { value: '1459617794' }],
    ],
  );
  assert.deepEqual([...readHeld('')], []);
});

test('rules of iptables are read with their tables and counters', () => {
  const output =
    '*nat\n:KUBE-SVC-X - [0:0]\n[2:120] -A KUBE-SVC-X -m comment --comment "a -j b" -j KUBE-SEP-Y\nCOMMIT\n';
  const text = '-m comment --comment "a -j b" -j KUBE-SEP-Y';
  assert.deepEqual(readCounted(output), [{ chain: 'nat KUBE-SVC-X', text, packets: 2, bytes: 120 }]);
});
