import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Client } from '../../src/k8s/client.ts';
import type { KubeObject, Resource } from '../../src/k8s/object.ts';
import { configMaps, customResourceDefinitions, endpointSlices, endpoints, services } from '../../src/k8s/resources.ts';
import { startTestCluster, type TestCluster, until } from './cluster.ts';

let cluster: TestCluster;
let client: Client;
before(async () => {
  cluster = await startTestCluster([]);
  client = cluster.client;
});
after(() => cluster.stop());

const widgets: Resource<KubeObject> = {
  group: 'wt.example',
  version: 'v1',
  plural: 'widgets',
  kind: 'Widget',
  namespaced: true,
};

test('what a custom resource owns goes with it, though its kind came after the garbage collector', async () => {
  await client.create(customResourceDefinitions, {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: 'widgets.wt.example' },
    spec: {
      group: 'wt.example',
      scope: 'Namespaced',
      names: { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' },
      versions: [{ name: 'v1', served: true, storage: true, schema: { openAPIV3Schema: { type: 'object' } } }],
    },
  });
  await until(
    client.cache(customResourceDefinitions),
    'established',
    ([crd]) =>
      crd?.status?.conditions?.some(({ type, status }) => type === 'Established' && status === 'True') === true,
  );
  const key = { name: 'w', namespace: 'default' };
  const widget = await client.create(widgets, { apiVersion: 'wt.example/v1', kind: 'Widget', metadata: { ...key } });
  const owner = { apiVersion: 'wt.example/v1', kind: 'Widget', name: 'w', uid: widget.metadata.uid };
  await client.create(configMaps, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'owned', namespace: 'default', ownerReferences: [owner] },
  });
  const maps = client.cache(configMaps, { fieldSelector: 'metadata.name=owned' });
  await until(maps, 'owned', (all) => all.length === 1);
  await client.delete(widgets, key);
  await until(maps, 'gone', (all) => all.length === 0);
});

test('Endpoints kept by hand for a Service without selector are mirrored, changed and removed with it', async () => {
  const metadata = { name: 'outside', namespace: 'default' };
  await client.create(services, { apiVersion: 'v1', kind: 'Service', metadata, spec: { ports: [{ port: 80 }] } });
  const made = await client.create(endpoints, {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata,
    subsets: [{ addresses: [{ ip: '10.9.9.9' }], ports: [{ port: 8080 }] }],
  });
  const slices = client.cache(endpointSlices, { labelSelector: 'kubernetes.io/service-name=outside' });
  await until(slices, 'mirrored', ([slice]) => slice?.endpoints?.[0]?.addresses[0] === '10.9.9.9');
  assert.equal(slices.list()[0]?.ports?.[0]?.port, 8080);
  await client.update(endpoints, { ...made, subsets: [{ addresses: [{ ip: '10.9.9.8' }], ports: [{ port: 8080 }] }] });
  await until(slices, 'changed', ([slice]) => slice?.endpoints?.[0]?.addresses[0] === '10.9.9.8');
  await client.delete(endpoints, metadata);
  await until(slices, 'gone', (all) => all.length === 0);
});
