// Tests of the settings of a cluster whose nodes come and go, and of what a node's end takes with it.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod } from '../k8s/types.generated.ts';
import { podsToEnd } from './drain.ts';
import { layoutOf } from './layout.ts';
import { findNode, halfRemoved, withNode, withoutNode } from './members.ts';
import { decideSettings } from './settings.ts';

const settings = decideSettings({ name: 'x', nodes: 3 });

test('a node that joins has the lowest free number, and so the name and the address of one that left', () => {
  assert.deepEqual(withNode(settings).settings.members, [0, 1, 2, 3]);
  const left = withoutNode(settings, findNode(layoutOf(settings), 'worker'));
  assert.deepEqual([left.members, left.nodes], [[0, 2], 2]);
  assert.deepEqual(withNode(left), { settings, added: 1 });
});

test('a folder without a member is that of a node whose removal did not come to its end', () => {
  const left = withoutNode(settings, findNode(layoutOf(settings), 'worker2'));
  const roles = ['control-plane', 'worker', 'worker2', 'worker11', 'lost+found'];
  assert.deepEqual(
    halfRemoved(left, roles).map(({ name }) => name),
    ['x-worker2', 'x-worker11'],
  );
  assert.deepEqual(halfRemoved(settings, ['control-plane', 'worker', 'worker2']), []);
});

test('a node that the ranges have no room for is refused', () => {
  const full = decideSettings({ name: 'x', nodes: 4, podCidr: '10.244.0.0/22' });
  assert.throws(() => withNode(full), /too small for 5 nodes/);
});

test('the control plane stays, and an unknown name is answered by the known ones', () => {
  const layout = layoutOf(settings);
  assert.throws(() => withoutNode(settings, findNode(layout, 'x-control-plane')), /cannot be removed/);
  assert.throws(() => findNode(layout, 'y'), /there are x-control-plane, x-worker, x-worker2/);
});

test('pods of DaemonSets are not ended before their node: they would come back at once', () => {
  const pod = (name: string, kind?: string): Pod => ({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      ...(kind !== undefined && { ownerReferences: [{ apiVersion: 'v1', kind, name: 'o', uid: '1' }] }),
    },
    spec: { containers: [] },
  });
  const ended = podsToEnd([pod('a', 'DaemonSet'), pod('b', 'ReplicaSet'), pod('c')]);
  assert.deepEqual(
    ended.map(({ metadata }) => metadata.name),
    ['b', 'c'],
  );
});
