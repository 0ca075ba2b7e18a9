// Metrics, health and the health checks of Services, asked over HTTP as load balancers and Prometheus do.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Node } from '../../src/k8s/types.generated.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';

describe('the status of the proxy', { timeout: 60_000 }, () => {
  let network: Network;
  let proxy: ProxyProcess;
  /** The answer with its status and headers, as curl prints it. */
  const get = (from: string, url: string): string => network.run(from, 'curl', '-sgi', '--max-time', '5', url);
  const node = (spec: Node['spec'] = {}): Node => ({
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node' },
    spec,
  });
  const balanced = (port: number) =>
    service('balanced', {
      type: 'LoadBalancer',
      clusterIP: '10.96.0.9',
      externalTrafficPolicy: 'Local',
      healthCheckNodePort: port,
      ports: [{ port: 80, protocol: 'TCP', nodePort: 30_080 }],
    });

  before(async () => {
    network = new Network();
    proxy = new ProxyProcess(network);
    await proxy.start(node(), balanced(32_100), slice('balanced', [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }]));
  });
  after(() => network.remove());

  test('metrics have the names of kube-proxy', () => {
    const page = get('node', 'http://127.0.0.1:10249/metrics');
    assert.match(page, /^HTTP\/1.1 200 OK/);
    assert.match(page, /^kubeproxy_sync_proxy_rules_duration_seconds_count\{ip_family="IPv4"\} [1-9]/m);
    assert.match(page, /^kubeproxy_sync_proxy_rules_last_timestamp_seconds\{ip_family="IPv6"\} 1\d{9}\.?\d*$/m);
    assert.match(page, /^kubeproxy_sync_proxy_rules_nftables_sync_failures_total\{ip_family="IPv4"\} 0$/m);
    assert.match(get('node', 'http://127.0.0.1:10249/proxyMode'), /\r\n\r\nnftables$/);
    assert.match(get('node', 'http://127.0.0.1:10249/nothing'), /^HTTP\/1.1 404/);
  });

  test('a change of endpoints is measured from its trigger to the kernel', async () => {
    const triggered = slice('balanced', [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.1.4' }]);
    const trigger = { 'endpoints.kubernetes.io/last-change-trigger-time': new Date(Date.now() + 1).toISOString() };
    await proxy.put({ ...triggered, metadata: { ...triggered.metadata, annotations: trigger } });
    const page = get('node', 'http://127.0.0.1:10249/metrics');
    assert.match(page, /^kubeproxy_network_programming_duration_seconds_count\{ip_family="IPv4"\} 1$/m);
    assert.match(page, /^kubeproxy_network_programming_duration_seconds_bucket\{ip_family="IPv4",le="1"\} 1$/m);
  });

  test('load balancers learn by the health check whether the node has endpoints, and how many', async () => {
    const some = get('outside', 'http://172.18.0.2:32100/');
    assert.match(some, /^HTTP\/1.1 200 OK/);
    assert.match(some, /^x-load-balancing-endpoint-weight: 3\r$/im);
    assert.match(some, /\{"service":\{"namespace":"default","name":"balanced"\},"localEndpoints":3,/);
    assert.match(get('node', 'http://[fd18::2]:32100/'), /^HTTP\/1.1 200 OK/);
    await proxy.put(slice('balanced', [{ ip: '10.244.2.2', node: 'remote' }]));
    const none = get('outside', 'http://172.18.0.2:32100/');
    assert.match(none, /^HTTP\/1.1 503/);
    assert.match(none, /^x-load-balancing-endpoint-weight: 0\r$/im);
    assert.match(
      get('node', 'http://127.0.0.1:10249/metrics'),
      /no_local_endpoints_total\{ip_family="IPv4",traffic_policy="external"\} 1$/m,
    );
  });

  test('the port of a health check follows the Service, and closes with it', async () => {
    await proxy.put(balanced(32_101), slice('balanced', [{ ip: '10.244.1.2' }]));
    assert.match(get('outside', 'http://172.18.0.2:32101/'), /^HTTP\/1.1 200 OK/);
    assert.equal(await network.ask('outside', 'tcp', '172.18.0.2', 32_100), 'refused');
    await proxy.delete(balanced(32_101));
    assert.equal(await network.ask('outside', 'tcp', '172.18.0.2', 32_101), 'refused');
  });

  test('a node that is about to go is no longer for load balancers, though its proxy lives', async () => {
    assert.match(get('outside', 'http://172.18.0.2:10256/healthz'), /^HTTP\/1.1 200 OK.*"nodeEligible":true/s);
    await proxy.put(node({ taints: [{ key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' }] }));
    assert.match(get('outside', 'http://172.18.0.2:10256/healthz'), /^HTTP\/1.1 503.*"nodeEligible":false/s);
    assert.match(get('outside', 'http://172.18.0.2:10256/livez'), /^HTTP\/1.1 200 OK/);
    assert.match(get('node', 'http://127.0.0.1:10249/metrics'), /^kubeproxy_proxy_healthz_total\{code="503"\} 1$/m);
  });
});
