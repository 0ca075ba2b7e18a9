import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RTM_DELLINK, RTM_NEWLINK } from '../linux/links.ts';
import { attribute, type Message, text, u32 } from '../linux/netlink.ts';
import { asCidr } from '../net/address.ts';
import { concernsBridge, type LoosePorts } from './bridge-events.ts';
import { hostLinkName, planNode } from './plan.ts';

const bridge = { index: 7, plan: planNode([asCidr('10.244.1.0/24')], 1500).bridge };
const port = hostLinkName({ containerId: 'a', ifname: 'eth0' });
const IFLA = { address: 1, ifname: 3, mtu: 4, master: 10 };

/** What the kernel announces of a link: struct ifinfomsg, then attributes. */
function link(type: number, index: number, state: { name: string; up: boolean; master?: number }): Message {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  header.writeUInt32LE(state.up ? 1 : 0, 8);
  const attributes = [
    text(IFLA.ifname, state.name),
    u32(IFLA.mtu, 1500),
    attribute(IFLA.address, Buffer.from(bridge.plan.mac.replaceAll(':', ''), 'hex')),
    ...(state.master === undefined ? [] : [u32(IFLA.master, state.master)]),
  ];
  return { type, flags: 0, sequence: 0, body: Buffer.concat([header, ...attributes]) };
}

const judge = (messages: readonly Message[], loose: LoosePorts): boolean =>
  concernsBridge({ type: 'messages', messages }, bridge, loose);

test('a port that is announced off the bridge and then on it was being made: nothing is wrong', () => {
  const loose: LoosePorts = new Set();
  const steps = [
    { name: port, up: false },
    { name: port, up: false, master: bridge.index },
    { name: port, up: true, master: bridge.index },
  ];
  assert.equal(judge([link(RTM_NEWLINK, 9, { name: port, up: false })], loose), false);
  assert.deepEqual([...loose], [9]);
  for (const step of steps) assert.equal(judge([link(RTM_NEWLINK, 9, step)], loose), false);
  assert.deepEqual([...loose], []);
});

test('a port that goes down and is deleted leaves nothing to look at', () => {
  const loose: LoosePorts = new Set();
  judge([link(RTM_NEWLINK, 9, { name: port, up: false })], loose);
  judge([link(RTM_DELLINK, 9, { name: port, up: false })], loose);
  assert.deepEqual([...loose], []);
});

test('the bridge itself down or deleted concerns the bridge at once', () => {
  const loose: LoosePorts = new Set();
  const { name } = bridge.plan;
  assert.equal(judge([link(RTM_NEWLINK, bridge.index, { name, up: true })], loose), false);
  assert.equal(judge([link(RTM_NEWLINK, bridge.index, { name, up: false })], loose), true);
  assert.equal(judge([link(RTM_DELLINK, bridge.index, { name, up: false })], loose), true);
  assert.equal(concernsBridge({ type: 'overrun' }, bridge, loose), true);
});
