// Tests of the subnets between the nodes.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asCidr, asIp } from '../net/address.ts';
import { layoutOf } from './layout.ts';
import { segmentRoutes } from './segment-routes.ts';
import { segmentsOf, underlayMac } from './segments.ts';
import { decideSettings } from './settings.ts';

test('two subnets are the halves of the underlay, each with the router at its first address', () => {
  const underlay = [asCidr('172.18.0.0/16'), asCidr('fd12::/64')];
  assert.deepEqual(
    segmentsOf({ underlay, underlaySubnets: 2 }).map(({ bridge, subnets, routers }) => ({ bridge, subnets, routers })),
    [
      { bridge: 'lan', subnets: ['172.18.0.0/17', 'fd12::/65'], routers: ['172.18.0.1', 'fd12::1'] },
      {
        bridge: 'lan2',
        subnets: ['172.18.128.0/17', 'fd12::8000:0:0:0/65'],
        routers: ['172.18.128.1', 'fd12::8000:0:0:1'],
      },
    ],
  );
});

test('nodes are on the subnets by turns', () => {
  const { nodes } = layoutOf(decideSettings({ name: 'x', nodes: 4, underlaySubnets: 2 }));
  assert.deepEqual(
    nodes.map(({ segment, addresses }) => [segment, ...addresses]),
    [
      [0, '172.18.0.2'],
      [1, '172.18.128.2'],
      [0, '172.18.0.3'],
      [1, '172.18.128.3'],
    ],
  );
});

test('nodes keep their names and addresses when others go', () => {
  const settings = { ...decideSettings({ name: 'x', nodes: 4 }), members: [0, 3] };
  assert.deepEqual(
    layoutOf(settings).nodes.map(({ role, addresses }) => [role, ...addresses]),
    [
      ['control-plane', '172.18.0.2'],
      ['worker3', '172.18.0.5'],
    ],
  );
});

test('a hardware address of the underlay follows from the address', () => {
  assert.equal(underlayMac(asIp('172.18.0.3')), '02:57:ac:12:00:03');
  assert.equal(underlayMac(asIp('fd12::a:3')), '02:57:00:0a:00:03');
});

test('a node of two subnets reaches the other one through the router of its own, in each family', () => {
  const settings = decideSettings({ name: 'x', underlaySubnets: 2, podCidr: '10.244.0.0/16,fd00:10:244::/56' });
  const [four, six] = settings.underlay;
  const [first, second] = segmentsOf(settings);
  assert.deepEqual(
    segmentRoutes(settings, 1).map(({ to, via }) => [to, via]),
    [
      [four, second?.routers[0]],
      [six, second?.routers[1]],
    ],
  );
  assert.notEqual(first?.routers[0], second?.routers[0]);
  assert.deepEqual(segmentRoutes(decideSettings({ name: 'x' }), 0), []);
});
