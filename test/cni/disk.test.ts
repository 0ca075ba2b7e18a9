// A full disk and a rebuilt node: nothing half-done stays, and what was held is known.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { poolOf } from '../../src/cni/ipam.ts';
import { LeaseStore } from '../../src/cni/lease-store.ts';
import { noSettings } from '../../src/cni/wishes.ts';
import { asCidr } from '../../src/net/address.ts';
import { addressOf, Lab, runIn } from './lab.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'], sweep: { firstMs: 50, everyMs: 50 } });
after(() => lab[Symbol.asyncDispose]());

function command(...argv: readonly string[]): void {
  const [name = '', ...args] = argv;
  const { status, stderr } = spawnSync(name, args, { encoding: 'utf8' });
  assert.equal(status, 0, stderr);
}

const add = (path: string, id: string): Record<string, string> => ({
  CNI_COMMAND: 'ADD',
  CNI_CONTAINERID: id,
  CNI_NETNS: path,
  CNI_IFNAME: 'eth0',
});

test('with a full disk ADD says so and leaves nothing, DEL can be repeated, and both work again with room', async () => {
  const node = lab.addNode(['10.244.1.0/24']);
  const state = join(node.root, 'state');
  mkdirSync(state, { recursive: true });
  command('mount', '-t', 'tmpfs', '-o', 'size=400k', 'weft-test', state);
  try {
    await lab.start([node]);
    const kept = lab.addPod();
    const address = addressOf(await lab.add(node, 'kept', kept.path));
    const filler = join(state, 'filler');
    for (let size = 65_536; size >= 512; size /= 2)
      try {
        for (;;) writeFileSync(filler, Buffer.alloc(size), { flag: 'a' });
      } catch {
        // Smaller pieces may still have room.
      }
    const pod = lab.addPod();
    let refused = { status: 0, output: '' };
    for (let index = 0; index < 20 && refused.status === 0; index++)
      refused = await lab.call(node, add(lab.addPod().path, `full-${index}`));
    assert.equal(refused.status, 1);
    assert.equal(JSON.parse(refused.output).code, 5);
    assert.match(JSON.parse(refused.output).msg, /full/);
    rmSync(filler);
    assert.notEqual(addressOf(await lab.add(node, 'late', pod.path)), address);
    for (const id of ['kept', 'late', ...Array.from({ length: 20 }, (_, index) => `full-${index}`)])
      assert.equal((await lab.delete(node, id)).status, 0);
    assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /veth/);
  } finally {
    await lab.kill(node);
    command('umount', state);
  }
});

test('a node that is rebuilt with another range under the same name frees what the old one held', async () => {
  const node = lab.addNode(['10.244.2.0/24']);
  const state = join(node.root, 'state');
  mkdirSync(state, { recursive: true });
  const store = new LeaseStore(join(state, 'leases.db'));
  const old = asCidr('10.244.9.0/24');
  const attachment = { containerId: 'old', ifname: 'eth0' };
  const netns = '/run/netns/wt-gone';
  store.acquire({ attachment, network: 'weft', netns, pod: 'default/old', settings: noSettings }, [
    { pools: [poolOf(old)] },
  ]);
  store.setRanges([old]);
  store.close();
  await lab.start([node]);
  const pod = lab.addPod();
  assert.match(addressOf(await lab.add(node, 'new', pod.path)), /^10\.244\.2\./);
  assert.doesNotMatch(runIn(node.netns, 'ip', 'address', 'show', 'weft0'), /10\.244\.9\./);
  const held = (): string[] => {
    const reader = new LeaseStore(join(state, 'leases.db'));
    const ids = reader.list().map((lease) => lease.attachment.containerId);
    reader.close();
    return ids;
  };
  for (const end = performance.now() + 2_000; held().includes('old'); await new Promise((r) => setTimeout(r, 20)))
    assert.ok(performance.now() < end, 'not freed in 2 s');
  assert.deepEqual(held(), ['new']);
  await lab.delete(node, 'new', pod.path);
});
