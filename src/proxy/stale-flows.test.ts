import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { backend, modelOf, port } from './fixtures.ts';
import type { Backend, ServicePortModel } from './service-port.ts';
import { staleFlows } from './stale-flows.ts';

const endpoints = (ips: readonly string[]): Backend[] => ips.map((ip) => backend(ip));
const model = (protocol: 'UDP' | 'TCP', ips: string[], draining: string[] = []): ServicePortModel =>
  modelOf(endpoints(ips), { protocol, nodePort: port(30_080), servingEndpoints: endpoints([...ips, ...draining]) });
const node = { nodePortAddresses: [asIp('172.18.0.2'), asIp('fd18::2')] };
const flow = { protocol: 'udp', destination: '10.96.0.1', port: 80 };
const nodeFlow = { protocol: 'udp', destination: '172.18.0.2', port: 30_080 };

test('UDP flows are forgotten to endpoints that went, not to those that drain', () => {
  const before = model('UDP', ['10.244.1.2', '10.244.1.3', '10.244.1.4']);
  assert.deepEqual(staleFlows([before], [model('UDP', ['10.244.1.4'], ['10.244.1.3'])], node), [
    { ...flow, replySource: '10.244.1.2' },
    { ...nodeFlow, replySource: '10.244.1.2' },
  ]);
});

test('UDP flows are forgotten to addresses that went, whoever answered', () => {
  assert.deepEqual(staleFlows([model('UDP', ['10.244.1.2'])], [], node), [flow, nodeFlow]);
});

test('UDP flows are forgotten that were there before the address was, for they were not translated', () => {
  assert.deepEqual(staleFlows([], [model('UDP', ['10.244.1.2'])], node), [
    { ...flow, replySource: '10.96.0.1' },
    { ...nodeFlow, replySource: '172.18.0.2' },
  ]);
});

test('flows of TCP are left alone', () => {
  assert.deepEqual(staleFlows([model('TCP', ['10.244.1.2'])], [], node), []);
});
