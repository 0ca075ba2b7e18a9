import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { type Flow, type FlowFilter, kernelFilter, matcher } from './conntrack.ts';

const filter = (part: Partial<FlowFilter> = {}): FlowFilter => ({
  protocol: 'udp',
  destination: asIp('10.96.0.10'),
  port: 53,
  ...part,
});
const flow = (part: Partial<Flow> = {}): Flow => ({
  protocol: 17,
  destination: asIp('10.96.0.10'),
  port: 53,
  replySource: asIp('10.244.1.2'),
  identity: [],
  ...part,
});

test('flows are named by where they were sent, and by who answered', () => {
  const isNamed = matcher([filter({ replySource: asIp('10.244.1.2') }), filter({ port: 54 })]);
  assert.ok(isNamed(flow()));
  assert.ok(!isNamed(flow({ replySource: asIp('10.244.1.3') })));
  assert.ok(isNamed(flow({ port: 54, replySource: asIp('10.244.1.3') })));
  assert.ok(!isNamed(flow({ port: 55 })));
  assert.ok(!isNamed(flow({ protocol: 6 })));
  assert.ok(!isNamed(flow({ destination: asIp('10.96.0.11') })));
});

test('a filter without a destination is for all of them', () => {
  const isNamed = matcher([{ protocol: 'udp', port: 53 }]);
  assert.ok(isNamed(flow({ destination: asIp('172.18.0.2') })));
  assert.ok(!isNamed(flow({ port: 54 })));
});

test('the kernel compares what all filters have in common', () => {
  const flags = (...filters: FlowFilter[]) => kernelFilter(filters).at(-1)?.readUInt32LE(8);
  assert.equal(flags(filter(), filter({ replySource: asIp('10.244.1.2') })), 2 + 8 + 32);
  assert.equal(flags(filter(), filter({ destination: asIp('10.96.0.11') })), 8 + 32);
  assert.equal(flags(filter(), filter({ port: 54 })), 2 + 8);
  assert.equal(flags(filter({ destination: asIp('fd96::a') })), 8 + 32);
  assert.equal(flags(filter({ port: 54 }), { protocol: 'udp', port: 53 }), 8);
});
