import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Client } from '../../src/k8s/client.ts';
import { isNotFound } from '../../src/k8s/client.ts';
import { isConditionTrue } from '../../src/k8s/conditions.ts';
import { isPodReady } from '../../src/k8s/pod.ts';
import * as kinds from '../../src/k8s/resources.ts';
import type { Deployment, Service } from '../../src/k8s/types.generated.ts';
import { startTestCluster, type TestCluster, until } from './cluster.ts';

let cluster: TestCluster;
let client: Client;

before(async () => {
  cluster = await startTestCluster(['n1', 'n2', 'n3']);
  client = cluster.client;
  await until(client.cache(kinds.serviceAccounts), 'default ServiceAccount', (all) =>
    all.some(({ metadata }) => metadata.namespace === 'default'),
  );
});
after(() => cluster.stop());

const deployment = (name: string, replicas: number, more: object = {}, image = 'a:1'): Deployment => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name, namespace: 'default' },
  spec: {
    replicas,
    selector: { matchLabels: { app: name } },
    template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'c', image }] } },
    ...more,
  },
});

test('a Deployment of 3 replicas runs on 3 nodes, has a revision and is reported complete', async () => {
  const started = performance.now();
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=web' });
  await podCache.synced;
  await client.create(kinds.deployments, deployment('web', 3));
  await until(podCache, 'three pods', (pods) => pods.length === 3);
  const created = performance.now() - started;
  await until(podCache, 'three ready pods', (pods) => pods.filter(isPodReady).length === 3);
  assert.equal(new Set(podCache.list().map(({ spec }) => spec?.nodeName)).size, 3);
  await until(
    client.cache(kinds.deployments),
    'complete',
    ([web]) =>
      web?.status?.availableReplicas === 3 &&
      web.status.conditions?.some(({ reason }) => reason === 'NewReplicaSetAvailable') === true,
  );
  const web = await client.get(kinds.deployments, { namespace: 'default', name: 'web' });
  assert.equal(web.metadata.annotations?.['deployment.kubernetes.io/revision'], '1');
  assert.ok(isConditionTrue(web.status?.conditions, 'Available'));
  console.log(`pods created ${created.toFixed(0)} ms after the apply`);
});

test('a Service of it has all pods as ready endpoints, and Endpoints as well', async () => {
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }] },
  };
  await client.create(kinds.services, service);
  const own = client.cache(kinds.endpointSlices, { labelSelector: 'kubernetes.io/service-name=web' });
  await until(
    own,
    'a slice of three',
    ([slice]) => slice?.endpoints?.filter(({ conditions }) => conditions?.ready).length === 3,
  );
  assert.equal(own.list()[0]?.ports?.[0]?.port, 8080);
  await until(client.cache(kinds.endpoints), 'Endpoints', (all) =>
    all.some(({ metadata, subsets }) => metadata.name === 'web' && subsets?.[0]?.addresses?.length === 3),
  );
  own.stop();
});

test('a changed template rolls out to a second revision and leaves the old ReplicaSet at 0', async () => {
  const patch = { spec: { template: { spec: { containers: [{ name: 'c', image: 'a:2' }] } } } };
  await client.patch(kinds.deployments, { namespace: 'default', name: 'web' }, { type: 'strategic', body: patch });
  await until(client.cache(kinds.replicaSets), 'two sets, the new one full', (sets) => {
    const mine = sets.filter(({ metadata }) => metadata.labels?.app === 'web');
    return (
      mine.length === 2 &&
      mine.some(({ spec, status }) => spec.replicas === 0 && status?.replicas === 0) &&
      mine.some(({ status }) => status?.availableReplicas === 3)
    );
  });
  await until(
    client.cache(kinds.deployments),
    'complete',
    ([web]) =>
      web?.status?.updatedReplicas === 3 &&
      web.status.replicas === 3 &&
      web.metadata.annotations?.['deployment.kubernetes.io/revision'] === '2',
  );
});

test('scaling changes no revision, and deleting the Deployment takes ReplicaSets and pods with it', async () => {
  await client.patch(
    kinds.deployments,
    { namespace: 'default', name: 'web' },
    { type: 'merge', body: { spec: { replicas: 5 } } },
  );
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=web' });
  await until(podCache, 'five ready pods', (pods) => pods.filter(isPodReady).length === 5);
  assert.equal((await client.list(kinds.replicaSets, { labelSelector: 'app=web' })).items.length, 2);
  await client.delete(kinds.deployments, { namespace: 'default', name: 'web' });
  await until(podCache, 'no pods', (pods) => pods.length === 0);
  await until(client.cache(kinds.replicaSets, { labelSelector: 'app=web' }), 'no sets', (sets) => sets.length === 0);
});

