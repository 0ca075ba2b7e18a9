// Running pods without a lease get one that holds their addresses.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { asIp } from '../net/address.ts';
import { decideAdoption } from './adopt.ts';
import type { Lease } from './lease-store.ts';
import { hostLinkName } from './plan.ts';
import { noSettings } from './wishes.ts';

const attachment = { containerId: 'abc', ifname: 'eth0' };
const link = (index: number, peer: number, name: string) => ({ index, peer, name, mtu: 1500, up: true, running: true });
const end = (netns: string, index: number, peer: number, address: string) => ({
  netns,
  ifname: 'eth0',
  index,
  peer,
  addresses: [asIp(address)],
});

test('a link without a lease is adopted by both indices, one with a lease and foreign links are not', () => {
  const known: Lease = {
    attachment,
    network: 'weft',
    netns: '/a',
    pod: '',
    addresses: [asIp('10.0.0.2')],
    settings: noSettings,
    attached: true,
  };
  const links = [link(5, 2, hostLinkName(attachment)), link(6, 2, 'veth0123456789a'), link(7, 2, 'eth0')];
  const ends = [
    end('/a', 2, 5, '10.0.0.2'),
    end('/b', 2, 6, '10.0.0.3'),
    end('/c', 2, 7, '10.0.0.4'),
    end('/d', 3, 6, '10.0.0.5'),
  ];
  assert.deepEqual(decideAdoption(links, [known], ends), [
    {
      attachment: { containerId: 'adopted-veth0123456789a', ifname: 'eth0' },
      network: 'adopted',
      netns: '/b',
      pod: '',
      addresses: ['10.0.0.3'],
      settings: noSettings,
    },
  ]);
});
