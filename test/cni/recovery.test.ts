// What must survive: the daemon killed at any moment, calls while it is down, the bridge deleted by hand.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { poolOf } from '../../src/cni/ipam.ts';
import { LeaseStore } from '../../src/cni/lease-store.ts';
import { noSettings } from '../../src/cni/wishes.ts';
import { asCidr, type Cidr, type Ip } from '../../src/net/address.ts';
import { EchoServer, seenAs } from './echo.ts';
import { addressOf, Lab, type LabNode, namesIn, runIn } from './lab.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'], sweep: { firstMs: 200, everyMs: 60_000 } });
let node: LabNode;

before(async () => {
  node = lab.addNode(['10.244.1.0/24']);
  await lab.start();
});
after(() => lab[Symbol.asyncDispose]());

/** The leases of the node; only while its agent is down. */
function leases(): string[] {
  const store = new LeaseStore(join(node.root, 'state/leases.db'));
  try {
    return store
      .list()
      .map(({ attachment }) => attachment.containerId)
      .sort();
  } finally {
    store.close();
  }
}

/** Asks again every few milliseconds until it is so; throws after two seconds. */
async function within2s(what: string, holds: () => boolean): Promise<void> {
  const end = performance.now() + 2_000;
  while (!holds()) {
    if (performance.now() > end) throw new Error(`not within 2 s: ${what}`);
    await sleep(10);
  }
}

test('pods go on talking while the agent is down, and keep their addresses when it is back', async () => {
  const [a, b] = [lab.addPod(), lab.addPod()];
  const [first, second] = [await lab.add(node, 'live-a', a.path), await lab.add(node, 'live-b', b.path)];
  using _server = await EchoServer.start(b.name);
  await lab.kill(node);
  assert.equal(seenAs(a.name, addressOf(second)), addressOf(first));
  await lab.start();
  assert.equal(seenAs(a.name, addressOf(second)), addressOf(first));
  const c = lab.addPod();
  const third = addressOf(await lab.add(node, 'live-c', c.path));
  assert.ok(![addressOf(first), addressOf(second)].includes(third));
  for (const id of ['live-a', 'live-b', 'live-c']) await lab.delete(node, id);
});

test('while the agent is down ADD is to be tried again, STATUS is not available, and DEL is done later', async () => {
  const pod = lab.addPod();
  await lab.add(node, 'queued', pod.path);
  await lab.kill(node);
  const env = { CNI_CONTAINERID: 'queued', CNI_IFNAME: 'eth0', CNI_NETNS: pod.path };
  const call = (CNI_COMMAND: string) => lab.call(node, { ...env, CNI_COMMAND });
  const [add, status, version, del] = await Promise.all(['ADD', 'STATUS', 'VERSION', 'DEL'].map(call));
  assert.equal(JSON.parse(add?.output ?? '').code, 11);
  assert.equal(JSON.parse(status?.output ?? '').code, 50);
  assert.equal(version?.status, 0);
  assert.deepEqual(del, { status: 0, output: '' });
  assert.equal(namesIn(join(node.root, 'state/queue')).length, 1);
  assert.deepEqual(leases(), ['queued']);
  await lab.start();
  assert.deepEqual(namesIn(join(node.root, 'state/queue')), []);
  assert.doesNotMatch(runIn(pod.name, 'ip', 'link'), /eth0/);
});

test('a call that comes while the agent restarts waits for it', async () => {
  await lab.kill(node);
  const pod = lab.addPod();
  const [result] = await Promise.all([lab.add(node, 'patient', pod.path), lab.start()]);
  assert.match(addressOf(result), /^10\.244\.1\./);
  await lab.delete(node, 'patient');
});

test('killed in the middle of 20 ADDs, nothing is double and nothing is left after DEL', async () => {
  for (let round = 0; round < 2; round++) {
    const pods = Array.from({ length: 20 }, () => lab.addPod());
    const adds = pods.map((pod, index) => lab.add(node, `kill-${index}`, pod.path).catch(() => undefined));
    await Promise.race(adds);
    await lab.kill(node);
    await lab.start();
    const done = (await Promise.all(adds)).filter((result) => result !== undefined).map((result) => addressOf(result));
    assert.ok(done.length > 0);
    assert.equal(new Set(done).size, done.length);
    await Promise.all(pods.map((pod, index) => lab.delete(node, `kill-${index}`, pod.path)));
    for (const pod of pods) assert.doesNotMatch(runIn(pod.name, 'ip', 'link'), /eth0/);
  }
  await lab.kill(node);
  assert.deepEqual(leases(), []);
  await lab.start();
  assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /master weft0/);
});

