// What a runtime may ask for besides an address, and what a pod may not do, shown by packets through the real kernel.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { changeLink, findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import type { Mac } from '../../src/net/address.ts';
import { EchoServer, seenAs } from './echo.ts';
import { type AddResult, addressOf, Lab, type LabNode, runIn } from './lab.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16', 'fd00:10::/48'] });
const servers: EchoServer[] = [];
let node: LabNode;
let far: LabNode;
let outside: ReturnType<Lab['addOutside']>;
let pods = 0;

before(async () => {
  node = lab.addNode(['10.244.1.0/24', 'fd00:10:0:1::/64']);
  far = lab.addNode(['10.244.2.0/24', 'fd00:10:0:2::/64']);
  outside = lab.addOutside('203.0.113.5', 'fd99::5');
  await lab.start();
  servers.push(...(await Promise.all([far, outside].map(({ netns }) => EchoServer.start(netns)))));
});
after(async () => {
  for (const server of servers) server[Symbol.dispose]();
  await lab[Symbol.asyncDispose]();
});

interface Pod {
  readonly id: string;
  readonly netns: string;
  readonly path: string;
  readonly result: AddResult;
}

const errorOf = (output: string): { code: number; msg: string } => JSON.parse(output);
const environment = (command: string, id: string, path: string): Record<string, string> => ({
  CNI_COMMAND: command,
  CNI_CONTAINERID: id,
  CNI_NETNS: path,
  CNI_IFNAME: 'eth0',
});

async function addPod(config: object = {}, env: Record<string, string> = {}): Promise<Pod> {
  const { name, path } = lab.addPod();
  const id = `cap-${++pods}`;
  const { status, output } = await lab.call(node, { ...environment('ADD', id, path), ...env }, config);
  assert.equal(status, 0, output);
  return { id, netns: name, path, result: JSON.parse(output) };
}

async function refusal(config: object, env: Record<string, string> = {}): Promise<{ code: number; msg: string }> {
  const { path } = lab.addPod();
  const { status, output } = await lab.call(node, { ...environment('ADD', `cap-${++pods}`, path), ...env }, config);
  assert.equal(status, 1, output);
  return errorOf(output);
}

const nodeAddress = (family: 4 | 6): string => node.addresses[family === 4 ? 0 : 1] ?? '';

test('a host port leads to the pod, with the client address as it was, until the pod goes', async () => {
  const ports = (containerPort: number) => ({
    runtimeConfig: {
      portMappings: [
        { hostPort: 8080, containerPort, protocol: 'tcp' },
        { hostPort: 8080, containerPort, protocol: 'udp', hostIP: node.addresses[0] },
      ],
    },
  });
  const pod = await addPod(ports(7777));
  using server = await EchoServer.start(pod.netns);
  const from = (netns: string, address: string, protocol?: 'tcp' | 'udp'): string =>
    seenAs(netns, address, protocol, 8080);
  assert.equal(from(far.netns, nodeAddress(4)), far.addresses[0]);
  assert.equal(from(far.netns, nodeAddress(6)), far.addresses[1]);
  assert.equal(from(far.netns, nodeAddress(4), 'udp'), far.addresses[0]);
  assert.throws(() => from(far.netns, nodeAddress(6), 'udp'));
  // From the node itself, also over loopback; and from the pod itself, which must not see its own address.
  assert.equal(from(node.netns, '127.0.0.1'), '10.244.1.1');
  assert.equal(from(node.netns, nodeAddress(4)), node.addresses[0]);
  assert.equal(from(pod.netns, nodeAddress(4)), '10.244.1.1');
  const taken = await refusal(ports(7777));
  assert.deepEqual([taken.code, /8080\/tcp is held by cap-/.test(taken.msg)], [104, true]);
  assert.equal((await lab.delete(node, pod.id, pod.path)).status, 0);
  assert.throws(() => from(far.netns, nodeAddress(4)));
  void server;
});

test('host ports outlive the agent, and a table that someone deleted comes back', async () => {
  const pod = await addPod({
    runtimeConfig: { portMappings: [{ hostPort: 8081, containerPort: 7777, protocol: 'tcp' }] },
  });
  using server = await EchoServer.start(pod.netns);
  await lab.kill(node);
  assert.equal(seenAs(far.netns, nodeAddress(4), 'tcp', 8081), far.addresses[0]);
  await lab.start([node]);
  assert.equal(seenAs(far.netns, nodeAddress(4), 'tcp', 8081), far.addresses[0]);
  runIn(node.netns, 'nft', 'delete', 'table', 'ip', 'weft-cni');
  const listed = (): boolean => runIn(node.netns, 'nft', 'list', 'tables').includes('table ip weft-cni');
  for (const end = performance.now() + 2_000; !listed(); ) assert.ok(performance.now() < end, 'not repaired in 2 s');
  assert.equal(seenAs(far.netns, nodeAddress(4), 'tcp', 8081), far.addresses[0]);
  await lab.delete(node, pod.id, pod.path);
  void server;
});

