import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Client } from '../../src/k8s/client.ts';
import { conditionOf, isConditionTrue } from '../../src/k8s/conditions.ts';
import { isPodReady } from '../../src/k8s/pod.ts';
import * as kinds from '../../src/k8s/resources.ts';
import type { DaemonSet, Job, StatefulSet } from '../../src/k8s/types.generated.ts';
import { startTestCluster, type TestCluster, until } from './cluster.ts';

let cluster: TestCluster;
let client: Client;

before(async () => {
  cluster = await startTestCluster(['n1', 'n2']);
  client = cluster.client;
  const accounts = client.cache(kinds.serviceAccounts);
  await until(accounts, 'default ServiceAccount', (all) =>
    all.some(({ metadata }) => metadata.namespace === 'default'),
  );
});
after(() => cluster.stop());

const template = (name: string, annotations: Record<string, string> = {}, restartPolicy = 'Always') => ({
  metadata: { labels: { app: name }, annotations },
  spec: { restartPolicy, containers: [{ name: 'c', image: 'a:1' }] },
});
const newImage = { spec: { template: { spec: { containers: [{ name: 'c', image: 'a:2' }] } } } };
const imageOf = (pod: { spec?: { containers: { image?: string }[] } }) => pod.spec?.containers[0]?.image;

test('a DaemonSet has a pod on every node, follows new nodes, and updates one at a time', async () => {
  const daemonSet: DaemonSet = {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name: 'd', namespace: 'default' },
    spec: { selector: { matchLabels: { app: 'd' } }, template: template('d') },
  };
  await client.create(kinds.daemonSets, daemonSet);
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=d' });
  const nodesOf = () =>
    podCache
      .list()
      .map(({ spec }) => spec?.nodeName ?? '')
      .sort();
  await until(podCache, 'two ready', (pods) => pods.filter(isPodReady).length === 2);
  assert.deepEqual(nodesOf(), ['n1', 'n2']);
  await cluster.addNode('n3');
  await until(podCache, 'three ready', (pods) => pods.filter(isPodReady).length === 3);
  assert.deepEqual(nodesOf(), ['n1', 'n2', 'n3']);
  let least = 3;
  podCache.subscribe(() => {
    least = Math.min(
      least,
      podCache.list().filter((pod) => isPodReady(pod) && pod.metadata.deletionTimestamp === undefined).length,
    );
  });
  await client.patch(kinds.daemonSets, { namespace: 'default', name: 'd' }, { type: 'strategic', body: newImage });
  await until(
    podCache,
    'all new',
    (pods) => pods.length === 3 && pods.every((pod) => imageOf(pod) === 'a:2' && isPodReady(pod)),
  );
  assert.ok(least >= 2, `only ${least} were ready at a time`);
  await until(
    client.cache(kinds.daemonSets),
    'status',
    ([d]) => d?.status?.updatedNumberScheduled === 3 && d.status.numberAvailable === 3,
  );
  assert.equal((await client.list(kinds.controllerRevisions, { labelSelector: 'app=d' })).items.length, 2);
});

test('a StatefulSet makes its pods in order, updates from the highest down, and scales down from the top', async () => {
  const set: StatefulSet = {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: { name: 's', namespace: 'default' },
    spec: { serviceName: 's', replicas: 3, selector: { matchLabels: { app: 's' } }, template: template('s') },
  };
  const podCache = client.cache(kinds.pods, { labelSelector: 'app=s' });
  const events: string[] = [];
  podCache.subscribe(({ type, object }) => type !== 'updated' && events.push(`${type} ${object.metadata.name}`));
  await client.create(kinds.statefulSets, set);
  await until(podCache, 'three ready', (pods) => pods.filter(isPodReady).length === 3);
  assert.deepEqual(events, ['added s-0', 'added s-1', 'added s-2']);
  const first = podCache.get({ namespace: 'default', name: 's-0' });
  assert.equal(first?.spec?.hostname, 's-0');
  assert.equal(first?.metadata.labels?.['apps.kubernetes.io/pod-index'], '0');
  events.length = 0;
  await client.patch(kinds.statefulSets, { namespace: 'default', name: 's' }, { type: 'strategic', body: newImage });
  await until(
    podCache,
    'all new',
    (pods) => pods.length === 3 && pods.every((pod) => imageOf(pod) === 'a:2' && isPodReady(pod)),
  );
  assert.deepEqual(events, ['deleted s-2', 'added s-2', 'deleted s-1', 'added s-1', 'deleted s-0', 'added s-0']);
  events.length = 0;
  await client.patch(
    kinds.statefulSets,
    { namespace: 'default', name: 's' },
    { type: 'merge', body: { spec: { replicas: 1 } } },
  );
  await until(podCache, 'one left', (pods) => pods.length === 1);
  assert.deepEqual(events, ['deleted s-2', 'deleted s-1']);
  await until(
    client.cache(kinds.statefulSets),
    'status',
    ([s]) => s?.status?.replicas === 1 && s.status.currentRevision === s.status.updateRevision,
  );
});

