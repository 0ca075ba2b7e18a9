// Garbage is freed when it was gone twice in a row, and never before.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import type { Lease } from './lease-store.ts';
import { decideSweep } from './sweep.ts';
import { underlayMtu } from './underlay.ts';
import { noSettings } from './wishes.ts';

const lease = (containerId: string): Lease => ({
  attachment: { containerId, ifname: 'eth0' },
  network: 'weft',
  netns: `/run/netns/${containerId}`,
  pod: '',
  addresses: [],
  settings: noSettings,
  attached: true,
});
const leases = [lease('a'), lease('b')];
const none = new Set<string>();

test('a lease is suspected first and freed at the next sweep', () => {
  const first = decideSweep(leases, (netns) => netns.endsWith('b'), none);
  assert.deepEqual(first.release, []);
  const second = decideSweep(leases, (netns) => netns.endsWith('b'), first.suspects);
  assert.deepEqual(second.release, [{ containerId: 'a', ifname: 'eth0' }]);
});

test('a namespace that came back is no longer suspected', () => {
  const first = decideSweep(leases, () => false, none);
  const second = decideSweep(leases, () => true, first.suspects);
  assert.deepEqual(second, { release: [], suspects: none });
  assert.deepEqual(decideSweep(leases, () => false, second.suspects).release, []);
});

test('the MTU of pods is the smallest of the links that lead to other nodes', () => {
  const link = (index: number, more: object) => ({
    index,
    name: `eth${index}`,
    mtu: 1500,
    up: true,
    running: true,
    ...more,
  });
  const address = (on: number, text: string) => ({ link: on, address: asIp(text), prefix: 24 });
  const links = [
    link(1, { name: 'lo', mtu: 65536 }),
    link(2, { mtu: 1450 }),
    link(3, { mtu: 1400, up: false }),
    link(4, { mtu: 1300, master: 5 }),
    link(5, { name: 'weft0', kind: 'bridge', mtu: 1280 }),
    link(6, { mtu: 900 }),
  ];
  assert.equal(
    underlayMtu(links, [
      address(1, '127.0.0.1'),
      address(2, '172.18.0.2'),
      address(5, '10.0.0.1'),
      address(6, 'fe80::1'),
    ]),
    1450,
  );
  assert.equal(underlayMtu(links, []), 1500);
});
