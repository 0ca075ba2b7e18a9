import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiscoveredResource } from '../discovery.ts';
import { blocks, decideDependent, type GraphNode, OwnerGraph, type OwnerState, ownerStateInGraph } from './graph.ts';

const resource: DiscoveredResource = {
  group: '',
  version: 'v1',
  plural: 'things',
  kind: 'Thing',
  namespaced: true,
  verbs: [],
};
const thing = (uid: string, owners: string[] = [], more: Partial<GraphNode> = {}): GraphNode => ({
  resource,
  key: { name: uid, namespace: 'n' },
  uid,
  resourceVersion: '1',
  owners: owners.map((owner) => ({
    apiVersion: 'v1',
    kind: 'Thing',
    name: owner,
    uid: owner,
    blockOwnerDeletion: true,
  })),
  finalizers: [],
  deleting: false,
  ...more,
});
const states = (...each: OwnerState[]) => new Map(each.map((state, index) => [`o${index}`, state]));

test('an object goes when its last owner is gone, and stays while one holds it or is not known', () => {
  const child = thing('c', ['o0']);
  assert.deepEqual(decideDependent(child, states('absent'), false), { act: 'delete', policy: 'Background' });
  assert.deepEqual(decideDependent(child, states('absent', 'absent'), false), { act: 'delete', policy: 'Background' });
  assert.deepEqual(decideDependent(child, states('solid'), false), { act: 'keep' });
  assert.deepEqual(decideDependent(child, states('unknown', 'absent'), false), { act: 'keep' });
  assert.deepEqual(decideDependent(child, new Map(), false), { act: 'keep' });
});

test('references to owners that are gone or waiting are dropped while another holds the object', () => {
  assert.deepEqual(decideDependent(thing('c'), states('absent', 'solid', 'waiting'), false), {
    act: 'drop-references',
    uids: ['o0', 'o2'],
  });
});

test('a dependent with dependents of its own goes in the foreground when its owner waits', () => {
  assert.deepEqual(decideDependent(thing('c'), states('waiting'), true), { act: 'delete', policy: 'Foreground' });
  assert.deepEqual(decideDependent(thing('c'), states('waiting'), false), { act: 'delete', policy: 'Background' });
});

test('the graph knows dependents of owners that are gone, and an owner in another namespace is none', () => {
  const graph = new OwnerGraph();
  graph.set(thing('a'));
  graph.set(thing('b', ['a']));
  graph.set(thing('x', ['a'], { key: { name: 'x', namespace: 'other' } }));
  const [b, x] = [graph.get('b'), graph.get('x')];
  assert(b?.owners[0] && x?.owners[0]);
  assert.equal(ownerStateInGraph(graph, b, b.owners[0]), 'solid');
  assert.equal(ownerStateInGraph(graph, x, x.owners[0]), 'absent');
  assert.ok(blocks(b, 'a'));
  graph.remove('a');
  assert.deepEqual(
    graph.dependentsOf('a').map(({ uid }) => uid),
    ['b', 'x'],
  );
  assert.deepEqual(graph.absentOwners(), ['a']);
  graph.set(thing('b'));
  graph.remove('x');
  assert.deepEqual(graph.absentOwners(), []);
});
