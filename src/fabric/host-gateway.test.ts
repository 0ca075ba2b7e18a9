// Nodes to routes: each other node's range through its address of the same family.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { inputOf, node } from './fixtures.ts';
import { decideHostGateway } from './host-gateway.ts';

const own = node('a', ['10.244.0.0/24', 'fd00::/120'], ['172.18.0.2', 'fd18::2']);

test('each range of another node goes through that node by its own family', () => {
  const other = node('b', ['10.244.1.0/24', 'fd00::100/120'], ['172.18.0.3', 'fd18::3']);
  const plan = decideHostGateway(inputOf([own, other]));
  assert.deepEqual(plan.routes, [
    { to: '10.244.1.0/24', via: '172.18.0.3', owner: 'Node b' },
    { to: 'fd00::100/120', via: 'fd18::3', owner: 'Node b' },
  ]);
  assert.deepEqual(plan.problems, []);
});

test('a node without an address or a range yet has no route and is no problem', () => {
  const { routes, problems } = decideHostGateway(
    inputOf([own, node('b', ['10.244.1.0/24'], []), node('c', [], ['172.18.0.4'])]),
  );
  assert.deepEqual({ routes, problems }, { routes: [], problems: [] });
});

test('the older field with one range is read where the list is absent', () => {
  const other = { ...node('b', [], ['172.18.0.3']), spec: { podCIDR: '10.244.5.0/24' } };
  assert.equal(decideHostGateway(inputOf([other])).routes[0]?.to, '10.244.5.0/24');
});

test('a node on no subnet of this one is reported: the kernel takes no such next hop', () => {
  const far = node('far', ['10.244.1.0/24'], ['192.0.2.9']);
  const { routes, problems } = decideHostGateway(inputOf([own, far]));
  assert.deepEqual(routes, []);
  assert.match(problems[0]?.reason ?? '', /192\.0\.2\.9 is on no subnet of this node/);
});

test('ranges that overlap or lie outside of the cluster are reported, and the first by name keeps its route', () => {
  const plan = decideHostGateway(
    inputOf([
      own,
      node('d', ['10.244.1.128/25'], ['172.18.0.5']),
      node('b', ['10.244.1.0/24'], ['172.18.0.3']),
      node('c', ['192.168.0.0/24'], ['172.18.0.4']),
      node('e', ['10.244.0.0/25'], ['172.18.0.6']),
    ]),
  );
  assert.deepEqual(
    plan.routes.map(({ owner }) => owner),
    ['Node b'],
  );
  assert.deepEqual(
    plan.problems.map(({ owner, reason }) => `${owner}: ${reason}`),
    [
      "Node c: its range 192.168.0.0/24 is outside of the cluster's 10.244.0.0/16, fd00::/64",
      'Node d: its range 10.244.1.128/25 overlaps with 10.244.1.0/24 of Node b',
      "Node e: its range 10.244.0.0/25 overlaps with this node's",
    ],
  );
});

test('one that lost its range takes nothing from others', () => {
  // c overlaps with b and with d; d and b do not overlap: c loses, d stays.
  const plan = decideHostGateway(
    inputOf([
      node('b', ['10.244.1.0/25'], ['172.18.0.3']),
      node('c', ['10.244.1.0/24'], ['172.18.0.4']),
      node('d', ['10.244.1.128/25'], ['172.18.0.5']),
    ]),
  );
  assert.deepEqual(
    plan.routes.map(({ owner }) => owner),
    ['Node b', 'Node d'],
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
      const plan = decideHostGateway(inputOf(objects));
      assert.deepEqual(decideHostGateway(inputOf([...objects].reverse())), plan);
      assert.equal(new Set(plan.routes.map(({ to }) => to)).size, plan.routes.length);
    }),
  );
});
