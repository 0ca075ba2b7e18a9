import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { createFakeClient } from '../k8s/fake-client.ts';
import { pods } from '../k8s/resources.ts';
import type { Pod } from '../k8s/types.generated.ts';
import { followClients } from './clients.ts';
import { laterNames } from './search.ts';

const zone = 'cluster.local';

test('a name of the search list is completed as a resolver of that namespace would', () => {
  assert.deepEqual(laterNames('example.com.shop.svc.cluster.local', 'shop', zone), {
    inside: ['example.com.svc.cluster.local', 'example.com.cluster.local'],
    outside: 'example.com',
  });
});

test('single labels, names of other namespaces and names of other zones are meant as they are', () => {
  for (const name of [
    'web.shop.svc.cluster.local',
    'example.com.other.svc.cluster.local',
    'shop.svc.cluster.local',
    'example.com',
    '.a.shop.svc.cluster.local',
  ])
    assert.equal(laterNames(name, 'shop', zone), undefined, name);
});

const pod = (name: string, namespace: string, ip: string, more: Partial<Pod['spec']> = {}): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace, uid: `${name}-uid` },
  spec: { containers: [{ name: 'c', image: 'i' }], nodeName: 'here', ...more },
  status: { phase: 'Running', podIP: ip, podIPs: [{ ip }] },
});

async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + 2000; !holds(); await delay(2))
    assert.ok(performance.now() < end, `not within 2 s: ${holds}`);
}

test('a client is the pod of this node that has its address now', async () => {
  const client = createFakeClient();
  const clients = followClients(client, 'here', () => {});
  await clients.synced;
  await delay(1);
  await client.create(pods, pod('a', 'one', '10.244.1.2'));
  await client.create(pods, pod('host', 'two', '172.18.0.2', { hostNetwork: true }));
  await client.create(pods, pod('far', 'three', '10.244.2.2', { nodeName: 'there' }));
  await until(() => clients.namespaceOf('10.244.1.2') === 'one');
  assert.equal(clients.namespaceOf('::ffff:10.244.1.2'), 'one');
  assert.equal(clients.namespaceOf('172.18.0.2'), undefined);
  assert.equal(clients.namespaceOf('10.244.2.2'), undefined);
  assert.deepEqual(
    ['one', 'two', 'three'].map((name) => clients.hasNamespace(name)),
    [true, false, false],
  );
  // The address is given again before the pod that had it is gone.
  const old = await client.get(pods, { name: 'a', namespace: 'one' });
  await client.update(pods, { ...old, status: { ...old.status, phase: 'Succeeded' } }, 'status');
  await client.create(pods, pod('b', 'four', '10.244.1.2'));
  await client.delete(pods, { name: 'a', namespace: 'one' }, { gracePeriodSeconds: 0 });
  await until(() => clients.namespaceOf('10.244.1.2') === 'four' && !clients.hasNamespace('one'));
  clients.stop();
  await client.close();
});
