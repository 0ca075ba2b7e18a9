// Nodes to one device, and for each other node a route, a neighbour and a forwarding entry.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultNetworkConfig } from '../k8s/network-config.ts';
import { asIp } from '../net/address.ts';
import { inputOf, node } from './fixtures.ts';
import { decideFabric } from './kinds.ts';
import { vtepMac } from './vxlan.ts';

const own = node('a', ['10.244.0.0/24'], ['172.18.0.2']);
const b = node('b', ['10.244.1.0/24'], ['172.18.0.3'], { vtep: '172.18.0.3' });
const vxlan = { fabric: 'vxlan' } as const;

test('another node is one route, one neighbour and one forwarding entry; the MTU leaves room for the headers', () => {
  const plan = decideFabric(inputOf([own, b], vxlan));
  const owner = 'Node b';
  const mac = '0e:77:ac:12:00:03';
  assert.deepEqual(plan.links, [
    {
      kind: 'vxlan',
      name: 'weft-vxlan',
      mac: '0e:77:ac:12:00:02',
      mtu: 1450,
      vni: 1,
      port: 8472,
      local: '172.18.0.2',
      owner: 'Node a',
    },
  ]);
  assert.deepEqual(plan.addresses, [{ link: 'weft-vxlan', address: '10.244.0.0', prefix: 32, owner: 'Node a' }]);
  assert.deepEqual(plan.routes, [{ to: '10.244.1.0/24', via: '10.244.1.0', link: 'weft-vxlan', owner }]);
  assert.deepEqual(plan.neighbours, [{ link: 'weft-vxlan', address: '10.244.1.0', mac, owner }]);
  assert.deepEqual(plan.forwarding, [{ link: 'weft-vxlan', mac, remote: '172.18.0.3', owner }]);
});

test('of two families a node is two routes and neighbours behind one forwarding entry', () => {
  const dualOwn = node('a', ['10.244.0.0/24', 'fd00::/120'], ['172.18.0.2', 'fd18::2']);
  const dual = node('b', ['10.244.1.0/24', 'fd00::100/120'], ['172.18.0.3', 'fd18::3'], { vtep: '172.18.0.3' });
  const plan = decideFabric(inputOf([dualOwn, dual], vxlan));
  assert.deepEqual([plan.routes.length, plan.neighbours.length, plan.forwarding.length], [2, 2, 1]);
  assert.equal(plan.neighbours[1]?.address, 'fd00::100');
  assert.deepEqual(
    plan.addresses.map(({ address, prefix }) => `${address}/${prefix}`),
    ['10.244.0.0/32', 'fd00::/128'],
  );
});

test('over IPv6 the headers take 70 bytes', () => {
  const six = node('a', ['fd00::/120'], ['fd18::2']);
  assert.equal(decideFabric(inputOf([six], vxlan)).links[0]?.mtu, 1430);
});

test('a node that does not take in VXLAN yet is reached directly while it is on the same subnet', () => {
  const later = node('b', ['10.244.1.0/24'], ['172.18.0.3']);
  assert.deepEqual(decideFabric(inputOf([own, later], vxlan)).routes, [
    { to: '10.244.1.0/24', via: '172.18.0.3', mtu: 1450, owner: 'Node b' },
  ]);
  const far = node('b', ['10.244.1.0/24'], ['172.19.0.3']);
  const { routes, problems } = decideFabric(inputOf([own, far], vxlan));
  assert.deepEqual(routes, []);
  assert.match(problems[0]?.reason ?? '', /does not take in VXLAN/);
});

test('a node that moved is behind a tunnel only where it says that its new address takes in VXLAN', () => {
  const moved = node('b', ['10.244.1.0/24'], ['172.18.0.9'], { vtep: '172.18.0.3' });
  assert.deepEqual(
    decideFabric(inputOf([own, moved], vxlan)).routes.map(({ via }) => via),
    ['172.18.0.9'],
  );
});

test('with crossSubnet nodes on one subnet are reached directly, others through tunnels', () => {
  const far = node('c', ['10.244.2.0/24'], ['172.19.0.3'], { vtep: '172.19.0.3' });
  const config = { ...vxlan, vxlan: { ...defaultNetworkConfig.vxlan, crossSubnet: true } };
  const plan = decideFabric(inputOf([own, b, far], config));
  assert.deepEqual(
    plan.routes.map(({ via, link }) => [via, link]),
    [
      ['172.18.0.3', undefined],
      ['10.244.2.0', 'weft-vxlan'],
    ],
  );
  assert.equal(plan.forwarding.length, 1);
});

test('without an address or a range of its own a node waits', () => {
  assert.match(decideFabric(inputOf([node('a', ['10.244.0.0/24'], [])], vxlan)).waitsFor ?? '', /InternalIP/);
  assert.match(decideFabric(inputOf([node('a', [], ['172.18.0.2'])], vxlan)).waitsFor ?? '', /range/);
  assert.match(decideFabric(inputOf([node('a', ['10.244.0.0/24'], ['172.18.9.9'])], vxlan)).waitsFor ?? '', /link/);
});

test('after the change to another fabric the device stays while a Ready node still sends through it', () => {
  const left = node('a', ['10.244.0.0/24'], ['172.18.0.2'], { vtep: '172.18.0.2' });
  const links = (other: Parameters<typeof node>[3]) =>
    decideFabric(inputOf([left, node('b', ['10.244.1.0/24'], ['172.18.0.3'], other)])).links.length;
  assert.equal(links({ inPlace: 'vxlan' }), 1);
  assert.equal(links({ inPlace: 'host-gw' }), 0);
  assert.equal(links({ inPlace: 'vxlan', ready: false }), 0);
});

test('hardware addresses follow from addresses, and differ', () => {
  assert.equal(vtepMac(asIp('10.0.0.1')), '0e:77:0a:00:00:01');
  assert.match(vtepMac(asIp('fd18::3')), /^0e(:[0-9a-f]{2}){5}$/);
  assert.notEqual(vtepMac(asIp('fd18::3')), vtepMac(asIp('fd19::3')));
});
