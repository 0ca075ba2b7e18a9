import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { deleteArguments } from './conntrack.ts';

test('flows are named by where they were sent, and by who answered', () => {
  const flow = { protocol: 'udp', destination: asIp('10.96.0.10'), port: 53 } as const;
  const common = '--delete --family ipv4 --proto udp --orig-dst 10.96.0.10 --orig-port-dst 53';
  assert.equal(deleteArguments(flow).join(' '), common);
  assert.equal(
    deleteArguments({ ...flow, replySource: asIp('10.244.1.2') }).join(' '),
    `${common} --reply-src 10.244.1.2`,
  );
  assert.ok(deleteArguments({ ...flow, destination: asIp('fd96::a') }).includes('ipv6'));
});
