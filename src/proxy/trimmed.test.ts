import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Stored } from '../k8s/object.ts';
import type { EndpointSlice } from '../k8s/types.generated.ts';
import { serviceModel } from './service-model.ts';
import type { ProxyNode } from './service-port.ts';
import { trimSlice } from './trimmed.ts';

const metadata = { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' };
const label = fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/);
const maybe = fc.option(fc.boolean(), { nil: undefined });
const endpoint = fc
  .record({
    last: fc.nat(250),
    ready: maybe,
    serving: maybe,
    terminating: maybe,
    nodeName: fc.option(label, { nil: undefined }),
    zones: fc.array(label, { maxLength: 2 }),
    nodes: fc.array(label, { maxLength: 2 }),
    pod: fc.option(label, { nil: undefined }),
  })
  .map(({ last, ready, serving, terminating, nodeName, zones, nodes, pod }) => ({
    addresses: [`10.0.0.${last}`],
    conditions: {
      ...(ready !== undefined && { ready }),
      ...(serving !== undefined && { serving }),
      ...(terminating !== undefined && { terminating }),
    },
    ...(nodeName !== undefined && { nodeName }),
    hints: { forZones: zones.map((name) => ({ name })), forNodes: nodes.map((name) => ({ name })) },
    ...(pod !== undefined && { targetRef: { kind: 'Pod', name: pod, namespace: 'default', uid: 'x' } }),
  }));

test('trimmed slices mean what the whole ones mean', () => {
  fc.assert(
    fc.property(fc.array(endpoint, { maxLength: 6 }), label, label, (endpoints, weighted, zone) => {
      const service = {
        apiVersion: 'v1' as const,
        kind: 'Service' as const,
        metadata: { ...metadata, annotations: { 'weft.dev/endpoint-weights': `${weighted}=3`, other: 'x' } },
        spec: { clusterIP: '10.96.0.1', ports: [{ port: 80 }], selector: { app: 'a' } },
      };
      const slice: Stored<EndpointSlice> = {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'web', other: 'x' } },
        addressType: 'IPv4',
        endpoints,
        ports: [{ port: 8080, protocol: 'TCP' }],
      };
      const node: ProxyNode = { name: 'a', addresses: [], nodePortAddresses: [], podCidrs: [], zone };
      const options = { externalIps: true };
      assert.deepEqual(
        serviceModel(service, [trimSlice(slice)], node, options),
        serviceModel(service, [slice], node, options),
      );
    }),
  );
});

test('what is trimmed keeps the Service of a slice and the time of its last change', () => {
  const time = { 'endpoints.kubernetes.io/last-change-trigger-time': '2026-01-01T00:00:00Z' };
  const labels = { 'kubernetes.io/service-name': 'web', app: 'x' };
  const trimmed = trimSlice({
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { ...metadata, labels, annotations: { ...time, other: 'x' } },
    addressType: 'IPv4',
    endpoints: [],
  });
  assert.deepEqual(trimmed.metadata.labels, { 'kubernetes.io/service-name': 'web' });
  assert.deepEqual(trimmed.metadata.annotations, time);
  assert.deepEqual(trimmed.endpoints, []);
});
