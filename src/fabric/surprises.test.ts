// Which of the kernel's announcements contradict what is remembered.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { attribute, type Message, text, u32 } from '../linux/netlink.ts';
import { RTM_DELROUTE, RTM_NEWROUTE } from '../linux/routes.ts';
import type { WireguardDevice } from '../linux/wireguard.ts';
import { asCidr, asIp, type Mac } from '../net/address.ts';
import { keyFromBytes, type WireguardKey } from '../net/wireguard-key.ts';
import { fabricProtocol } from './protocol.ts';
import { emptyState, keyOf } from './state.ts';
import { isSurprise, isWireguardSurprise } from './surprises.ts';

const device = 7;
const devices = new Map([['weft-vxlan', device]]);
const underlay = 2;
const mac = '0e:77:ac:12:00:02' as Mac;
const state = emptyState();
const vxlan = { vni: 1, port: 8472, local: asIp('172.18.0.2'), learning: false };
state.links.set('weft-vxlan', { kind: 'vxlan', name: 'weft-vxlan', mac, mtu: 1450, up: true, vxlan });
const route = { to: asCidr('10.244.1.0/24'), via: asIp('172.18.0.3') };
state.routes.set(keyOf.route(route), route);

const surprising = (...messages: Message[]): boolean =>
  isSurprise({ type: 'messages', messages }, { state, devices, underlay: new Set([underlay]) });

function link(type: number, index: number, { up = true, mtu = 1450 } = {}): Message {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(up ? 1 : 0, 8);
  const address = attribute(1, Buffer.from(mac.replaceAll(':', ''), 'hex'));
  return { type, flags: 0, sequence: 0, body: Buffer.concat([header, address, text(3, 'weft-vxlan'), u32(4, mtu)]) };
}

function ipv4Route(type: number, via: number, protocol: number, flags = 0): Message {
  const header = Buffer.from([2, 24, 0, 0, 254, protocol, 0, 1, 0, 0, 0, 0]);
  const [to, gateway] = [Buffer.from([10, 244, 1, 0]), Buffer.from([172, 18, 0, via])];
  const body = Buffer.concat([header, attribute(1, to), attribute(5, gateway), u32(15, 254)]);
  return { type, flags, sequence: 0, body };
}

test('what the fabric itself has done is no surprise', () => {
  assert.equal(surprising(link(RTM_NEWLINK, device)), false);
  assert.equal(surprising(ipv4Route(RTM_NEWROUTE, 3, fabricProtocol)), false);
  // It was replaced by the one that is remembered.
  assert.equal(surprising(ipv4Route(RTM_DELROUTE, 9, fabricProtocol)), false);
});

test('links of pods are not looked at', () => {
  for (const type of [RTM_NEWLINK, RTM_DELLINK]) assert.equal(surprising(link(type, 99)), false);
});

test('the device gone, down or changed, and any news of a link of the underlay, are', () => {
  assert.ok(surprising(link(RTM_DELLINK, device)));
  assert.ok(surprising(link(RTM_NEWLINK, device, { up: false })));
  assert.ok(surprising(link(RTM_NEWLINK, device, { mtu: 1400 })));
  assert.ok(surprising(link(RTM_NEWLINK, underlay)));
});

test('a route that was deleted or replaced by someone else is, and so is a loss of announcements', () => {
  assert.ok(surprising(ipv4Route(RTM_DELROUTE, 3, fabricProtocol)));
  assert.ok(surprising(ipv4Route(RTM_NEWROUTE, 9, 4, 0x100)));
  assert.equal(surprising(ipv4Route(RTM_DELROUTE, 3, 4)), false);
  assert.ok(isSurprise({ type: 'overrun' }, { state, devices, underlay: new Set() }));
});

test('a WireGuard device whose key, port or peers are others than remembered is a surprise; a peer that speaks from elsewhere is none', () => {
  const key = (number: number): WireguardKey => keyFromBytes(Buffer.alloc(32, number));
  const memory = emptyState();
  const link = 'weft-wg';
  memory.links.set(link, { kind: 'wireguard', name: link, mtu: 1440, up: true, port: 51820, publicKey: key(1) });
  const [range, other] = [asCidr('10.244.1.0/24'), asCidr('172.18.0.3/32')];
  const peer = { publicKey: key(2), endpoint: { address: asIp('172.18.0.3'), port: 51820 }, allowed: [range, other] };
  memory.wireguardPeers.set(keyOf.wireguardPeer({ link, ...peer }), { ...peer, link, endpoint: asIp('172.18.0.3') });
  const whole: WireguardDevice = { publicKey: key(1), port: 51820, peers: [peer] };
  const isStrange = (part: Partial<WireguardDevice>): boolean =>
    isWireguardSurprise(link, { ...whole, ...part }, memory);
  for (const peers of [
    [{ ...peer, allowed: [other, range] }],
    [{ ...peer, endpoint: { address: asIp('172.18.0.9'), port: 1 } }],
  ])
    assert.equal(isStrange({ peers }), false);
  for (const part of [
    { peers: [] },
    { peers: [{ ...peer, allowed: [range] }] },
    { peers: [{ ...peer, publicKey: key(3) }] },
    { peers: [peer, { ...peer, publicKey: key(3), allowed: [] }] },
    { publicKey: key(4) },
    { port: 1 },
  ])
    assert.equal(isStrange(part), true, JSON.stringify(part));
  assert.equal(isWireguardSurprise('wg0', { ...whole, peers: [] }, memory), false, 'a device of others');
});
