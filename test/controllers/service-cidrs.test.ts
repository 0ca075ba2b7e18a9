// ServiceCIDRs and IPAddresses as the controllers keep them.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Cache } from '../../src/k8s/client.ts';
import { events, ipAddresses, serviceCidrs, services } from '../../src/k8s/resources.ts';
import type { Event, IPAddress, Service, ServiceCIDR } from '../../src/k8s/types.generated.ts';
import { startTestCluster, type TestCluster, until } from './cluster.ts';

let cluster: TestCluster;
let cidrs: Cache<ServiceCIDR>;
let addresses: Cache<IPAddress>;
let told: Cache<Event>;
before(async () => {
  cluster = await startTestCluster([]);
  cidrs = cluster.client.cache(serviceCidrs);
  addresses = cluster.client.cache(ipAddresses);
  told = cluster.client.cache(events);
  await Promise.all([cidrs.synced, addresses.synced, told.synced]);
});
after(async () => {
  for (const cache of [cidrs, addresses, told]) cache.stop();
  await cluster.stop();
});

const newService = (name: string, clusterIP?: string): Service => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name, namespace: 'default' },
  spec: { ports: [{ port: 80 }], ...(clusterIP !== undefined && { clusterIP }) },
});
const newCidr = (name: string, cidr: string): ServiceCIDR => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'ServiceCIDR',
  metadata: { name },
  spec: { cidrs: [cidr] },
});
const conditionOf = (name: string): string | undefined =>
  cidrs.get({ name })?.status?.conditions?.find(({ type }) => type === 'Ready')?.status;
const isTold = (reason: string, name: string): boolean =>
  told.list().some((event) => event.reason === reason && event.involvedObject.name === name);

test('a deleted ServiceCIDR waits until no Service has an address of it', async () => {
  const { client } = cluster;
  await client.create(serviceCidrs, newCidr('extra', '10.97.0.0/24'));
  await until(cidrs, 'a ready ServiceCIDR', () => conditionOf('extra') === 'True');
  await client.create(services, newService('tenant', '10.97.0.5'));
  await client.delete(serviceCidrs, { name: 'extra' });
  await until(cidrs, 'a held ServiceCIDR', () => conditionOf('extra') === 'False');
  assert.match(cidrs.get({ name: 'extra' })?.status?.conditions?.[0]?.message ?? '', /still IPAddresses referencing/);
  await client.delete(services, { name: 'tenant', namespace: 'default' });
  await until(cidrs, 'no ServiceCIDR extra', () => cidrs.get({ name: 'extra' }) === undefined);
});

test('a deleted ServiceCIDR goes at once where another one has its addresses too', async () => {
  const { client } = cluster;
  await client.create(serviceCidrs, newCidr('wide', '10.98.0.0/16'));
  await client.create(serviceCidrs, newCidr('narrow', '10.98.0.0/24'));
  await until(
    cidrs,
    'two ready ServiceCIDRs',
    () => conditionOf('wide') === 'True' && conditionOf('narrow') === 'True',
  );
  await client.create(services, newService('shared', '10.98.0.5'));
  await client.delete(serviceCidrs, { name: 'narrow' });
  await until(cidrs, 'no ServiceCIDR narrow', () => cidrs.get({ name: 'narrow' }) === undefined);
});

test('an IPAddress that is deleted by hand is made again, with an Event', async () => {
  const { client } = cluster;
  const { spec } = await client.create(services, newService('kept'));
  const name = spec?.clusterIP ?? '';
  await until(addresses, 'the IPAddress', () => addresses.get({ name }) !== undefined);
  const uid = addresses.get({ name })?.metadata.uid;
  await client.delete(ipAddresses, { name });
  await until(addresses, 'another IPAddress', () => (addresses.get({ name })?.metadata.uid ?? uid) !== uid);
  await until(told, 'the Event', () => isTold('ClusterIPNotAllocated', 'kept'));
});

test('an IPAddress of a Service that is not there is collected, with an Event', async () => {
  const { client } = cluster;
  const parentRef = { group: '', resource: 'services', namespace: 'default', name: 'never-was' };
  const labels = {
    'ipaddress.kubernetes.io/ip-family': 'IPv4',
    'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
  };
  const metadata = { name: '10.96.7.7', labels };
  await client.create(ipAddresses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata,
    spec: { parentRef },
  });
  await until(told, 'the Event', () => isTold('IPAddressNotAllocated', '10.96.7.7'));
  await until(addresses, 'no IPAddress 10.96.7.7', () => addresses.get({ name: '10.96.7.7' }) === undefined);
});

test('an IPAddress that is not a Service’s is left alone', async () => {
  const { client } = cluster;
  const parentRef = { group: 'example.com', resource: 'things', name: 'a' };
  await client.create(ipAddresses, {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'IPAddress',
    metadata: { name: '10.96.8.8' },
    spec: { parentRef },
  });
  // Something that the repair does later has happened, so it has looked at the first one.
  const { spec } = await client.create(services, newService('later'));
  await client.delete(ipAddresses, { name: spec?.clusterIP ?? '' });
  await until(told, 'the Event', () => isTold('ClusterIPNotAllocated', 'later'));
  assert.ok(addresses.get({ name: '10.96.8.8' }) !== undefined);
});

test('no Event is told of a Service whose address is as it should be', async () => {
  await cluster.client.create(services, newService('quiet'));
  const { spec } = await cluster.client.create(services, newService('loud'));
  await cluster.client.delete(ipAddresses, { name: spec?.clusterIP ?? '' });
  await until(told, 'the Event', () => isTold('ClusterIPNotAllocated', 'loud'));
  assert.ok(!told.list().some(({ involvedObject }) => involvedObject.name === 'quiet'));
});
