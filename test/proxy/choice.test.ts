// Which of several endpoints a client gets, with real packets: session affinity, weights, the choice by client address.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { EndpointSlice, Node, Service } from '../../src/k8s/types.generated.ts';
import { installedBackends } from '../../src/linux/iptables-run.ts';
import { Asker } from './asker.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice, type TestEndpoint } from './objects.ts';

const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
const letters = new Map([a, b, c].map((one, index) => ['abc'.charAt(index), one]));
const servicePorts = ['TCP', 'UDP'].map((protocol) => ({
  name: protocol.toLowerCase(),
  port: 80,
  protocol,
  nodePort: 30_100,
}));
const endpointPorts = ['TCP', 'UDP'].map((protocol) => ({ name: protocol.toLowerCase(), port: 8080, protocol }));
const annotated = (object: Service, annotations: Record<string, string>): Service => ({
  ...object,
  metadata: { ...object.metadata, annotations },
});
/** Addresses of clients outside of the cluster. */
const clients = Array.from({ length: 40 }, (_, index) => `172.18.1.${index + 1}`);

const whyNot = (mode: string): string | false =>
  mode === 'iptables' && installedBackends().length === 0 && 'iptables is not installed';

for (const mode of ['nftables', 'iptables'] as const)
  describe(`the choice of an endpoint in the mode ${mode}`, { timeout: 60_000, skip: whyNot(mode) }, () => {
    let network: Network;
    let proxy: ProxyProcess;
    let asker: Asker;
    const put = (object: Service, endpoints: readonly TestEndpoint[]): Promise<void> =>
      proxy.put(object, slice(object.metadata.name ?? '', endpoints, endpointPorts));
    /** Who answers each client, once. */
    const answers = (address: string, port = 80, protocol: 'tcp' | 'udp' = 'tcp'): Promise<string[]> =>
      Promise.all(
        clients.map(async (source) => (await asker.ask({ protocol, address, port, source })).split(' ')[0] ?? ''),
      );

    before(async () => {
      network = new Network();
      // ICMP errors are limited to few a second, and redirects count too.
      network.run('node', 'sysctl', '-qw', 'net.ipv4.icmp_ratelimit=0');
      for (const client of clients) network.run('outside', 'ip', 'addr', 'add', `${client}/32`, 'dev', 'eth0');
      await Promise.all([
        network.serve('a', 'a'),
        network.serve('b', 'b'),
        network.serve('remote', 'c', 8080, '10.244.2.2'),
      ]);
      proxy = new ProxyProcess(network, mode);
      await proxy.start(service('first', { clusterIP: '10.96.0.1' }), slice('first', [a]));
      asker = new Asker(network, 'outside');
    });
    after(() => network.remove());

    test('session affinity holds over all ports, protocols and addresses of a Service', {
      skip: mode === 'iptables' && 'the kernel remembers a client for each port, as with kube-proxy',
    }, async () => {
      const spec = { clusterIP: '10.96.0.2', type: 'NodePort', sessionAffinity: 'ClientIP', ports: servicePorts };
      await put(service('sticky', spec), [a, b, c]);
      const first = await answers('10.96.0.2');
      assert.deepEqual([...new Set(first)].sort(), ['a', 'b', 'c']);
      assert.deepEqual(await answers('10.96.0.2', 80, 'udp'), first);
      assert.deepEqual(await answers('172.18.0.2', 30_100), first);
      assert.deepEqual(await answers('172.18.0.2', 30_100, 'udp'), first);
    });

    test('two Services on the ports of one node each remember their own endpoint', async () => {
      const spec = { type: 'NodePort', sessionAffinity: 'ClientIP' };
      const ports = [{ ...servicePorts[0], port: 80, nodePort: 30_101 }];
      await put(service('other', { ...spec, clusterIP: '10.96.0.3', ports }), [c, b]);
      const sticky = await answers('172.18.0.2', 30_100);
      const other = await answers('172.18.0.2', 30_101);
      assert.deepEqual(await answers('172.18.0.2', 30_100), sticky);
      assert.deepEqual(await answers('172.18.0.2', 30_101), other);
    });

    test('a remembered endpoint on another node is not followed under the policy Local', async () => {
      const spec = { clusterIP: '10.96.0.2', type: 'NodePort', sessionAffinity: 'ClientIP', ports: servicePorts };
      await put(service('sticky', { ...spec, externalTrafficPolicy: 'Local' }), [a, c]);
      await answers('10.96.0.2');
      assert.deepEqual([...new Set(await answers('172.18.0.2', 30_100))], ['a']);
    });

    test('by client address, each client keeps its endpoint whatever becomes of the others', async () => {
      const spec = { clusterIP: '10.96.0.4', ports: servicePorts.map(({ nodePort: _, ...port }) => port) };
      const stable = annotated(service('stable', spec), { 'weft.dev/endpoint-choice': 'client-address' });
      await put(stable, [a, b, c]);
      const before = await answers('10.96.0.4');
      assert.deepEqual([...new Set(before)].sort(), ['a', 'b', 'c']);
      assert.deepEqual(await answers('10.96.0.4', 80, 'udp'), before);
      for (const [gone] of letters) {
        await put(
          stable,
          [...letters].filter(([letter]) => letter !== gone).map(([, endpoint]) => endpoint),
        );
        const after = await answers('10.96.0.4');
        assert.ok(
          after.every((letter, index) => letter !== gone && (before[index] === gone || before[index] === letter)),
        );
      }
      await put(stable, [a, b, c]);
      assert.deepEqual(await answers('10.96.0.4'), before);
    });

    test('endpoints get connections by their weights', async () => {
      const spec = { clusterIP: '10.96.0.5', ports: servicePorts.map(({ nodePort: _, ...port }) => port) };
      const of = (weights: string) => annotated(service('weighted', spec), { 'weft.dev/endpoint-weights': weights });
      await put(of('10.244.1.2=9, 10.244.1.3=0'), [a, b, c]);
      const found = [...(await answers('10.96.0.5')), ...(await answers('10.96.0.5')), ...(await answers('10.96.0.5'))];
      const count = (letter: string) => found.filter((one) => one === letter).length;
      // 120 connections, 108 of them on average with a deviation of 3.3.
      assert.ok(count('a') > 85 && count('a') < 120, `${count('a')} of ${found.length}`);
      assert.equal(count('b'), 0);
      await put(of('10.244.1.2=0'), [a]);
      assert.deepEqual([...new Set(await answers('10.96.0.5'))], ['refused']);
    });

    test('a wrong annotation is told by an Event, and every endpoint is chosen', async () => {
      const spec = { clusterIP: '10.96.0.6', ports: servicePorts.map(({ nodePort: _, ...port }) => port) };
      await put(annotated(service('wrong', spec), { 'weft.dev/endpoint-weights': 'a=many' }), [a, b]);
      await proxy.event('InvalidAnnotation');
      assert.match(
        proxy.events.at(-1) ?? '',
        /^InvalidAnnotation annotation weft.dev\/endpoint-weights: 'a=many' is not a list/,
      );
      assert.deepEqual([...new Set(await answers('10.96.0.6'))].sort(), ['a', 'b']);
    });

    test('hints are followed by the zone of the node, and so is a change of its label', async () => {
      const spec = { clusterIP: '10.96.0.7', ports: servicePorts.map(({ nodePort: _, ...port }) => port) };
      const plain = slice('zoned', [a, c], endpointPorts);
      const zones = ['z1', 'z2'];
      const endpoints = (plain.endpoints ?? []).map((endpoint, index) => ({
        ...endpoint,
        hints: { forZones: [{ name: zones[index] ?? '' }] },
      }));
      const zoned: EndpointSlice = { ...plain, endpoints };
      const node = (zone?: string): Node => ({
        apiVersion: 'v1',
        kind: 'Node',
        metadata: { name: 'node', ...(zone !== undefined && { labels: { 'topology.kubernetes.io/zone': zone } }) },
        spec: {},
      });
      for (const [zone, expected] of [
        ['z1', ['a']],
        ['z2', ['c']],
        [undefined, ['a', 'c']],
      ] as const) {
        await proxy.put(node(zone), service('zoned', spec), zoned);
        assert.deepEqual([...new Set(await answers('10.96.0.7'))].sort(), expected);
      }
    });
  });