test('the bridge, its address, its ports or forwarding taken away by hand are back within 2 s, and pods talk again', async () => {
  const [a, b] = [lab.addPod(), lab.addPod()];
  await lab.add(node, 'bridge-a', a.path);
  const second = addressOf(await lab.add(node, 'bridge-b', b.path));
  using _server = await EchoServer.start(b.name);
  const works = (): boolean => {
    const bridge = runIn(node.netns, 'ip', '-o', 'address');
    return (
      bridge.includes('10.244.1.1/24') &&
      runIn(node.netns, 'ip', 'link').match(/mtu 1500 .*master weft0.*state UP/g)?.length === 2 &&
      /weft0:.* mtu 1500 /.test(runIn(node.netns, 'ip', 'link')) &&
      runIn(node.netns, 'cat', '/proc/sys/net/ipv4/ip_forward').trim() === '1'
    );
  };
  const port = /(veth[0-9a-f]{11})@/.exec(runIn(node.netns, 'ip', 'link'))?.[1] ?? '';
  for (const [command, ...args] of [
    ['ip', 'link', 'delete', 'weft0'],
    ['ip', 'address', 'flush', 'dev', 'weft0'],
    ['ip', 'link', 'set', 'weft0', 'down'],
    ['ip', 'link', 'set', 'weft0', 'mtu', '1280'],
    ['ip', 'link', 'set', port, 'nomaster'],
    ['ip', 'link', 'set', port, 'down'],
    ['sh', '-c', 'echo 0 > /proc/sys/net/ipv4/ip_forward'],
  ] as const) {
    runIn(node.netns, command, ...args);
    await within2s(`repair after ${command} ${args.join(' ')}`, works);
    assert.equal(seenAs(a.name, second).startsWith('10.244.1.'), true);
  }
  for (const id of ['bridge-a', 'bridge-b']) await lab.delete(node, id);
});

test('the bridge is as small as its smallest pod, and no longer than that pod lives', async () => {
  const small = lab.addPod();
  const bridgeIs = (mtu: number): boolean =>
    new RegExp(`weft0: .* mtu ${mtu} `).test(runIn(node.netns, 'ip', 'link', 'show', 'weft0'));
  runIn(node.netns, 'ip', 'link', 'add', 'tunnel', 'mtu', '1400', 'type', 'veth', 'peer', 'name', 'far-end');
  runIn(node.netns, 'ip', 'address', 'add', '192.0.2.1/24', 'dev', 'tunnel');
  runIn(node.netns, 'ip', 'link', 'set', 'tunnel', 'up');
  await within2s('the bridge follows the smallest way to other nodes', () => bridgeIs(1400));
  await lab.add(node, 'small', small.path);
  runIn(node.netns, 'ip', 'link', 'delete', 'tunnel');
  await lab.delete(node, 'small', small.path);
  await within2s('the bridge grows with the last small pod gone', () => bridgeIs(1500));
});

test('when the store of leases is damaged, running pods keep their addresses for themselves', async () => {
  const pods = [lab.addPod(), lab.addPod(), lab.addPod()];
  const [a, b, c] = pods;
  assert.ok(a && b && c);
  const held = [addressOf(await lab.add(node, 'lost-a', a.path)), addressOf(await lab.add(node, 'lost-b', b.path))];
  await lab.kill(node);
  writeFileSync(join(node.root, 'state/leases.db'), 'x'.repeat(8192));
  await lab.start();
  held.push(addressOf(await lab.add(node, 'lost-c', c.path)));
  await lab.kill(node);
  assert.equal(leases().length, 3);
  const all = fillRange(asCidr('10.244.1.0/24'), 250);
  assert.equal(new Set([...held, ...all]).size, 253);
  await lab.start();
  for (const id of ['lost-a', 'lost-b', 'lost-c']) await lab.delete(node, id);
  for (const pod of pods) lab.removePod(pod.name);
});

/** Takes as many addresses of the node as are asked for, and gives them back; only while its agent is down. */
function fillRange(range: Cidr, count: number): Ip[] {
  const store = new LeaseStore(join(node.root, 'state/leases.db'), { restMs: 0 });
  const attachments = Array.from({ length: count }, (_, index) => ({ containerId: `fill-${index}`, ifname: 'eth0' }));
  const lease = { network: 'weft', netns: '/nowhere', pod: '', settings: noSettings };
  const choices = [{ pools: [poolOf(range)] }];
  const taken = attachments.flatMap((attachment) => store.acquire({ ...lease, attachment }, choices).addresses);
  for (const attachment of attachments) store.release(attachment);
  store.close();
  return taken;
}

test('addresses of containers that went without DEL are freed by the agent itself', async () => {
  const pod = lab.addPod();
  await lab.add(node, 'reboot', pod.path);
  await lab.kill(node);
  lab.removePod(pod.name);
  assert.deepEqual(leases(), ['reboot']);
  await lab.start();
  const env = { CNI_COMMAND: 'CHECK', CNI_CONTAINERID: 'reboot', CNI_IFNAME: 'eth0', CNI_NETNS: '/proc/self/ns/net' };
  const reserved = async (): Promise<boolean> =>
    !(await lab.call(node, env, { prevResult: {} })).output.includes('no address is reserved');
  assert.equal(await reserved(), true);
  for (const end = performance.now() + 2_000; await reserved(); )
    assert.ok(performance.now() < end, 'not freed in 2 s');
});
