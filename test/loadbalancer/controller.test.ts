// Addresses for Services of type LoadBalancer: the controller and the kinds of MetalLB at a real API server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { pino } from 'pino';
import { ensureLoadBalancers } from '../../src/cluster/load-balancer-addon.ts';
import { ApiError, type Client } from '../../src/k8s/client.ts';
import { type BGPPeer, bgpPeers, type IPAddressPool, ipAddressPools } from '../../src/k8s/load-balancer.ts';
import { events, services } from '../../src/k8s/resources.ts';
import type { Service } from '../../src/k8s/types.generated.ts';
import { cleanupFinalizer, startLoadBalancerController } from '../../src/loadbalancer/controller.ts';
import { startTestCluster, type TestCluster } from '../controllers/cluster.ts';
import { eventually } from './lan.ts';

const log = pino({ level: process.env.WEFT_LOG ?? 'silent' }, pino.destination(2));
const namespace = 'default';
let cluster: TestCluster;
let client: Client;
let controller: { stop(): Promise<void> };

before(async () => {
  cluster = await startTestCluster([]);
  client = cluster.client;
  await ensureLoadBalancers(client, 'none');
  controller = startLoadBalancerController({ client, log });
});
after(async () => {
  await controller.stop();
  await cluster.stop();
});

function balancer(name: string, spec: Service['spec'] = {}, annotations: Record<string, string> = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, annotations },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], selector: { app: 'web' }, ...spec },
  };
}

function pool(name: string, addresses: string[], spec: Partial<IPAddressPool['spec']> = {}): IPAddressPool {
  return {
    apiVersion: 'metallb.io/v1beta1',
    kind: 'IPAddressPool',
    metadata: { name, namespace: 'metallb-system' },
    spec: { addresses, ...spec },
  };
}

const ingressOf = async (name: string) =>
  (await client.get(services, { namespace, name })).status?.loadBalancer?.ingress ?? [];
const addressOf = async (name: string): Promise<string | undefined> => (await ingressOf(name))[0]?.ip;
const addressSoon = async (name: string): Promise<string> => {
  await eventually(`${name} has an address`, 1000, async () => (await addressOf(name)) !== undefined);
  return (await addressOf(name)) ?? '';
};
const eventsOf = async (name: string, reason: string): Promise<string[]> =>
  (await client.list(events, { fieldSelector: `involvedObject.name=${name},reason=${reason}` })).items.map(
    ({ message = '' }) => message,
  );
const told = (name: string, reason: string, text: RegExp): Promise<number> =>
  eventually(`${name}: ${reason} ${text}`, 3000, async () =>
    (await eventsOf(name, reason)).some((one) => text.test(one)),
  );
const remove = async (...names: string[]): Promise<void> => {
  for (const name of names) await client.delete(services, { namespace, name });
  await eventually('the Services are gone', 3000, async () => {
    const left = (await client.list(services, { namespace })).items.map(({ metadata }) => metadata.name);
    return !names.some((name) => left.includes(name));
  });
};

test('without a pool a Service waits and an Event says why; with one it has its address within a second', async () => {
  await client.create(services, balancer('waits'));
  await told('waits', 'AllocationFailed', /there is no IPAddressPool/);
  assert.deepEqual(await ingressOf('waits'), []);
  await client.create(ipAddressPools, pool('first', ['192.0.2.0/30']));
  assert.equal(await addressSoon('waits'), '192.0.2.0');
  const { metadata, status } = await client.get(services, { namespace, name: 'waits' });
  assert.deepEqual(status?.loadBalancer?.ingress, [{ ip: '192.0.2.0', ipMode: 'VIP' }]);
  assert.ok(metadata.finalizers?.includes(cleanupFinalizer));
  assert.equal(metadata.annotations?.['metallb.io/ip-allocated-from-pool'], 'first');
  await told('waits', 'IPAllocated', /192\.0\.2\.0 from pool first/);
  await told('waits', 'NotAnnounced', /no L2Advertisement or BGPAdvertisement/);
});