test('Recreate removes the old pods before the first new one comes', async () => {
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=re' });
  await client.create(kinds.deployments, deployment('re', 2, { strategy: { type: 'Recreate' } }));
  await until(podCache, 'two ready', (pods) => pods.filter(isPodReady).length === 2);
  let mixed = false;
  podCache.subscribe(() => {
    if (new Set(podCache.list().map(({ spec }) => spec?.containers[0]?.image)).size > 1) mixed = true;
  });
  const patch = { spec: { template: { spec: { containers: [{ name: 'c', image: 'a:2' }] } } } };
  await client.patch(kinds.deployments, { namespace: 'default', name: 're' }, { type: 'strategic', body: patch });
  await until(
    podCache,
    'two new',
    (pods) => pods.length === 2 && pods.every((pod) => pod.spec?.containers[0]?.image === 'a:2' && isPodReady(pod)),
  );
  assert.equal(mixed, false);
});

test('a pod that fits nowhere is told why, and is placed once it fits', async () => {
  const podCache = client.cache(kinds.pods, { fieldSelector: 'metadata.name=picky' });
  await client.create(kinds.pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'picky', namespace: 'default' },
    spec: { containers: [{ name: 'c', image: 'a' }], nodeSelector: { disk: 'ssd' } },
  });
  await until(
    podCache,
    'condition',
    ([pod]) =>
      pod?.status?.conditions?.some(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable') ===
      true,
  );
  const message = podCache.list()[0]?.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.message;
  assert.match(message ?? '', /^0\/3 nodes are available: 3 node\(s\) didn't match Pod's node affinity\/selector\./);
  await client.patch(kinds.nodes, { name: 'n2' }, { type: 'merge', body: { metadata: { labels: { disk: 'ssd' } } } });
  await until(podCache, 'placed', ([pod]) => pod?.spec?.nodeName === 'n2');
});

test('nodes have their own pod ranges', async () => {
  await until(client.cache(kinds.nodes), 'ranges', (all) => all.every(({ spec }) => spec?.podCIDR !== undefined));
  const { items } = await client.list(kinds.nodes);
  assert.deepEqual(items.map(({ spec }) => spec?.podCIDR).sort(), ['10.244.0.0/24', '10.244.1.0/24', '10.244.2.0/24']);
});

test('a deleted namespace takes its content with it, with foreground and orphan rules kept', async () => {
  await client.create(kinds.namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'short' }, spec: {} });
  await until(client.cache(kinds.configMaps), 'kube-root-ca.crt', (all) =>
    all.some(({ metadata }) => metadata.namespace === 'short'),
  );
  await client.create(kinds.deployments, { ...deployment('x', 2), metadata: { name: 'x', namespace: 'short' } });
  const podCache = client.cache(kinds.pods, { namespace: 'short' });
  await until(podCache, 'two ready', (pods) => pods.filter(isPodReady).length === 2);
  await client.delete(kinds.namespaces, { name: 'short' });
  await until(client.cache(kinds.namespaces), 'gone', (all) => !all.some(({ metadata }) => metadata.name === 'short'));
  assert.equal((await client.list(kinds.pods, { namespace: 'short' })).items.length, 0);
});

test('orphaned pods stay, and foreground deletion waits for the dependents', async () => {
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=o' });
  await client.create(kinds.deployments, deployment('o', 1));
  await until(podCache, 'one ready', (pods) => pods.filter(isPodReady).length === 1);
  const set = (await client.list(kinds.replicaSets, { labelSelector: 'app=o' })).items[0];
  assert(set);
  await client.delete(kinds.deployments, { namespace: 'default', name: 'o' }, { propagationPolicy: 'Orphan' });
  await until(client.cache(kinds.deployments), 'gone', (all) => !all.some(({ metadata }) => metadata.name === 'o'));
  assert.deepEqual((await client.get(kinds.replicaSets, set.metadata)).metadata.ownerReferences ?? [], []);
  const order: string[] = [];
  const sets = client.cache(kinds.replicaSets, { labelSelector: 'app=o' });
  await sets.synced;
  sets.subscribe(({ type }) => type === 'deleted' && order.push('set'));
  podCache.subscribe(({ type }) => type === 'deleted' && order.push('pod'));
  await client.delete(kinds.replicaSets, set.metadata, { propagationPolicy: 'Foreground' });
  await until(sets, 'set gone', (all) => all.length === 0);
  assert.deepEqual(order, ['pod', 'set']);
  assert(isNotFound(await client.get(kinds.replicaSets, set.metadata).catch((error: unknown) => error)));
});
