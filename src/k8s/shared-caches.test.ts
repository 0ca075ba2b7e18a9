import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createFakeClient } from './fake-client.ts';
import { services } from './resources.ts';
import { shareCaches } from './shared-caches.ts';

test('equal selections share one cache, which lives as long as somebody holds it', async () => {
  const client = createFakeClient();
  let opened = 0;
  let open = 0;
  const shared = shareCaches({
    ...client,
    cache(resource, selection) {
      const cache = client.cache(resource, selection);
      opened++;
      open++;
      return {
        ...cache,
        stop() {
          open--;
          cache.stop();
        },
      };
    },
  });
  const [one, two, other] = [
    shared.cache(services),
    shared.cache(services),
    shared.cache(services, { namespace: 'a' }),
  ];
  assert.equal(opened, 2);
  await Promise.all([one.synced, two.synced]);
  const heard: string[] = [];
  one.subscribe(({ object }) => heard.push(`one ${object.metadata.name}`));
  two.subscribe(({ object }) => heard.push(`two ${object.metadata.name}`));
  one.stop();
  one.stop();
  assert.equal(open, 2);
  const told = new Promise<void>((resolve) => two.subscribe(() => resolve()));
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's', namespace: 'a' },
    spec: {},
  });
  await told;
  assert.deepEqual(heard, ['two s']);
  two.stop();
  other.stop();
  assert.equal(open, 0);
  await client.close();
});
