import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRecorder } from './events.ts';
import { createFakeClient } from './fake-client.ts';
import { events } from './resources.ts';

const pod = { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'p', namespace: 'n', uid: 'u', resourceVersion: '1' } };

test('a repeat of an event raises the count of the first', async () => {
  const client = createFakeClient();
  const recorder = createRecorder(client, 'kubelet', 'node1');
  recorder.event(pod, 'Warning', 'BackOff', 'Back-off restarting');
  recorder.event(pod, 'Warning', 'BackOff', 'Back-off restarting');
  recorder.event(pod, 'Normal', 'Pulled', 'Container image already present');
  await recorder.flush();
  const { items } = await client.list(events, { namespace: 'n' });
  assert.deepEqual(
    items.map(({ reason, count, involvedObject, source }) => [reason, count, involvedObject.name, source]),
    [
      ['BackOff', 2, 'p', { component: 'kubelet', host: 'node1' }],
      ['Pulled', 1, 'p', { component: 'kubelet', host: 'node1' }],
    ],
  );
});

test('events are listed in the order in which they happened', async () => {
  const client = createFakeClient();
  const scheduler = createRecorder(client, 'default-scheduler');
  const kubelet = createRecorder(client, 'kubelet', 'node1');
  const reasons = ['Pulling', 'Pulled', 'Created', 'Started'];
  scheduler.event(pod, 'Normal', 'Scheduled', 'm');
  for (const reason of reasons) kubelet.event(pod, 'Normal', reason, 'm');
  await Promise.all([scheduler.flush(), kubelet.flush()]);
  const names = (await client.list(events)).items.map(({ metadata, reason }) => `${metadata.name} ${reason}`).sort();
  assert.deepEqual(
    names.map((name) => name.split(' ')[1]),
    ['Scheduled', ...reasons],
  );
});

test('a counted event that has expired begins anew, and one that cannot be sent is lost quietly', async () => {
  const client = createFakeClient();
  const recorder = createRecorder(client, 'kubelet');
  recorder.event(pod, 'Normal', 'A', 'a');
  await recorder.flush();
  const first = (await client.list(events)).items[0];
  assert(first);
  await client.delete(events, { name: first.metadata.name, namespace: 'n' });
  recorder.event(pod, 'Normal', 'A', 'a');
  await recorder.flush();
  assert.equal((await client.list(events)).items[0]?.count, 1);
  const broken = createRecorder({ ...client, create: () => Promise.reject(new Error('gone')) }, 'x');
  broken.event(pod, 'Normal', 'B', 'b');
  await broken.flush();
});
