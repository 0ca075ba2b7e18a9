// A cluster on two subnets: its fabric changes, its nodes come and go, its links are cut, by the command line.
import assert from 'node:assert/strict';
import { readdirSync, rmSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { listNamedNetns } from '../../src/linux/netns.ts';
import { hasWireguard } from '../../src/linux/wireguard.ts';
import { Machine, until } from '../cluster/machine.ts';

const machine = new Machine();
const name = 'wtf';

before(async () => {
  await machine.must('up', '--name', name, '--nodes', '2', '--underlay-subnets', '2');
});
after(async () => {
  await machine.weft('down', '--name', name);
  rmSync(machine.home, { recursive: true, force: true });
});

interface Fabric {
  readonly fabric: string;
  readonly nodes: readonly { readonly node: string; readonly inPlace?: string; readonly vtep?: string }[];
}

const fabric = async (): Promise<Fabric> => JSON.parse(await machine.must('fabric', '--name', name, '-o', 'json'));
const readyNodes = async (): Promise<string[]> =>
  (await machine.status(name)).nodes.filter(({ state }) => state === 'Ready').map((node) => node.name);

test('on two subnets the fabric is vxlan, and host-gw is refused', async () => {
  assert.equal((await fabric()).fabric, 'vxlan');
  const refused = await machine.weft('fabric', 'set', 'host-gw', '--name', name);
  assert.equal(refused.code, 2);
  assert.match(refused.stderr, /needs all nodes on one subnet/);
});

test('encryption is refused where the kernel has no WireGuard, and nothing has changed or is left', {
  skip: hasWireguard() && 'this kernel has WireGuard',
}, async () => {
  const refused = await machine.weft('fabric', 'set', 'vxlan', '--encrypt', '--name', name);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /^weft: --encrypt needs WireGuard, which this kernel .*\n$/);
  assert.deepEqual(
    (await fabric()).nodes.map(({ inPlace }) => inPlace),
    ['vxlan', 'vxlan'],
  );
  assert.equal((await machine.weft('up', '--encrypt', '--name', `${name}-e`)).code, 1);
  assert.ok(!listNamedNetns().some((netns) => netns.startsWith(`${name}-e`)));
  assert.deepEqual(readdirSync(machine.state), [name]);
});

test('the change is in place on every node when the command returns, and DNS of another node still answers', async () => {
  await machine.must('fabric', 'set', 'router', '--name', name);
  const { nodes } = await fabric();
  assert.deepEqual(
    nodes.map(({ inPlace, vtep }) => [inPlace, vtep]),
    [
      ['router', undefined],
      ['router', undefined],
    ],
  );
  const found = ['exec', 'worker', '--name', name, '--', 'busybox', 'nslookup', 'kubernetes.default.svc.cluster.local'];
  assert.match(await machine.must('node', ...found, '10.96.0.10'), /10\.96\.0\.1\b/);
});

test('a node joins, is in the fabric, outlives the supervisor, leaves without a trace, and comes back by its name', async () => {
  await machine.must('node', 'add', '--name', name);
  const three = [`${name}-control-plane`, `${name}-worker`, `${name}-worker2`];
  assert.deepEqual(await readyNodes(), three);
  await until('the new node to be in the fabric', async () =>
    (await fabric()).nodes.every(({ inPlace }) => inPlace === 'router') ? true : undefined,
  );
  const { processes } = await machine.status(name);
  process.kill(processes.find((one) => one.name === 'supervisor')?.pid ?? 0, 'SIGKILL');
  await until('another supervisor', async () => ((await machine.status(name)).state === 'ready' ? true : undefined));
  assert.equal((await machine.status(name)).processes.length, 8);
  await machine.must('node', 'remove', 'worker2', '--name', name);
  assert.deepEqual(await readyNodes(), three.slice(0, 2));
  assert.ok(!listNamedNetns().includes(`${name}-worker2`));
  assert.doesNotMatch(await machine.kubectl(name, 'get', 'nodes'), /worker2/);
  await machine.must('node', 'add', '--name', name);
  assert.deepEqual(await readyNodes(), three);
  const refused = await machine.weft('node', 'remove', 'control-plane', '--name', name);
  assert.match(refused.stderr, /runs the API server/);
});

test('an Event tells what somebody else changed and was put right, and no change of the settings looks like one', async () => {
  const repaired = (): Promise<string> =>
    machine.kubectl(name, 'get', 'events', '--field-selector', 'reason=FabricRepaired', '-o', 'jsonpath={..message}');
  for (const kind of ['vxlan', 'router', 'vxlan']) await machine.must('fabric', 'set', kind, '--name', name);
  assert.equal(await repaired(), '');
  const inWorker = ['node', 'exec', 'worker', '--name', name, '--'];
  await machine.must(...inWorker, 'ip', 'route', 'delete', '10.244.0.0/24');
  await until('the Event', async () => ((await repaired()).includes('route 10.244.0.0/24') ? true : undefined));
  await machine.must('fabric', 'set', 'router', '--name', name);
});

test('a link that is cut is seen, and heals', async () => {
  const worker = ['node', 'exec', 'worker', '--name', name, '--', 'busybox', 'ping', '-c', '1', '-W', '1'];
  assert.equal((await machine.weft(...worker, '172.18.0.2')).code, 0);
  assert.match(
    await machine.must('underlay', 'cut', 'worker', 'router', '--name', name),
    /wtf-worker +cut|router +\S+ +cut/,
  );
  assert.notEqual((await machine.weft(...worker, '172.18.0.2')).code, 0);
  assert.match(await machine.must('underlay', 'heal', '--name', name), /Every link is whole/);
  assert.equal((await machine.weft(...worker, '172.18.0.2')).code, 0);
});
