// Nodes to one device, and for each other node a peer and the routes to it; what has no key is never sent in clear.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { defaultNetworkConfig, type NetworkConfig, readNetworkConfig } from '../k8s/network-config.ts';
import type { Node } from '../k8s/types.generated.ts';
import { keyFromBytes } from '../net/wireguard-key.ts';
import { inputOf, type NodeOptions, node } from './fixtures.ts';
import { decideFabric } from './kinds.ts';
import { makeNodeKey, readNodeKey } from './node-key.ts';
import type { FabricPlan } from './plan.ts';

const key = (byte: number): ReturnType<typeof keyFromBytes> => keyFromBytes(Buffer.alloc(32, byte));
const own = node('a', ['10.244.0.0/24', 'fd00::/120'], ['172.18.0.2', 'fd18::2'], { wireguard: key(1) });
const other = (options: NodeOptions = { wireguard: key(2) }): Node =>
  node('b', ['10.244.1.0/24', 'fd00::100/120'], ['172.18.0.3', 'fd18::3'], options);

function decide(nodes: readonly Node[], config: Partial<NetworkConfig> = { encrypted: true }): FabricPlan {
  return decideFabric({ ...inputOf(nodes, config), wireguardKey: key(1) });
}

for (const fabric of ['host-gw', 'vxlan'] as const)
  test(`${fabric}: another node is one peer, a route for each range and, for pods, one to each of its addresses`, () => {
    const plan = decide([own, other()], { fabric, encrypted: true });
    assert.deepEqual(plan.links, [
      { kind: 'wireguard', name: 'weft-wg', mtu: 1440, port: 51820, publicKey: key(1), owner: 'Node a' },
    ]);
    assert.deepEqual(plan.wireguardPeers, [
      {
        link: 'weft-wg',
        publicKey: key(2),
        endpoint: '172.18.0.3',
        port: 51820,
        allowed: ['10.244.1.0/24', 'fd00::100/120', '172.18.0.3/32', 'fd18::3/128'],
        owner: 'Node b',
      },
    ]);
    const routes = plan.routes.map(
      ({ to, link, unreachable, table }) => `${table ?? 'main'}: ${to} ${unreachable ? 'unreachable' : link}`,
    );
    assert.deepEqual(routes, [
      'main: 10.244.0.0/16 unreachable',
      'main: 10.244.1.0/24 weft-wg',
      '118: 172.18.0.3/32 weft-wg',
      'main: fd00::/64 unreachable',
      'main: fd00::100/120 weft-wg',
      '118: fd18::3/128 weft-wg',
    ]);
    assert.deepEqual(
      plan.rules.map(({ from, table }) => `${from} ${table}`),
      ['10.244.0.0/24 118', 'fd00::/120 118'],
    );
    assert.deepEqual([plan.problems, plan.neighbours, plan.forwarding], [[], [], []]);
  });

test('over IPv6 the headers take 80 bytes', () => {
  assert.equal(decide([node('a', ['fd00::/120'], ['fd18::2'])]).links[0]?.mtu, 1420);
});

test('a node without a key is no peer, is routed into the device all the same, and is reported', () => {
  for (const options of [{}, { wireguard: 'no key' }]) {
    const plan = decide([own, other(options)]);
    assert.deepEqual(plan.wireguardPeers, []);
    assert.deepEqual(
      new Set(plan.routes.map(({ link, unreachable }) => (unreachable ? 'nowhere' : link))),
      new Set(['nowhere', 'weft-wg']),
    );
    assert.match(plan.problems[0]?.reason ?? '', /no WireGuard key: nothing is sent/);
  }
});

test('a key or a range that two nodes claim is the first one’s by name', () => {
  const thief = node('c', ['10.244.2.0/24'], ['172.18.0.3'], { wireguard: key(2) });
  const { wireguardPeers, problems } = decide([own, thief, other()]);
  assert.deepEqual(
    wireguardPeers.map(({ owner }) => owner),
    ['Node b'],
  );
  assert.ok(problems.some(({ owner, reason }) => owner === 'Node c' && /is that of Node b/.test(reason)));
  const same = node('c', ['10.244.2.0/24'], ['172.18.0.3'], { wireguard: key(3) });
  assert.deepEqual(decide([own, same, other()]).wireguardPeers[1]?.allowed, ['10.244.2.0/24']);
});

test('without WireGuard in the kernel, or with a fabric that it is no option of, the network stays as it is', () => {
  const none = decideFabric(inputOf([own, other()], { encrypted: true }));
  assert.match(none.waitsFor ?? '', /WireGuard in this node's kernel/);
  const router = decide([own, other()], { fabric: 'router', encrypted: true });
  assert.match(router.problems[0]?.reason ?? '', /option of the fabrics host-gw and vxlan/);
  assert.ok(router.waitsFor);
});

test('after the change back the device stays while a Ready node still sends through it', () => {
  const plan = (options: NodeOptions) => decide([own, other({ wireguard: key(2), ...options })], { encrypted: false });
  const still = plan({ inPlace: 'host-gw+wireguard' });
  assert.deepEqual([still.links.length, still.wireguardPeers.length, still.rules.length], [1, 1, 0]);
  assert.deepEqual(
    still.routes.map(({ via }) => via),
    ['172.18.0.3', 'fd18::3'],
  );
  assert.equal(plan({ inPlace: 'host-gw' }).links.length, 0);
  assert.equal(plan({ inPlace: 'host-gw+wireguard', ready: false }).links.length, 0);
});

test('before the change to it tunnels stay while a Ready node still sends through them', () => {
  const was = node('a', ['10.244.0.0/24'], ['172.18.0.2'], { vtep: '172.18.0.2' });
  const links = (inPlace: string) =>
    decide([was, other({ inPlace, vtep: '172.18.0.3' })], { fabric: 'vxlan', encrypted: true }).links;
  assert.deepEqual(
    links('vxlan').map(({ name }) => name),
    ['weft-wg', 'weft-vxlan'],
  );
  assert.equal(links('vxlan+wireguard').length, 1);
});

test('the settings: none or wireguard, and a port; anything else changes nothing', () => {
  const read = (data: Record<string, string>) =>
    readNetworkConfig({ apiVersion: 'v1', kind: 'ConfigMap', metadata: {}, data });
  assert.equal(read({ encryption: 'wireguard' }).config?.encrypted, true);
  assert.equal(read({ encryption: 'none' }).config?.encrypted, false);
  assert.equal(read({ 'wireguard.port': '4500' }).config?.wireguard.port, 4500);
  assert.equal(read({ encryption: 'yes' }).config, undefined);
  assert.match(read({ encryption: 'yes' }).problems[0]?.reason ?? '', /none or wireguard/);
  assert.equal(defaultNetworkConfig.encrypted, false);
});

test('a key pair is kept in a file for root alone, and a file that has no key is as none', (t) => {
  const folder = mkdtempSync('/tmp/wt-key-');
  t.after(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'deep/wireguard.key');
  assert.equal(readNodeKey(file), undefined);
  const made = makeNodeKey(file);
  assert.deepEqual(readNodeKey(file), made);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  writeFileSync(file, 'nonsense\n');
  assert.equal(readNodeKey(file), undefined);
});