test('a pod cannot reach what listens on the loopback of its node', async () => {
  const pod = await addPod();
  using server = await EchoServer.start(node.netns);
  runIn(pod.netns, 'ip', 'route', 'add', '127.0.0.2/32', 'via', '10.244.1.1', 'dev', 'eth0', 'table', '7');
  runIn(pod.netns, 'ip', 'rule', 'add', 'pref', '0', 'to', '127.0.0.2', 'table', '7');
  assert.throws(() => seenAs(pod.netns, '127.0.0.2'));
  assert.equal(seenAs(pod.netns, '10.244.1.1'), addressOf(pod.result));
  await lab.delete(node, pod.id, pod.path);
  void server;
});

test('a static address comes from the runtime, from CNI_ARGS or from the annotation of the pod', async () => {
  const annotation = { 'network.weft.dev/ip-addresses': '10.244.1.203, fd00:10:0:1::203' };
  const wishes: [object, Record<string, string>, string][] = [
    [{ runtimeConfig: { ips: ['10.244.1.200/24'] } }, {}, '10.244.1.200'],
    [{ args: { cni: { ips: ['10.244.1.201'] } } }, {}, '10.244.1.201'],
    [{}, { CNI_ARGS: 'IgnoreUnknown=1;IP=10.244.1.202' }, '10.244.1.202'],
    [{ runtimeConfig: { 'io.kubernetes.cri.pod-annotations': annotation } }, {}, '10.244.1.203'],
  ];
  for (const [config, env, expected] of wishes) {
    const pod = await addPod(config, env);
    assert.equal(addressOf(pod.result), expected);
    assert.match(addressOf(pod.result, 6), /^fd00:10:0:1::/);
    const held = await refusal(config, env);
    assert.deepEqual([held.code, held.msg.includes(`${expected} is held by ${pod.id}`)], [101, true]);
    await lab.delete(node, pod.id, pod.path);
    // A static address stands for the same thing: it needs no rest.
    const again = await addPod(config, env);
    assert.equal(addressOf(again.result), expected);
    await lab.delete(node, again.id, again.path);
  }
  const outside = await refusal({ runtimeConfig: { ips: ['10.9.9.9', '10.244.1.1'] } });
  assert.equal(outside.code, 7);
  assert.match(outside.msg, /10\.9\.9\.9.*10\.244\.1\.1/);
});

test('ranges of the runtime bound the addresses, and are refused where they are not of this node', async () => {
  const set = [{ subnet: '10.244.1.0/24', rangeStart: '10.244.1.230', rangeEnd: '10.244.1.230' }];
  const pod = await addPod({ runtimeConfig: { ipRanges: [set] } });
  assert.deepEqual(
    pod.result.ips.map(({ address }) => address),
    ['10.244.1.230/24'],
  );
  assert.equal((await refusal({ runtimeConfig: { ipRanges: [set] } })).code, 101);
  await lab.delete(node, pod.id, pod.path);
  assert.equal((await refusal({ runtimeConfig: { ipRanges: [set] } })).code, 11, 'the address rests');
  const foreign = await refusal({ runtimeConfig: { ipRanges: [[{ subnet: '10.7.0.0/24' }]] } });
  assert.deepEqual([foreign.code, /10\.7\.0\.0\/24/.test(foreign.msg)], [7, true]);
});

test('MAC, names of DNS and aliases are as the runtime wishes', async () => {
  const dns = { servers: ['10.96.0.10'], searches: ['cluster.local'], options: ['ndots:5'] };
  const pod = await addPod({ runtimeConfig: { mac: '02:00:00:00:00:07', dns, aliases: 'db' } }).catch(() => undefined);
  assert.equal(pod, undefined, 'aliases that are no list are refused');
  const { result, netns, id, path } = await addPod({
    runtimeConfig: { mac: '02:00:00:00:00:07', dns, aliases: ['db'] },
  });
  assert.ok(result.interfaces.some(({ mac, sandbox }) => sandbox === path && mac === '02:00:00:00:00:07'));
  assert.match(runIn(netns, 'ip', 'link', 'show', 'eth0'), /02:00:00:00:00:07/);
  assert.deepEqual('dns' in result && result.dns, {
    nameservers: dns.servers,
    search: dns.searches,
    options: dns.options,
  });
  assert.deepEqual(await lab.call(node, environment('CHECK', id, path), { prevResult: result }), {
    status: 0,
    output: '',
  });
  await lab.delete(node, id, path);
});

test('a rate limit holds in both directions, CHECK sees it, and DEL leaves nothing of it', async () => {
  const megabit = 1_000_000;
  const bandwidth = {
    ingressRate: 40 * megabit,
    ingressBurst: megabit,
    egressRate: 20 * megabit,
    egressBurst: megabit,
  };
  const pod = await addPod({ runtimeConfig: { bandwidth } });
  const rate = (from: string, to: string, address: string): number => transfer(from, to, address);
  const received = rate(node.netns, pod.netns, addressOf(pod.result));
  const sent = rate(pod.netns, node.netns, '10.244.1.1');
  assert.ok(received > 25 && received < 45, `received ${received} Mbit/s`);
  assert.ok(sent > 12 && sent < 23, `sent ${sent} Mbit/s`);
  const check = () => lab.call(node, environment('CHECK', pod.id, pod.path), { prevResult: pod.result });
  assert.deepEqual(await check(), { status: 0, output: '' });
  const veth = pod.result.interfaces.find(({ name }) => name.startsWith('veth'))?.name ?? '';
  runIn(node.netns, 'tc', 'qdisc', 'delete', 'dev', veth, 'root');
  assert.match(errorOf((await check()).output).msg, /limit of 40000000 bits per second is missing/);
  await lab.delete(node, pod.id, pod.path);
  assert.doesNotMatch(runIn(node.netns, 'ip', 'link'), /ifb/);
});

