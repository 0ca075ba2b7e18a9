// The verbs of CNI through the program that a runtime calls, against the real kernel.
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { addressOf, Lab, type LabNode, runIn } from './lab.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'], restMs: 0 });
let node: LabNode;
let small: LabNode;

before(async () => {
  node = lab.addNode(['10.244.1.0/24'], { mtu: 1400 });
  small = lab.addNode(['10.244.2.0/29']);
  await lab.start();
});
after(() => lab[Symbol.asyncDispose]());

const env = (command: string, containerId: string, path: string): Record<string, string> => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: containerId,
  CNI_NETNS: path,
  CNI_IFNAME: 'eth0',
});

const errorOf = (output: string): { code: number; msg: string; cniVersion: string } => JSON.parse(output);

const vethsOf = (one: LabNode): string[] =>
  runIn(one.netns, 'ip', '-o', 'link', 'show', 'type', 'veth')
    .split('\n')
    .filter((line) => line.includes('master weft0'));

test('the runtime finds the network configuration, which claims what the plugin can', () => {
  const file = join(node.root, 'net.d/10-weft.conflist');
  const config = JSON.parse(readFileSync(file, 'utf8'));
  assert.equal(config.cniVersion, '1.0.0');
  assert.equal(config.plugins[0].type, 'weft-cni');
  for (const name of ['portMappings', 'bandwidth', 'ipRanges', 'ips', 'mac', 'dns', 'aliases'])
    assert.equal(config.plugins[0].capabilities[name], true, name);
  assert.ok(existsSync(join(node.root, 'bin/weft-cni')));
});

test('ADD gives an address, a gateway and the interface in the namespace of the pod', async () => {
  const pod = lab.addPod();
  const result = await lab.add(node, 'add-1', pod.path);
  const [ip] = result.ips;
  assert.match(ip?.address ?? '', /^10\.244\.1\.\d+\/24$/);
  assert.equal(ip?.gateway, '10.244.1.1');
  assert.equal(result.interfaces[ip?.interface ?? -1]?.sandbox, pod.path);
  assert.deepEqual(result.routes, [{ dst: '0.0.0.0/0', gw: '10.244.1.1' }]);
  assert.match(runIn(pod.name, 'ip', 'link', 'show', 'dev', 'eth0'), /mtu 1400 .*UP/);
  assert.match(runIn(pod.name, 'ip', 'link', 'show', 'dev', 'lo'), /LOOPBACK,UP/);
  await lab.delete(node, 'add-1', pod.path);
});

test('a second ADD of the same interface is refused, and the first one goes on', async () => {
  const pod = lab.addPod();
  const first = await lab.add(node, 'twice', pod.path);
  const again = await lab.call(node, env('ADD', 'twice', pod.path));
  assert.deepEqual([again.status, errorOf(again.output).code], [1, 103]);
  const other = await lab.call(node, env('ADD', 'other', pod.path));
  assert.deepEqual([other.status, errorOf(other.output).code], [1, 103]);
  assert.match(runIn(pod.name, 'ip', 'address'), new RegExp(`${addressOf(first)}/24`));
  await lab.delete(node, 'twice', pod.path);
});

test('DEL takes the interface away, and succeeds again, without namespace, and for what never was', async () => {
  const pod = lab.addPod();
  await lab.add(node, 'gone', pod.path);
  const before = vethsOf(node).length;
  for (const path of [pod.path, pod.path, ''])
    assert.deepEqual(await lab.delete(node, 'gone', path), { status: 0, output: '' });
  assert.deepEqual(await lab.delete(node, 'never', '/run/netns/nowhere'), { status: 0, output: '' });
  assert.equal(vethsOf(node).length, before - 1);
  assert.doesNotMatch(runIn(pod.name, 'ip', 'link'), /eth0/);
});

test('DEL after the namespace went frees the address', async () => {
  const pod = lab.addPod();
  await lab.add(node, 'early', pod.path);
  lab.removePod(pod.name);
  assert.equal((await lab.delete(node, 'early', pod.path)).status, 0);
  const check = await lab.call(node, env('CHECK', 'early', pod.path), { prevResult: {} });
  assert.deepEqual([check.status, errorOf(check.output).code], [1, 102]);
});

test('20 ADDs in parallel give 20 different addresses', async () => {
  const pods = Array.from({ length: 20 }, () => lab.addPod());
  const results = await Promise.all(pods.map((pod, index) => lab.add(node, `par-${index}`, pod.path)));
  assert.equal(new Set(results.map((result) => addressOf(result))).size, 20);
  await Promise.all(pods.map((pod, index) => lab.delete(node, `par-${index}`, pod.path)));
});

test('an address that was freed is not the next one to be given', async () => {
  const [a, b] = [lab.addPod(), lab.addPod()];
  const first = addressOf(await lab.add(node, 'robin-1', a.path));
  await lab.delete(node, 'robin-1', a.path);
  assert.notEqual(addressOf(await lab.add(node, 'robin-2', b.path)), first);
  await lab.delete(node, 'robin-2', b.path);
});

test('ADD into a namespace that is not there says so and holds no address', async () => {
  const outcome = await lab.call(small, env('ADD', 'lost', '/run/netns/wt-nowhere'));
  assert.deepEqual([outcome.status, errorOf(outcome.output).code], [1, 3]);
  const own = await lab.call(small, env('ADD', 'lost', `/run/netns/${small.netns}`));
  assert.deepEqual([own.status, errorOf(own.output).code], [1, 4]);
});

