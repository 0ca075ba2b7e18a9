// The plugin in a chain with Debian's reference plugins (package containernetworking-plugins), before and after it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import { EchoServer, seenAs } from './echo.ts';
import { type AddResult, addressOf, Lab, type LabNode, runIn } from './lab.ts';

const referenceDir = '/usr/lib/cni';
const skip = existsSync(join(referenceDir, 'tuning')) ? false : `${referenceDir} has no reference plugins`;
const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'] });
let node: LabNode;
let far: LabNode;

before(async () => {
  if (skip !== false) return;
  node = lab.addNode(['10.244.1.0/24']);
  far = lab.addNode(['10.244.2.0/24']);
  await lab.start();
});
after(() => lab[Symbol.asyncDispose]());

interface ChainPlugin {
  readonly type: string;
  readonly [key: string]: unknown;
}

/** Runs one plugin of a chain inside of the node, as libcni does. */
function runPlugin(env: Record<string, string>, config: ChainPlugin): Promise<{ status: number; output: string }> {
  const program = config.type === 'weft-cni' ? join(node.root, 'bin/weft-cni') : join(referenceDir, config.type);
  const path = `${referenceDir}:${node.root}/bin:${process.env.PATH}`;
  const child = inNetns(netnsPath(node.netns), () =>
    spawn(program, {
      env: { ...env, CNI_PATH: path, PATH: process.env.PATH ?? '' },
      stdio: ['pipe', 'pipe', 'inherit'],
    }),
  );
  let output = '';
  child.stdout.on('data', (chunk) => {
    output += String(chunk);
  });
  child.stdin.end(JSON.stringify(config));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? -1, output }));
  });
}

/** A command through a whole chain: ADD and CHECK forwards, DEL backwards; the result of each goes to the next. */
async function runChain(
  command: 'ADD' | 'CHECK' | 'DEL',
  plugins: readonly ChainPlugin[],
  pod: { name: string; path: string },
  result?: AddResult,
): Promise<AddResult> {
  const env = { CNI_COMMAND: command, CNI_CONTAINERID: pod.name, CNI_NETNS: pod.path, CNI_IFNAME: 'eth0' };
  let previous: AddResult | undefined = result;
  for (const plugin of command === 'DEL' ? plugins.toReversed() : plugins) {
    const config = { cniVersion: '1.0.0', name: 'chained', ...plugin, ...(previous && { prevResult: previous }) };
    const { status, output } = await runPlugin(env, config);
    assert.equal(status, 0, `${command} ${plugin.type}: ${output}`);
    if (command === 'ADD') previous = JSON.parse(output);
  }
  assert.ok(previous);
  return previous;
}

test('tuning and bandwidth after it work, and all goes away again', { skip }, async () => {
  const plugins: ChainPlugin[] = [
    { type: 'weft-cni' },
    { type: 'tuning', sysctl: { 'net.ipv4.conf.IFNAME.accept_source_route': '0' }, mac: '02:11:22:33:44:55' },
    { type: 'bandwidth', ingressRate: 100_000_000, ingressBurst: 10_000_000 },
  ];
  const pod = lab.addPod();
  const result = await runChain('ADD', plugins, pod);
  using server = await EchoServer.start(pod.name);
  assert.match(runIn(pod.name, 'ip', 'link', 'show', 'eth0'), /02:11:22:33:44:55/);
  // The bridge does not know the new MAC, and finds the pod all the same.
  assert.equal(seenAs(far.netns, addressOf(result)), far.addresses[0]);
  assert.match(runIn(node.netns, 'tc', 'qdisc'), /tbf .*rate 100Mbit/);
  await runChain('DEL', plugins, pod, result);
  assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /veth|ifb|bwp/);
  void server;
});

test('after a plugin that came first its result is kept, and ours is added', { skip }, async () => {
  const ptp = {
    type: 'ptp',
    ipam: { type: 'host-local', dataDir: join(node.root, 'ptp'), ranges: [[{ subnet: '10.99.0.0/24' }]] },
  };
  const pod = lab.addPod();
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: pod.name, CNI_NETNS: pod.path, CNI_IFNAME: 'net0' };
  const first = await runPlugin(env, { cniVersion: '1.0.0', name: 'chained', ...ptp });
  assert.equal(first.status, 0, first.output);
  const prevResult: AddResult = JSON.parse(first.output);
  const second = await runPlugin(
    { ...env, CNI_IFNAME: 'eth0' },
    {
      cniVersion: '1.0.0',
      name: 'chained',
      type: 'weft-cni',
      prevResult,
    },
  );
  assert.equal(second.status, 0, second.output);
  const result: AddResult = JSON.parse(second.output);
  assert.deepEqual(result.ips[0], prevResult.ips[0]);
  assert.match(result.ips[1]?.address ?? '', /^10\.244\.1\./);
  for (const { interface: index } of result.ips) assert.ok(result.interfaces[index]?.sandbox);
  await runPlugin(
    { ...env, CNI_COMMAND: 'DEL', CNI_IFNAME: 'eth0' },
    {
      cniVersion: '1.0.0',
      name: 'chained',
      type: 'weft-cni',
    },
  );
  await runPlugin(
    { ...env, CNI_COMMAND: 'DEL' },
    {
      cniVersion: '1.0.0',
      name: 'chained',
      ...ptp,
    },
  );
  assert.doesNotMatch(runIn(pod.name, 'ip', 'link'), /eth0|net0/);
});
