import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findAll, parseJsonPath } from './json-path.ts';

const object = {
  metadata: { labels: { 'a.b/c': 'dotted' } },
  spec: { hosts: ['x', 'y'], count: 0 },
  status: {
    conditions: [
      { type: 'Ready', status: 'True' },
      { type: 'Other', status: 'False' },
    ],
  },
};

const find = (path: string): unknown[] | undefined => {
  const steps = parseJsonPath(path);
  return steps === undefined ? undefined : findAll(object, steps);
};

test('the paths of printer columns', () => {
  assert.deepEqual(find('.spec.count'), [0]);
  assert.deepEqual(find('.spec.hosts'), [['x', 'y']]);
  assert.deepEqual(find('.spec.hosts[*]'), ['x', 'y']);
  assert.deepEqual(find('.spec.hosts[1]'), ['y']);
  assert.deepEqual(find('.status.conditions[?(@.type=="Ready")].status'), ['True']);
  assert.deepEqual(find(".status.conditions[?(@.type=='Other')].status"), ['False']);
  assert.deepEqual(find('.metadata.labels.a\\.b/c'), ['dotted']);
  assert.deepEqual(find(".metadata.labels['a.b/c']"), ['dotted']);
  assert.deepEqual(find('{.spec.hosts[0]}'), ['x']);
});

test('a path that leads nowhere finds nothing; what is no path is not understood', () => {
  assert.deepEqual(find('.spec.absent.deeper'), []);
  assert.equal(find('.spec[?(@.a > 3)]'), undefined);
});