test('a full range is reported by ADD and STATUS, and both recover', async () => {
  const pods = Array.from({ length: 6 }, () => lab.addPod());
  const ids = pods.map((_, index) => `full-${index}`);
  for (const [index, pod] of pods.slice(0, 5).entries()) await lab.add(small, ids[index] ?? '', pod.path);
  const refused = await lab.call(small, env('ADD', ids[5] ?? '', pods[5]?.path ?? ''));
  assert.equal(errorOf(refused.output).code, 101);
  assert.match(errorOf(refused.output).msg, /10\.244\.2\.0\/29/);
  const status = await lab.call(small, { CNI_COMMAND: 'STATUS' }, { cniVersion: '1.1.0' });
  assert.deepEqual([status.status, errorOf(status.output).code], [1, 50]);
  for (const id of ids) await lab.delete(small, id);
  assert.deepEqual(await lab.call(small, { CNI_COMMAND: 'STATUS' }, { cniVersion: '1.1.0' }), {
    status: 0,
    output: '',
  });
});

test('CHECK passes while all is there and names what is missing', async () => {
  const pod = lab.addPod();
  const result = await lab.add(node, 'check', pod.path);
  const check = () => lab.call(node, env('CHECK', 'check', pod.path), { prevResult: result });
  assert.deepEqual(await check(), { status: 0, output: '' });
  runIn(pod.name, 'ip', 'route', 'delete', 'default');
  const route = await check();
  assert.equal(errorOf(route.output).code, 102);
  assert.match(errorOf(route.output).msg, /route 0\.0\.0\.0\/0 via 10\.244\.1\.1 is missing/);
  runIn(pod.name, 'ip', 'address', 'flush', 'dev', 'eth0');
  assert.match(errorOf((await check()).output).msg, /address 10\.244\.1\.\d+\/24 is missing/);
  await lab.delete(node, 'check', pod.path);
  assert.match(errorOf((await check()).output).msg, /no address is reserved/);
});

test('GC frees what is gone at once, and what still lives only at the second time', async () => {
  const [kept, dead, alive] = [lab.addPod(), lab.addPod(), lab.addPod()];
  const keptResult = await lab.add(node, 'gc-kept', kept.path);
  const results = {
    dead: await lab.add(node, 'gc-dead', dead.path),
    alive: await lab.add(node, 'gc-alive', alive.path),
  };
  lab.removePod(dead.name);
  const config = { cniVersion: '1.1.0', 'cni.dev/valid-attachments': [{ containerID: 'gc-kept', ifname: 'eth0' }] };
  const check = (id: string, path: string, prevResult: object) =>
    lab.call(node, env('CHECK', id, path), { prevResult });
  assert.deepEqual(await lab.call(node, { CNI_COMMAND: 'GC' }, config), { status: 0, output: '' });
  assert.match((await check('gc-dead', alive.path, results.dead)).output, /no address is reserved/);
  assert.equal((await check('gc-alive', alive.path, results.alive)).status, 0);
  assert.equal((await lab.call(node, { CNI_COMMAND: 'GC' }, config)).status, 0);
  assert.match((await check('gc-alive', alive.path, results.alive)).output, /no address is reserved/);
  assert.equal((await check('gc-kept', kept.path, keptResult)).status, 0);
  await lab.delete(node, 'gc-kept', kept.path);
});

test('VERSION lists the versions, and a call in an unknown one is refused with code 1', async () => {
  const version = await lab.call(node, { CNI_COMMAND: 'VERSION' }, { cniVersion: '0.4.0' });
  const answer: { cniVersion: string; supportedVersions: string[] } = JSON.parse(version.output);
  assert.deepEqual([version.status, answer.cniVersion], [0, '0.4.0']);
  assert.deepEqual(answer.supportedVersions, ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0']);
  const wrong = await lab.call(node, env('ADD', 'v', '/x'), { cniVersion: '2.0.0' });
  assert.equal(errorOf(wrong.output).code, 1);
});

test('each version gets a result in its own form', async () => {
  for (const version of ['0.3.1', '0.4.0', '1.0.0', '1.1.0']) {
    const pod = lab.addPod();
    const { output } = await lab.call(node, env('ADD', 'form', pod.path), { cniVersion: version });
    const result: { cniVersion: string; ips: { version?: string }[]; interfaces: { mtu?: number }[] } =
      JSON.parse(output);
    assert.equal(result.cniVersion, version);
    assert.equal(result.ips[0]?.version, version.startsWith('0.') ? '4' : undefined);
    assert.equal(result.interfaces[0]?.mtu, version === '1.1.0' ? 1400 : undefined);
    await lab.delete(node, 'form', pod.path);
  }
});

test('malformed calls get the code of the specification through the program as well', async () => {
  const missing = await lab.call(node, { CNI_COMMAND: 'ADD' });
  assert.deepEqual([missing.status, errorOf(missing.output).code], [1, 4]);
  assert.match(errorOf(missing.output).msg, /CNI_CONTAINERID, CNI_NETNS, CNI_IFNAME/);
  assert.equal(errorOf((await lab.call(node, env('DEL', 'x', ''), 'not json')).output).code, 6);
  assert.equal(errorOf((await lab.call(node, env('DEL', 'x', ''), { name: '' })).output).code, 7);
  assert.equal(errorOf((await lab.call(node, {})).output).code, 4);
});
