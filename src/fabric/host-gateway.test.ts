// Nodes to routes: each other node's range through its address of the same family.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Node } from '../k8s/types.generated.ts';
import { asCidr } from '../net/address.ts';
import { decideRoutes } from './host-gateway.ts';
import { diffRoutes } from './route-table.ts';

const node = (name: string, podCIDRs: string[], addresses: string[]): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name },
  spec: { podCIDRs },
  status: {
    addresses: [{ type: 'Hostname', address: name }, ...addresses.map((address) => ({ type: 'InternalIP', address }))],
  },
});
const own = node('a', ['10.244.0.0/24', 'fd00::/120'], ['172.18.0.2', 'fd18::2']);
const context = { nodeName: 'a', clusterCidrs: [asCidr('10.244.0.0/16'), asCidr('fd00::/64')] };

test('each range of another node goes through that node by its own family', () => {
  const other = node('b', ['10.244.1.0/24', 'fd00::100/120'], ['172.18.0.3', 'fd18::3']);
  assert.deepEqual(decideRoutes([own, other], context), {
    routes: [
      { to: '10.244.1.0/24', via: '172.18.0.3', owner: 'Node b' },
      { to: 'fd00::100/120', via: 'fd18::3', owner: 'Node b' },
    ],
    problems: [],
  });
});

test('a node without an address or a range yet has no route and is no problem', () => {
  assert.deepEqual(decideRoutes([own, node('b', ['10.244.1.0/24'], []), node('c', [], ['172.18.0.4'])], context), {
    routes: [],
    problems: [],
  });
});

test('the older field with one range is read where the list is absent', () => {
  const { podCIDRs: _, ...spec } = { podCIDRs: [], podCIDR: '10.244.5.0/24' };
  const { routes } = decideRoutes([{ ...node('b', [], ['172.18.0.3']), spec }], context);
  assert.equal(routes[0]?.to, '10.244.5.0/24');
});

test('ranges that overlap or lie outside of the cluster are reported, and the first by name keeps its route', () => {
  const decision = decideRoutes(
    [
      own,
      node('d', ['10.244.1.128/25'], ['172.18.0.5']),
      node('b', ['10.244.1.0/24'], ['172.18.0.3']),
      node('c', ['192.168.0.0/24'], ['172.18.0.4']),
      node('e', ['10.244.0.0/25'], ['172.18.0.6']),
    ],
    context,
  );
  assert.deepEqual(
    decision.routes.map(({ owner }) => owner),
    ['Node b'],
  );
  assert.deepEqual(
    decision.problems.map(({ owner }) => owner),
    ['Node c', 'Node d', 'Node e'],
  );
});

test('the order of Nodes does not matter, and no destination comes twice', () => {
  const nodes = fc.uniqueArray(
    fc.record({ name: fc.integer({ min: 1, max: 200 }), range: fc.integer({ min: 0, max: 20 }) }),
    { selector: ({ name }) => name },
  );
  fc.assert(
    fc.property(nodes, (list) => {
      const objects = list.map(({ name, range }) => node(`n${name}`, [`10.244.${range}.0/24`], [`172.18.1.${name}`]));
      const decision = decideRoutes(objects, context);
      assert.deepEqual(decideRoutes([...objects].reverse(), context), decision);
      assert.equal(new Set(decision.routes.map(({ to }) => to)).size, decision.routes.length);
    }),
  );
});

test('only what differs is written', () => {
  const wanted = decideRoutes(
    [node('b', ['10.244.1.0/24'], ['172.18.0.3']), node('c', ['10.244.2.0/24'], ['172.18.0.4'])],
    context,
  ).routes;
  const present = wanted.map(({ to, via }) => ({ to, via, protocol: 118 }));
  assert.deepEqual(diffRoutes(wanted, present), { replace: [], remove: [] });
  const stale = { to: asCidr('10.244.9.0/24'), protocol: 118 };
  assert.deepEqual(diffRoutes(wanted.slice(0, 1), [...present, stale]), { replace: [], remove: [present[1], stale] });
  assert.deepEqual(diffRoutes(wanted, present.slice(1)).replace, wanted.slice(0, 1));
});
