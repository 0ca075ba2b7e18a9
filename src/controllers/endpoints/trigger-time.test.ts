import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Stored } from '../../k8s/object.ts';
import type { Pod, Service } from '../../k8s/types.generated.ts';
import { TriggerTimes, triggerTimeAnnotation, withTriggerTime } from './trigger-time.ts';

const at = (second: number): string => `2026-01-01T00:00:${String(second).padStart(2, '0')}Z`;
const ms = (second: number): number => Date.parse(at(second));
const service = (created: number): Stored<Service> => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 's', namespace: 'n', uid: 's', resourceVersion: '1', creationTimestamp: at(created) },
  spec: {},
});
const pod = (name: string, ready: number): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name },
  spec: { containers: [] },
  status: { conditions: [{ type: 'Ready', status: 'True', lastTransitionTime: at(ready) }] },
});

test('the trigger is the earliest change since the last time', () => {
  const times = new TriggerTimes();
  assert.equal(times.next(service(1), [pod('a', 5)]), ms(1), 'a new Service: its creation');
  assert.equal(times.next(service(1), [pod('a', 5)]), undefined, 'nothing changed');
  assert.equal(times.next(service(1), [pod('a', 5), pod('b', 9), pod('c', 7)]), ms(7), 'two new pods');
  assert.equal(times.next(service(1), [pod('a', 11), pod('b', 9)]), ms(11), 'one became unready, one went');
  assert.equal(times.next(service(1), [pod('a', 11)]), undefined, 'a pod that is gone has no time');
  assert.equal(times.next(service(20), [pod('a', 11)]), ms(20), 'another Service of the name');
});

test('the annotation is set and taken away, others stay', () => {
  assert.deepEqual(withTriggerTime({ a: 'b' }, ms(3)), { annotations: { a: 'b', [triggerTimeAnnotation]: at(3) } });
  assert.deepEqual(withTriggerTime({ [triggerTimeAnnotation]: at(3) }, undefined), {});
});
