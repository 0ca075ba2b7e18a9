// What is written: only what differs, new things before old ones go.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Node } from '../k8s/types.generated.ts';
import { asCidr, asIp } from '../net/address.ts';
import { keyFromBytes, type WireguardKey } from '../net/wireguard-key.ts';
import { inputOf, node } from './fixtures.ts';
import { decideFabric } from './kinds.ts';
import type { FabricPlan } from './plan.ts';
import { diffPlan, emptyState, type KernelState, keyOf, wasChanged } from './state.ts';

const own = node('a', ['10.244.0.0/24'], ['172.18.0.2']);
const key = (n: number): WireguardKey => keyFromBytes(Buffer.alloc(32, n));
const peer = (n: number): Node =>
  node(`b${n}`, [`10.244.${n}.0/24`], [`172.18.1.${n}`], { vtep: `172.18.1.${n}`, wireguard: key(n) });
const planOf = (fabric: 'host-gw' | 'vxlan' | 'encrypted', ...nodes: Node[]): FabricPlan =>
  fabric === 'encrypted'
    ? decideFabric({ ...inputOf([own, ...nodes], { encrypted: true }), wireguardKey: key(255) })
    : decideFabric(inputOf([own, ...nodes], { fabric }));

/** The kernel after a plan was written. */
function stateOf(plan: FabricPlan): KernelState {
  const state = emptyState();
  for (const link of plan.links) {
    const { name, mtu, port } = link;
    if (link.kind === 'wireguard')
      state.links.set(name, { kind: 'wireguard', name, mtu, up: true, port, publicKey: link.publicKey });
    else {
      const vxlan = { vni: link.vni, port, local: link.local, learning: false };
      state.links.set(name, { kind: 'vxlan', name, mac: link.mac, mtu, up: true, vxlan });
    }
  }
  for (const { owner: _, ...entry } of plan.addresses) state.addresses.set(keyOf.address(entry), entry);
  for (const { owner: _, ...entry } of plan.neighbours) state.neighbours.set(keyOf.neighbour(entry), entry);
  for (const { owner: _, ...entry } of plan.forwarding) state.forwarding.set(keyOf.forwarding(entry), entry);
  for (const { owner: _, ...entry } of plan.wireguardPeers) state.wireguardPeers.set(keyOf.wireguardPeer(entry), entry);
  for (const { owner: _, ...entry } of plan.rules) state.rules.set(keyOf.rule(entry), entry);
  for (const { owner: _, ...entry } of plan.routes) state.routes.set(keyOf.route(entry), entry);
  for (const { key, value } of plan.sysctls) state.sysctls.set(key, value);
  return state;
}

/** How many writes a difference takes. */
function writes(plan: FabricPlan, state: KernelState): number {
  const { stale, ...rest } = diffPlan(plan, state);
  return [...Object.values(rest), ...Object.values(stale)].reduce((sum, list) => sum + list.length, 0);
}

test('what is there as wanted is not written again', () => {
  for (const fabric of ['host-gw', 'vxlan', 'encrypted'] as const) {
    const plan = planOf(fabric, peer(1), peer(2));
    assert.equal(writes(plan, stateOf(plan)), 0);
  }
});

test('a node that joins or leaves costs the same number of writes among 2 and among 200', () => {
  for (const [fabric, expected] of [
    ['host-gw', 1],
    ['vxlan', 3],
    ['encrypted', 3],
  ] as const)
    for (const count of [2, 200]) {
      const peers = Array.from({ length: count }, (_, index) => peer(index + 1));
      const before = planOf(fabric, ...peers.slice(1));
      const after = planOf(fabric, ...peers);
      assert.equal(writes(after, stateOf(before)), expected);
      assert.equal(writes(before, stateOf(after)), expected);
    }
});

test('a change of fabric replaces routes and takes the rest away as stale', () => {
  const direct = planOf('host-gw', peer(1));
  const tunnel = planOf('vxlan', peer(1));
  const there = diffPlan(tunnel, stateOf(direct));
  assert.deepEqual([there.made.length, there.routes.length, there.stale.routes.length], [1, 1, 0]);
  const back = diffPlan(direct, stateOf(tunnel));
  assert.deepEqual(
    back.stale.links.map(({ name }) => name),
    ['weft-vxlan'],
  );
  assert.deepEqual([back.routes.length, back.stale.forwarding.length, back.stale.neighbours.length], [1, 1, 1]);
});

test('a device with another VNI, or one that learns, is made anew with all that hangs on it', () => {
  const plan = planOf('vxlan', peer(1));
  for (const wrong of [{ vni: 7 }, { learning: true }, { port: 4789 }]) {
    const state = stateOf(plan);
    for (const [key, link] of state.links)
      if (link.kind === 'vxlan') state.links.set(key, { ...link, vxlan: { ...link.vxlan, ...wrong } });
    const { made, addresses, neighbours, forwarding, routes } = diffPlan(plan, state);
    assert.deepEqual(
      [made.length, addresses.length, neighbours.length, forwarding.length, routes.length],
      [1, 1, 1, 1, 1],
    );
  }
  const state = stateOf(plan);
  for (const [key, link] of state.links) state.links.set(key, { ...link, mtu: 1500 });
  const { made, changed } = diffPlan(plan, state);
  assert.deepEqual([made.length, changed.length], [0, 1]);
});

test('a route of an earlier life without a wanted destination goes', () => {
  const plan = planOf('host-gw', peer(1));
  const state = stateOf(plan);
  const stale = { to: asCidr('10.244.9.0/24') };
  state.routes.set(keyOf.route(stale), stale);
  assert.deepEqual(diffPlan(plan, state).stale.routes, [stale]);
});

test('a node with another key is a new peer, and the former one goes; a device with another key is changed, not made', () => {
  const before = planOf('encrypted', peer(1));
  const changed = node('b1', ['10.244.1.0/24'], ['172.18.1.1'], { wireguard: key(7) });
  const { made, wireguardPeers, stale, routes } = diffPlan(planOf('encrypted', changed), stateOf(before));
  assert.deepEqual([made.length, wireguardPeers.length, routes.length], [0, 1, 0]);
  assert.deepEqual(
    stale.wireguardPeers.map(({ publicKey }) => publicKey),
    [key(1)],
  );
  const state = stateOf(before);
  for (const [name, link] of state.links)
    if (link.kind === 'wireguard') state.links.set(name, { ...link, publicKey: key(9) });
  const own = diffPlan(before, state);
  assert.deepEqual([own.made.length, own.changed.length], [0, 1]);
});

test('a kernel was changed where anything of it is gone, new or otherwise, and only there', () => {
  for (const fabric of ['host-gw', 'vxlan', 'encrypted'] as const) {
    const plan = planOf(fabric, peer(1), peer(2));
    const there = (): KernelState => stateOf(plan);
    assert.equal(wasChanged(there(), there()), false);
    for (const sort of [
      'links',
      'addresses',
      'neighbours',
      'forwarding',
      'wireguardPeers',
      'routes',
      'rules',
    ] as const) {
      const less = there();
      const [first] = less[sort].keys();
      if (first === undefined) continue;
      less[sort].delete(first);
      assert.ok(wasChanged(there(), less), `${fabric} ${sort} gone`);
      assert.ok(wasChanged(less, there()), `${fabric} ${sort} new`);
    }
    const other = there();
    for (const [key, route] of other.routes) other.routes.set(key, { ...route, via: asIp('172.18.0.99') });
    assert.ok(wasChanged(there(), other));
  }
});
