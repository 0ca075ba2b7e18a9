// The router fabric: a default route at the nodes, the table at the router.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { inputOf, node } from './fixtures.ts';
import { decideFabric } from './kinds.ts';
import { decideRouterTable } from './router.ts';

const own = node('a', ['10.244.0.0/24', 'fd00::/120'], ['172.18.0.2', 'fd18::2']);
const b = node('b', ['10.244.1.0/24'], ['172.19.0.3'], { inPlace: 'host-gw' });
const routers = [asIp('172.19.0.1'), asIp('172.18.0.1'), asIp('fd18::1')];
const config = { fabric: 'router', routers, routerHasTable: true } as const;

test('a node knows the router of its own subnet in each family, and nothing else', () => {
  const plan = decideFabric(inputOf([own, b], config));
  assert.deepEqual(
    plan.routes.map(({ to, via, metric }) => [to, via, metric]),
    [
      ['0.0.0.0/0', '172.18.0.1', 1024],
      ['::/0', 'fd18::1', 1024],
    ],
  );
  assert.equal(plan.waitsFor, undefined);
});

test('a node waits until the router has its table, and where it has no router', () => {
  assert.match(decideFabric(inputOf([own], { ...config, routerHasTable: false })).waitsFor ?? '', /table/);
  const plan = decideFabric(inputOf([own], { ...config, routers: [asIp('172.18.0.1')] }));
  assert.match(plan.waitsFor ?? '', /address of the router/);
  assert.match(plan.problems[0]?.reason ?? '', /no IPv6 address/);
});

test('the router has the routes to all nodes, in all of its subnets', () => {
  const input = inputOf([own, b], config, ['172.18.0.1/16', '172.19.0.1/16', 'fd18::1/64'], '');
  assert.deepEqual(
    decideRouterTable(input).routes.map(({ to, via }) => [to, via]),
    [
      ['10.244.0.0/24', '172.18.0.2'],
      ['10.244.1.0/24', '172.19.0.3'],
      ['fd00::/120', 'fd18::2'],
    ],
  );
});

test('the table goes when the last Ready node sends another way', () => {
  const count = (inPlace: string, ready = true) => {
    const nodes = [node('b', ['10.244.1.0/24'], ['172.18.0.3'], { inPlace, ready })];
    return decideRouterTable(inputOf(nodes, { fabric: 'host-gw' }, undefined, '')).routes.length;
  };
  assert.deepEqual([count('router'), count('host-gw'), count('router', false)], [1, 0, 0]);
});

test('with bgp the router has the table where it stands between subnets', () => {
  const count = (own: readonly string[]) => decideRouterTable(inputOf([b], { fabric: 'bgp' }, own, '')).routes.length;
  assert.equal(count(['172.18.0.1/16', '172.19.0.1/16', 'fd18::1/64']), 1);
  assert.equal(count(['172.19.0.1/16', 'fd18::1/64']), 0);
});
