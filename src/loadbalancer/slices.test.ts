import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as turn } from 'node:timers/promises';
import { createFakeClient } from '../k8s/fake-client.ts';
import { endpointSlices } from '../k8s/resources.ts';
import type { EndpointSlice } from '../k8s/types.generated.ts';
import { nodesWithEndpoints } from './endpoints.ts';
import { FollowedSlices } from './slices.ts';

const slice = (name: string, nodeNames: readonly string[]): EndpointSlice => ({
  apiVersion: 'discovery.k8s.io/v1',
  kind: 'EndpointSlice',
  metadata: { name, namespace: 'default', labels: { 'kubernetes.io/service-name': 'web' } },
  addressType: 'IPv4',
  endpoints: nodeNames.map((nodeName, index) => ({
    addresses: [`10.244.0.${index + 1}`],
    nodeName,
    conditions: { ready: true },
  })),
});
const web = {
  apiVersion: 'v1' as const,
  kind: 'Service' as const,
  metadata: { name: 'web', namespace: 'default' },
  spec: {},
};

test('slices are followed only while they are needed; of many endpoints one for each node is kept', async () => {
  const client = createFakeClient();
  await client.create(endpointSlices, slice('web-1', ['a', 'a', 'b', 'a', 'b']));
  const heard: string[] = [];
  const slices = new FollowedSlices(client, (service) => heard.push(service));
  assert.equal(slices.isKnown, false);
  await new Promise<void>((resolve) => slices.follow(true, resolve));
  assert.ok(slices.isKnown);
  assert.equal(slices.of(web)[0]?.endpoints?.length, 2);
  assert.deepEqual([...nodesWithEndpoints(slices.of(web), 'IPv4')], ['a', 'b']);
  heard.length = 0;
  await client.create(endpointSlices, slice('web-2', ['c']));
  while (heard.length === 0) await turn();
  assert.deepEqual(heard, ['default/web']);
  assert.ok(nodesWithEndpoints(slices.of(web), 'IPv4').has('c'));
  slices.follow(false, () => assert.fail('nothing is followed'));
  assert.equal(slices.isKnown, false);
  assert.deepEqual(slices.of(web), []);
  await client.close();
});