/** Megabits per second of a TCP transfer of 2.5 megabytes. */
function transfer(from: string, to: string, address: string): number {
  const size = 2_500_000;
  const source = `use IO::Socket::INET; my $l = IO::Socket::INET->new(LocalAddr => '${address}', Listen => 1, LocalPort => 7788, ReuseAddr => 1) or die;
    if (my $pid = fork) { my $c = $l->accept; my $n = 0; while (my $r = sysread($c, my $b, 65536)) { $n += $r } syswrite($c, "x"); waitpid $pid, 0; exit }
    open(my $ns, '<', $ARGV[0]) or die; syscall(308, fileno($ns), 0x40000000) == 0 or die "setns: $!";
    use Time::HiRes 'time'; my $begin = time; my $s = IO::Socket::INET->new(PeerAddr => '${address}', PeerPort => 7788, Timeout => 3) or die "$!";
    my $left = ${size}; while ($left > 0) { my $w = syswrite($s, 'x' x 50000) or die; $left -= $w } shutdown($s, 1); sysread($s, my $end, 1);
    print ${size} * 8 / (time() - $begin) / 1e6;`;
  const result = inNetns(netnsPath(to), () =>
    spawnSync('perl', ['-e', source, netnsPath(from)], { encoding: 'utf8', timeout: 20_000 }),
  );
  assert.equal(result.status, 0, result.stderr);
  return Number(result.stdout);
}

test('what a pod sends under an address that is not its own is dropped, in IP and in ARP', async () => {
  const [honest, spoofer] = [await addPod(), await addPod()];
  using server = await EchoServer.start(honest.netns);
  const target = addressOf(honest.result);
  const victim = '10.244.1.77';
  const sent = (source: string, protocol: 'tcp' | 'udp' = 'udp'): boolean => {
    try {
      return seenAs(spoofer.netns, target, protocol, 7777, source) === source;
    } catch {
      return false;
    }
  };
  assert.equal(sent(addressOf(spoofer.result)), true);
  // The victim's address as a second one of the spoofer: ARP for it would lead answers there.
  runIn(spoofer.netns, 'ip', 'address', 'add', `${victim}/32`, 'dev', 'eth0');
  assert.equal(sent(victim), false);
  const six = addressOf(honest.result, 6);
  const own = addressOf(spoofer.result, 6);
  assert.equal(seenAs(spoofer.netns, six, 'udp', 7777, own), own);
  runIn(spoofer.netns, 'ip', '-6', 'address', 'add', 'fd00:10:0:1::77/128', 'dev', 'eth0', 'nodad');
  assert.throws(() => seenAs(spoofer.netns, six, 'udp', 7777, 'fd00:10:0:1::77'));
  // The node asks for the victim: nobody may answer.
  assert.throws(() => seenAs(node.netns, victim));
  assert.doesNotMatch(runIn(node.netns, 'ip', 'neighbour', 'show', victim), /lladdr/);
  for (const pod of [honest, spoofer]) await lab.delete(node, pod.id, pod.path);
  void server;
});

test('a pod that takes the MAC of another one gets nothing that is meant for it', async () => {
  const [victim, thief] = [await addPod(), await addPod()];
  using server = await EchoServer.start(victim.netns);
  const mac = victim.result.interfaces.find(({ sandbox }) => sandbox === victim.path)?.mac as Mac;
  using nl = Netlink.open(thief.path);
  changeLink(nl, findLink(nl, 'eth0')?.index ?? 0, { mac });
  // It speaks: a bridge that learns would look for the victim here from now on.
  assert.throws(() => seenAs(thief.netns, '10.244.1.1'));
  assert.equal(seenAs(node.netns, addressOf(victim.result)), '10.244.1.1');
  for (const pod of [victim, thief]) await lab.delete(node, pod.id, pod.path);
  void server;
});

test('packets to outside of the cluster have the address of the node, those inside keep theirs', async () => {
  const pod = await addPod();
  for (const one of [node, far]) {
    runIn(one.netns, 'ip', 'route', 'add', '203.0.113.0/24', 'via', outside.via[0]);
    runIn(one.netns, 'ip', '-6', 'route', 'add', 'fd99::/64', 'via', outside.via[1]);
  }
  assert.equal(seenAs(pod.netns, '203.0.113.5'), node.addresses[0]);
  assert.equal(seenAs(pod.netns, 'fd99::5'), node.addresses[1]);
  assert.equal(seenAs(pod.netns, far.addresses[0] ?? ''), addressOf(pod.result));
  await lab.delete(node, pod.id, pod.path);
});
