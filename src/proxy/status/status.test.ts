import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../../k8s/object.ts';
import type { EndpointSlice, Service } from '../../k8s/types.generated.ts';
import { serviceModel } from '../service-model.ts';
import type { ProxyNode } from '../service-port.ts';
import { exponential, Histogram, Value } from './exposition.ts';
import { isEligible, ProxyHealth } from './health.ts';
import { healthCheckAnswer, healthCheckOf } from './health-check-ports.ts';
import { ProxyMetrics } from './metrics.ts';
import { ProgrammingLatency, triggerTimeAnnotation } from './programming-latency.ts';

const metadata = { name: 'web', namespace: 'default', uid: 'u', resourceVersion: '1', creationTimestamp: '' };
const node: ProxyNode = { name: 'here', addresses: [], nodePortAddresses: [], podCidrs: [] };

test('metrics are written as Prometheus reads them', () => {
  const counter = new Value('counter', 'a_total', 'How many.', []);
  counter.add(2, { code: '200', path: 'a"b\\c' });
  assert.deepEqual(counter.lines(), [
    '# HELP a_total How many.',
    '# TYPE a_total counter',
    'a_total{code="200",path="a\\"b\\\\c"} 2',
  ]);
  const histogram = new Histogram('t_seconds', 'How long.', [0.5, 1]);
  for (const value of [0.25, 0.5, 0.75, 4]) histogram.observe(value);
  assert.deepEqual(histogram.lines().slice(2), [
    't_seconds_bucket{le="0.5"} 2',
    't_seconds_bucket{le="1"} 3',
    't_seconds_bucket{le="+Inf"} 4',
    't_seconds_sum 5.5',
    't_seconds_count 4',
  ]);
  assert.deepEqual(exponential(0.001, 2, 3), [0.001, 0.002, 0.004]);
});

test('the latency of network programming has the buckets of kube-proxy', () => {
  const metrics = new ProxyMetrics(['IPv4']);
  metrics.programmed(0.3, 'IPv4');
  const page = metrics.text({ startedAt: 0, cpuSeconds: 0, residentBytes: 0 });
  const bounds = [...page.matchAll(/network_programming_duration_seconds_bucket\{ip_family="IPv4",le="([^"]+)"\}/g)];
  assert.equal(bounds.length, 81);
  assert.deepEqual(
    [0, 1, 2, 60, 61, 73, 79, 80].map((index) => bounds[index]?.[1]),
    ['0.25', '0.5', '1', '59', '60', '120', '300', '+Inf'],
  );
});

test('what waits for the kernel is counted until it is there', () => {
  const metrics = new ProxyMetrics(['IPv4'], () => 5000);
  const line = (name: string): string | undefined =>
    metrics
      .text({ startedAt: 0, cpuSeconds: 0, residentBytes: 0 })
      .split('\n')
      .find((one) => one.startsWith(`kubeproxy_sync_proxy_rules_${name}`));
  metrics.queued('a/b', 'endpoint');
  metrics.queued('a/b', 'endpoint');
  assert.match(line('endpoint_changes_pending') ?? '', / 1$/);
  assert.match(line('endpoint_changes_total') ?? '', / 2$/);
  assert.match(line('last_queued_timestamp_seconds') ?? '', / 5$/);
  metrics.synced(0.01, false);
  assert.match(line('endpoint_changes_pending') ?? '', / 0$/);
  assert.match(line('last_timestamp_seconds') ?? '', / 5$/);
});

const slice = (trigger?: string): Stored<EndpointSlice> => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { ...metadata, ...(trigger !== undefined && { annotations: { [triggerTimeAnnotation]: trigger } }) },
  addressType: 'IPv4',
  endpoints: ['here', 'here', 'there'].map((nodeName, index) => ({
    addresses: [`10.0.0.${index + 1}`],
    nodeName,
    conditions: { ready: index !== 1 },
  })),
  ports: [{ port: 8080, protocol: 'TCP' }],
});

test('latency is from the trigger to the kernel, of what was triggered since the start', () => {
  const latency = new ProgrammingLatency(Date.parse('2026-01-01T00:00:10Z'));
  latency.saw({ type: 'added', object: slice('2026-01-01T00:00:05Z') }, ['a/b']);
  latency.saw({ type: 'added', object: slice() }, ['a/b']);
  const next = slice('2026-01-01T00:00:20Z');
  latency.saw({ type: 'updated', old: slice(), object: next }, ['a/b']);
  latency.saw({ type: 'updated', old: next, object: next }, ['a/b']);
  const now = Date.parse('2026-01-01T00:00:22Z');
  assert.deepEqual(latency.written(['x/y'], now), []);
  assert.deepEqual(latency.written(['a/b'], now), [{ seconds: 2, family: 'IPv4' }]);
  assert.deepEqual(latency.written(['a/b'], now), []);
});

test('the proxy is healthy while no change waits too long; a node that leaves is not for load balancers', () => {
  const health = new ProxyHealth();
  const codes = (now: number): number[] => [health.answer('healthz', now).code, health.answer('livez', now).code];
  assert.deepEqual(codes(0), [503, 503], 'nothing was written yet');
  health.written(1000);
  assert.deepEqual(codes(1_000_000), [200, 200], 'nothing has changed since');
  health.queued(2_000_000);
  assert.deepEqual(codes(2_059_000), [200, 200]);
  assert.deepEqual(codes(2_061_000), [503, 503], 'a change that the kernel did not get');
  health.written(2_062_000);
  health.setEligible(false);
  assert.deepEqual(codes(2_063_000), [503, 200]);
});

test('a node with the taint of the autoscaler, or that is being deleted, is not eligible', () => {
  assert.equal(isEligible({ metadata: {} }), true);
  assert.equal(isEligible({ metadata: { deletionTimestamp: 'now' } }), false);
  const taints = [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }];
  assert.equal(isEligible({ metadata: {}, spec: { taints } }), false);
});

test('the health check of a Service counts its local endpoints that are ready', () => {
  const service: Stored<Service> = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata,
    spec: {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.1',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: 30999,
      ports: [{ port: 80 }],
    },
  };
  const check = healthCheckOf(serviceModel(service, [slice()], node, { externalIps: false }));
  assert.deepEqual(check, { port: 30999, namespace: 'default', name: 'web', localEndpoints: 1 });
  if (check === undefined) return;
  const body = { service: { namespace: 'default', name: 'web' }, localEndpoints: 1, serviceProxyHealthy: true };
  assert.deepEqual(healthCheckAnswer(check, true), { code: 200, body: JSON.stringify(body) });
  assert.equal(healthCheckAnswer(check, false).code, 503);
  assert.equal(healthCheckAnswer({ ...check, localEndpoints: 0 }, true).code, 503);
});
