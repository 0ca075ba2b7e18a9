// Encryption between nodes, with real packets; runs in a machine whose kernel has WireGuard (encryption.test.ts).
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fabricAnnotation } from '../../src/k8s/network-config.ts';
import { runIn } from '../cni/lab.ts';
import { node as nodeObject } from '../cni/static-client.ts';
import { changePeers, ModelLab, mtuOf, peersOf, routesOf, until } from './model.ts';
import { probe, Talker } from './probe.ts';
import { Sniffer } from './sniffer.ts';

const encryption = { encryption: 'wireguard' };
const model = new ModelLab(1, 'host-gw', {}, 2);
const { lab } = model;
const ends: { kill(): void }[] = [];

before(() => model.start());
after(async () => {
  for (const end of ends) end.kill();
  await model[Symbol.asyncDispose]();
});

async function listen(): Promise<Sniffer> {
  const sniffer = await Sniffer.start(lab.underlay);
  ends.push(sniffer);
  return sniffer;
}

/** A conversation between pods of two nodes in each family. */
async function talk(from = 0, to = 1): Promise<Talker[]> {
  const [a, b] = [model.pods[from], model.pods[to]];
  assert.ok(a && b);
  const talkers = await Promise.all(b.addresses.map((host) => Talker.start(a.netns, host)));
  ends.push(...talkers);
  return talkers;
}

async function goesOn(talkers: readonly Talker[]): Promise<void> {
  for (const { count, longestMs } of await Promise.all(talkers.map((talker) => talker.stop()))) {
    assert.ok(count > 5, `${count} answers`);
    assert.ok(longestMs < 10_000, `an answer took ${longestMs} ms`);
  }
}

const keyOf = (index: number): string =>
  lab.objects[index]?.metadata.annotations?.[fabricAnnotation.wireguard] ?? assert.fail('no key is published');

test('conversations go on while encryption begins, ends, and begins again with another fabric', async () => {
  const talkers = await talk();
  await model.change('host-gw', encryption);
  await model.change('host-gw');
  await until('the device is gone', () =>
    lab.nodes.every(({ netns }) => !runIn(netns, 'ip', 'link').includes('weft-wg')),
  );
  await model.change('vxlan');
  await model.change('vxlan', encryption);
  await until('the tunnels are gone', () =>
    lab.nodes.every(({ netns }) => !runIn(netns, 'ip', 'link').includes('vxlan')),
  );
  await goesOn(talkers);
});

test('all pairs reach each other, untranslated, and nothing of pods is in clear between nodes', async () => {
  const [one] = lab.nodes;
  assert.ok(one);
  await until('the bridge has the MTU of the device', () => mtuOf(one.netns, 'weft0') === 1440);
  const sniffer = await listen();
  await model.holdsModel(1440);
  const { encrypted, clear } = await sniffer.stop();
  assert.deepEqual(clear, []);
  assert.ok(encrypted > 1_000, `${encrypted} encrypted frames`);
  assert.equal((await model.addPod(one)).mtu, 1440, 'a pod that starts now has the smaller link');
});

test('a pod reaches a Service whose endpoint is another node itself, as the API server is, and is seen itself', async () => {
  await model.change('vxlan', encryption);
  const [a, b] = lab.nodes;
  const [pod] = model.pods;
  assert.ok(a && b && pod);
  const rule = `ip daddr 10.96.0.1 dnat to ${b.addresses[0]}`;
  const hook = 'type nat hook prerouting priority dstnat;';
  runIn(a.netns, 'nft', `add table ip service; add chain ip service c { ${hook} }; add rule ip service c ${rule}`);
  const sniffer = await listen();
  const [line] = await probe(pod.netns, [{ host: '10.96.0.1', mtu: 1400 }]);
  const [own] = pod.addresses;
  assert.equal(line, `10.96.0.1 ${own} ${own} ${own} ok`);
  assert.deepEqual((await sniffer.stop()).clear, []);
});

test('what is sent to a node without a key is refused, not sent in clear', async () => {
  const [pod] = model.pods;
  assert.ok(pod);
  lab.tellNodes([...lab.nodes.map(({ object }) => object), nodeObject('keyless', ['10.244.9.0/24'], ['172.18.0.99'])]);
  await until('the route to it', () => routesOf(lab.nodes[0]?.netns ?? '').includes('10.244.9.0/24 dev weft-wg'));
  const sniffer = await listen();
  for (const host of ['10.244.9.7', '172.18.0.99'])
    assert.throws(() => runIn(pod.netns, 'busybox', 'ping', '-c', '1', '-W', '1', host));
  assert.deepEqual((await sniffer.stop()).clear, []);
});