test('what is asked for in vain is said; a Service of another class is left alone', async () => {
  const cases: [string, Service, RegExp][] = [
    ['outside', balancer('outside', { loadBalancerIP: '203.0.113.1' }), /203\.0\.113\.1 is in no IPAddressPool/],
    ['taken', balancer('taken', { loadBalancerIP: '192.0.2.0' }), /that of the Service default\/waits/],
    ['nowhere', balancer('nowhere', {}, { 'metallb.io/address-pool': 'x' }), /there is no IPAddressPool x/],
  ];
  for (const [, service] of cases) await client.create(services, service);
  await client.create(services, balancer('foreign', { loadBalancerClass: 'example.com/other' }));
  await client.create(services, balancer('named', { loadBalancerClass: 'weft.dev/load-balancer' }));
  for (const [name, , reason] of cases) await told(name, 'AllocationFailed', reason);
  await addressSoon('named');
  assert.deepEqual(await ingressOf('foreign'), []);
  assert.deepEqual((await client.get(services, { namespace, name: 'foreign' })).metadata.finalizers ?? [], []);
  await remove('outside', 'nowhere', 'foreign', 'named');
});

test('an address that comes free goes to a Service that waits for it; a change of the type gives it back', async () => {
  const body = { spec: { type: 'ClusterIP' } };
  await client.patch(services, { namespace, name: 'waits' }, { type: 'merge', body });
  assert.equal(await addressSoon('taken'), '192.0.2.0');
  await eventually('nothing is left at the former', 1000, async () => {
    const { metadata, status } = await client.get(services, { namespace, name: 'waits' });
    const marks = [...(metadata.finalizers ?? []), ...Object.keys(metadata.annotations ?? {})];
    return marks.length === 0 && status?.loadBalancer?.ingress === undefined;
  });
  await remove('taken', 'waits');
});

test('many created at once: each has its own address, and keeps it when the controller starts anew', async () => {
  await client.create(ipAddressPools, pool('many', ['198.51.100.0/25'], { avoidBuggyIPs: true }));
  const names = Array.from({ length: 40 }, (_, index) => `many-${index}`);
  await Promise.all(names.map((name) => client.create(services, balancer(name))));
  for (const name of names) await addressSoon(name);
  const addresses = async (of: readonly string[]) =>
    new Map(await Promise.all(of.map(async (name) => [name, await addressOf(name)] as const)));
  const first = await addresses(names);
  assert.equal(new Set(first.values()).size, names.length);
  const counted = async () => (await client.get(ipAddressPools, { namespace: 'metallb-system', name: 'many' })).status;
  await eventually('the pool counts them', 2000, async () => (await counted())?.assignedIPv4 === 36);
  assert.equal((await counted())?.availableIPv4, 127 - 36);
  await controller.stop();
  await client.delete(services, { namespace, name: 'many-7' });
  await client.create(services, balancer('late', { loadBalancerIP: '198.51.100.100' }));
  controller = startLoadBalancerController({ client, log });
  assert.equal(await addressSoon('late'), '198.51.100.100');
  const kept = names.filter((name) => name !== 'many-7');
  first.delete('many-7');
  assert.deepEqual(await addresses(kept), first);
  await eventually('what was deleted meanwhile is gone', 2000, async () =>
    (await client.list(services, { namespace })).items.every(({ metadata }) => metadata.name !== 'many-7'),
  );
  await remove(...kept, 'late');
});

test('a pool that cannot be followed: refused by its schema, or told with its field while the last good one stays', async () => {
  await assert.rejects(
    client.create(ipAddressPools, pool('bad', ['192.0.2'])),
    (error: unknown) => error instanceof ApiError && /spec\.addresses\[0\]/.test(error.message),
  );
  const key = { namespace: 'metallb-system', name: 'first' };
  const body = { spec: { addresses: ['192.0.2.9-192.0.2.1'] } };
  await client.patch(ipAddressPools, key, { type: 'merge', body });
  await told(
    'first',
    'InvalidConfiguration',
    /spec\.addresses\[0\]: '192\.0\.2\.9-192\.0\.2\.1' ends before it begins/,
  );
  await client.create(services, balancer('still', {}, { 'metallb.io/address-pool': 'first' }));
  assert.equal(await addressSoon('still'), '192.0.2.0');
  await remove('still');
});

test('a BGPPeer without the fabric that speaks BGP is told so', async () => {
  const peer: BGPPeer = {
    apiVersion: 'metallb.io/v1beta2',
    kind: 'BGPPeer',
    metadata: { name: 'tor', namespace: 'metallb-system' },
    spec: { myASN: 64512, peerASN: 64513, peerAddress: '192.0.2.254' },
  };
  await client.create(bgpPeers, peer);
  await told('tor', 'NotSpoken', /fabric bgp, and the cluster's is host-gw/);
});