const job = (name: string, spec: object, annotations: Record<string, string>): Job => ({
  apiVersion: 'batch/v1',
  kind: 'Job',
  metadata: { name, namespace: 'default' },
  spec: { template: template(name, annotations, 'Never'), ...spec },
});
const finished = (name: string, type: string) =>
  until(client.cache(kinds.jobs), `${name} ${type}`, (all) =>
    all.some(({ metadata, status }) => metadata.name === name && isConditionTrue(status?.conditions, type)),
  );

test('a Job runs to its completions and says so', async () => {
  await client.create(kinds.jobs, job('j', { completions: 3, parallelism: 2 }, { 'test/exit': '0' }));
  await finished('j', 'Complete');
  const { status } = await client.get(kinds.jobs, { namespace: 'default', name: 'j' });
  assert.equal(status?.succeeded, 3);
  assert.ok(status?.completionTime !== undefined && isConditionTrue(status.conditions, 'SuccessCriteriaMet'));
});

test('an Indexed Job runs each index', async () => {
  await client.create(
    kinds.jobs,
    job('i', { completions: 3, parallelism: 3, completionMode: 'Indexed' }, { 'test/exit': '0' }),
  );
  await finished('i', 'Complete');
  assert.equal((await client.get(kinds.jobs, { namespace: 'default', name: 'i' })).status?.completedIndexes, '0-2');
});

test('a Job beyond its backoffLimit fails; one past its deadline is ended; one past its TTL goes', async () => {
  await client.create(kinds.jobs, job('f', { backoffLimit: 0 }, { 'test/exit': '1' }));
  await finished('f', 'Failed');
  const { status } = await client.get(kinds.jobs, { namespace: 'default', name: 'f' });
  assert.equal(conditionOf(status?.conditions, 'Failed')?.reason, 'BackoffLimitExceeded');
  await client.create(kinds.jobs, job('late', { activeDeadlineSeconds: 1 }, {}));
  await finished('late', 'Failed');
  const late = await client.get(kinds.jobs, { namespace: 'default', name: 'late' });
  assert.equal(conditionOf(late.status?.conditions, 'Failed')?.reason, 'DeadlineExceeded');
  await client.create(kinds.jobs, job('ttl', { ttlSecondsAfterFinished: 0 }, { 'test/exit': '0' }));
  const pods = client.cache(kinds.pods, { labelSelector: 'app=ttl' });
  await until(pods, 'a pod', (all) => all.length === 1);
  await until(pods, 'no pod', (all) => all.length === 0);
});

test('a cordoned node is tainted and gets no pods, and one that is not ready loses those that do not tolerate it', async () => {
  const nodeCache = client.cache(kinds.nodes);
  await client.patch(kinds.nodes, { name: 'n1' }, { type: 'merge', body: { spec: { unschedulable: true } } });
  const tainted = (name: string, key: string) =>
    until(nodeCache, `${name} ${key}`, (all) =>
      all.some(({ metadata, spec }) => metadata.name === name && spec?.taints?.some((taint) => taint.key === key)),
    );
  await tainted('n1', 'node.kubernetes.io/unschedulable');
  const pod = (name: string) => ({
    apiVersion: 'v1' as const,
    kind: 'Pod' as const,
    metadata: { name, namespace: 'default' },
    spec: {
      containers: [{ name: 'c', image: 'a' }],
      nodeSelector: { 'kubernetes.io/hostname': 'n2' },
      tolerations: [
        { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoExecute', tolerationSeconds: 0 },
      ],
    },
  });
  await client.create(kinds.pods, pod('evicted'));
  const podCache = client.cache(kinds.pods, { fieldSelector: 'metadata.name=evicted' });
  await until(podCache, 'ready', ([each]) => each !== undefined && isPodReady(each));
  const body = {
    status: {
      conditions: [
        { type: 'Ready', status: 'False', reason: 'KubeletNotReady', lastHeartbeatTime: new Date().toISOString() },
      ],
    },
  };
  await client.patch(kinds.nodes, { name: 'n2' }, { type: 'strategic', body }, 'status');
  await tainted('n2', 'node.kubernetes.io/not-ready');
  await until(podCache, 'evicted', (all) => all.length === 0);
});