test('a node that is gone is no peer any more, and nothing takes a default route to its pods', async () => {
  lab.tellNodes(lab.nodes.map(({ object }) => object));
  const [a] = lab.nodes;
  await until('no route', () => !routesOf(a?.netns ?? '').includes('10.244.9.0/24'));
  lab.tellNodes(lab.nodes.slice(0, 1).map(({ object }) => object));
  await until('no peer', () => peersOf(a?.netns ?? '').length === 0);
  const [from, to] = model.pods;
  assert.ok(a && from && to);
  runIn(a.netns, 'ip', 'route', 'add', 'default', 'via', '172.18.0.3');
  const sniffer = await listen();
  assert.throws(() => runIn(from.netns, 'busybox', 'ping', '-c', '1', '-W', '1', to.addresses[0] ?? ''));
  assert.deepEqual((await sniffer.stop()).clear, []);
  runIn(a.netns, 'ip', 'route', 'delete', 'default');
  lab.tellNodes(lab.nodes.map(({ object }) => object));
  await model.inPlace();
});

test('an agent that starts anew keeps the key and the device, and conversations go on', async () => {
  const [a] = lab.nodes;
  assert.ok(a);
  const show = (): string => runIn(a.netns, 'ip', '-o', 'link', 'show', 'weft-wg');
  const before = [keyOf(0), show()];
  const talkers = await talk();
  await lab.kill(a);
  await lab.start([a]);
  await model.inPlace();
  assert.deepEqual([keyOf(0), show()], before);
  await goesOn(talkers);
});

test('a node that has lost its key makes another one, and the others take it', async () => {
  const [a, b] = lab.nodes;
  assert.ok(a && b);
  const old = keyOf(0);
  const talkers = await talk();
  await lab.kill(a);
  rmSync(join(a.root, 'fabric/wireguard.key'));
  await lab.start([a]);
  await until('another key is published', () => keyOf(0) !== old);
  await until('the other node has it', () => peersOf(b.netns).some(({ publicKey }) => publicKey === keyOf(0)));
  await until('and the former one no more', () => !peersOf(b.netns).some(({ publicKey }) => publicKey === old));
  await goesOn(talkers);
});

test('what is deleted or changed by hand is put right', async () => {
  const [a] = lab.nodes;
  assert.ok(a);
  const picture = (): string => {
    const peers = peersOf(a.netns).map(({ publicKey, endpoint, allowed }) => [
      publicKey,
      endpoint,
      [...allowed].sort(),
    ]);
    const show = (...args: string[]): string[] =>
      runIn(a.netns, 'ip', ...args)
        .split('\n')
        .map((line) => line.trim())
        .sort();
    return JSON.stringify([
      peers.sort(),
      ...[show('route', 'show', 'proto', '118'), show('route', 'show', 'table', '118'), show('rule')],
      runIn(a.netns, 'ip', '-o', 'link', 'show', 'weft-wg').match(/mtu \d+|,UP/g),
    ]);
  };
  const whole = picture();
  const isWhole = (): boolean => {
    try {
      return picture() === whole;
    } catch {
      return false;
    }
  };
  for (const command of [
    'link delete weft-wg',
    'link set weft-wg down',
    'link set weft-wg mtu 1500',
    'route delete 10.244.2.0/24',
    'route delete 172.18.0.3 table 118',
    'rule delete priority 1180',
  ]) {
    runIn(a.netns, 'ip', ...command.split(' '));
    await until(`${command} is put right`, isWhole);
  }
  // Of peers the kernel announces nothing.
  const [peer] = peersOf(a.netns);
  assert.ok(peer);
  changePeers(a.netns, (wireguard, link) => wireguard.removePeer(link, peer.publicKey));
  await until('a peer that was deleted is put right', isWhole);
  changePeers(a.netns, (wireguard, link) => wireguard.setPeer(link, { ...peer, allowed: peer.allowed.slice(1) }));
  await until('a range that was taken from a peer is put right', isWhole);
  const [from, to] = model.pods;
  assert.ok(from && to);
  for (const host of to.addresses) runIn(from.netns, 'busybox', 'ping', '-c', '1', '-W', '2', host);
});
