// Measures the fabrics: throughput and connections a second from pod to pod over two nodes, as a share of two bare
// namespaces joined by a veth pair; and what one node more costs an agent that knows 1,000 already.
// Usage: scripts/node bench/fabric.ts [SECONDS]   (as root; it makes namespaces of its own; needs perl)
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync } from 'node:fs';
import { birdConfig } from '../src/fabric/bgp/bird-config.ts';
import { decideBgp } from '../src/fabric/bgp/decide.ts';
import { defaultBgpSettings } from '../src/fabric/bgp/settings.ts';
import { inputOf, node } from '../src/fabric/fixtures.ts';
import { FabricKernel } from '../src/fabric/kernel.ts';
import { decideFabric } from '../src/fabric/kinds.ts';
import type { FabricKindName } from '../src/k8s/network-config.ts';
import type { Node } from '../src/k8s/types.generated.ts';
import { replaceAddress } from '../src/linux/addresses.ts';
import { changeLink, createVeth, findLink, listLinks } from '../src/linux/links.ts';
import { Netlink } from '../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, inNetns, netnsPath } from '../src/linux/netns.ts';
import { asCidr, asIp } from '../src/net/address.ts';
import { birdIsMissing } from '../test/bgp/lab.ts';
import { ModelLab } from '../test/fabric/model.ts';

const seconds = Number(process.argv[2] ?? 2);
const run = `wt-fb${process.pid.toString(36)}`;
const made: string[] = [];

function namespace(suffix: string): string {
  const name = `${run}${suffix}`;
  createNamedNetns(name);
  made.push(name);
  return name;
}

const server = `
use IO::Socket::IP; $SIG{CHLD} = 'IGNORE'; $| = 1;
my $sink = IO::Socket::IP->new(LocalHost => '0.0.0.0', LocalPort => 7001, ReuseAddr => 1, Listen => 8, Proto => 'tcp') or die;
my $accept = IO::Socket::IP->new(LocalHost => '0.0.0.0', LocalPort => 7002, ReuseAddr => 1, Listen => 512, Proto => 'tcp') or die;
if (fork) { print "ready\\n"; while (my $c = $sink->accept) { 1 while sysread($c, my $data, 262144); close $c } }
else { while (my $c = $accept->accept) { close $c } }`;

const client = `
use IO::Socket::IP; use Time::HiRes 'time'; my ($host, $seconds) = @ARGV;
my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7001, Proto => 'tcp') or die "$@";
my $data = 'x' x 262144; my ($bytes, $begin) = (0, time); my $end = $begin + $seconds;
while (time < $end) { $bytes += syswrite($s, $data) } my $gbit = $bytes * 8e-9 / (time - $begin); close $s;
my $count = 0; $begin = time; $end = $begin + $seconds;
while (time < $end) { my $c = IO::Socket::IP->new(PeerHost => $host, PeerPort => 7002, Proto => 'tcp') or next; sysread($c, my $x, 1); close $c; $count++ }
printf "%f %f\\n", $gbit, $count / (time - $begin);`;

interface Speed {
  readonly gbit: number;
  readonly connections: number;
}

/** The better one of two rounds: what else runs on the machine only slows. */
async function measure(from: string, to: string, host: string): Promise<Speed> {
  const [one, two] = [await measureOnce(from, to, host), await measureOnce(from, to, host)];
  return { gbit: Math.max(one.gbit, two.gbit), connections: Math.max(one.connections, two.connections) };
}

async function measureOnce(from: string, to: string, host: string): Promise<Speed> {
  const perl = (netns: string, ...args: string[]) =>
    inNetns(netnsPath(netns), () =>
      spawn('perl', ['-e', ...args], { stdio: ['ignore', 'pipe', 'inherit'], detached: true }),
    );
  const serving = perl(to, server);
  try {
    await once(serving.stdout, 'data');
    const asking = perl(from, client, host, String(seconds));
    const [output] = await once(asking.stdout, 'data');
    const [gbit = Number.NaN, connections = Number.NaN] = String(output).split(' ').map(Number);
    return { gbit, connections };
  } finally {
    // The server and its child are a process group of their own.
    if (serving.pid !== undefined) process.kill(-serving.pid, 'SIGKILL');
  }
}

async function bare(): Promise<Speed> {
  const [a, b] = [namespace('a'), namespace('b')];
  using inside = Netlink.open(netnsPath(a));
  createVeth(inside, { name: 'eth0', up: true }, { name: 'eth0', netns: openSync(netnsPath(b), 'r') });
  for (const [netns, address] of [
    [a, '192.0.2.1'],
    [b, '192.0.2.2'],
  ] as const) {
    using nl = Netlink.open(netnsPath(netns));
    const link = findLink(nl, 'eth0')?.index ?? 0;
    changeLink(nl, link, { up: true });
    replaceAddress(nl, { link, address: asIp(address), prefix: 24 });
  }
  return measure(a, b, '192.0.2.2');
}

const cell = (text: string): string => text.padStart(15);
const percent = (value: number, of: number): string => `${Math.round((value / of) * 100)} %`;

async function speeds(): Promise<void> {
  const base = await bare();
  console.log(`${'pod to pod, TCP'.padEnd(24)}${['Gbit/s', 'of bare', 'connections/s', 'of bare'].map(cell).join('')}`);
  const row = (what: string, { gbit, connections }: Speed): void =>
    console.log(
      what.padEnd(24) +
        [gbit.toFixed(1), percent(gbit, base.gbit), connections.toFixed(0), percent(connections, base.connections)]
          .map(cell)
          .join(''),
    );
  row('two bare namespaces', base);
  for (const fabric of ['host-gw', 'router', 'vxlan', 'bgp'] as const) {
    if (fabric === 'bgp' && birdIsMissing) {
      console.log(birdIsMissing);
      continue;
    }
    await using lab = new ModelLab(1, fabric);
    await lab.start();
    const [from, to] = lab.pods;
    if (from === undefined || to === undefined) throw new Error('the lab has no pods');
    row(fabric, await measure(from.netns, to.netns, to.addresses[0] ?? ''));
  }
}

/** The work of an agent when one node joins: what it takes in ms, and in how many requests to the kernel. */
function joinCost(fabric: FabricKindName, count: number): { readonly ms: number; readonly requests: number } {
  const netns = namespace(`${fabric[0]}${count}`);
  using nl = Netlink.open(netnsPath(netns));
  createVeth(nl, { name: 'eth0', up: true }, { name: 'other', netns: openSync(netnsPath(netns), 'r') });
  for (const name of ['eth0', 'other']) changeLink(nl, findLink(nl, name)?.index ?? 0, { up: true });
  replaceAddress(nl, { link: findLink(nl, 'eth0')?.index ?? 0, address: asIp('172.18.0.2'), prefix: 16 });
  const kernel = new FabricKernel(nl, netnsPath(netns));
  kernel.read(listLinks(nl));
  const objects: Node[] = [node('a', ['10.244.0.0/24'], ['172.18.0.2'])];
  const join = (number: number): void => {
    const address = `172.18.${4 + (number >> 8)}.${number & 255}`;
    const range = `10.${64 + (number >> 8)}.${number & 255}.0/24`;
    objects.push(node(`n${number}`, [range], [address], { vtep: address }));
  };
  const pass = (): void => {
    const { failed } = kernel.write(decideFabric(inputOf(objects, { fabric }, ['172.18.0.2/16'], 'a', [])), {
      prune: true,
    });
    if (failed.length > 0) throw new Error(failed[0]?.reason);
  };
  for (let number = 1; number <= count; number++) join(number);
  pass();
  const times: number[] = [];
  let requests = 0;
  const request = nl.request.bind(nl);
  nl.request = (message) => {
    requests++;
    request(message);
  };
  for (let more = 1; more <= 9; more++) {
    join(count + more);
    const begin = performance.now();
    pass();
    times.push(performance.now() - begin);
  }
  return { ms: times.sort((a, b) => a - b)[4] ?? Number.NaN, requests: requests / 9 };
}

/**
 * What BGP costs an agent when one node joins a full mesh, in ms: the decision and BIRD's configuration (BIRD itself
 * writes the routes).
 */
function joinCostOfBgp(count: number): number {
  const objects: Node[] = [node('a', ['10.244.0.0/24'], ['172.18.0.2'])];
  const join = (number: number): void => {
    const range = `10.${64 + (number >> 8)}.${number & 255}.0/24`;
    objects.push(node(`n${number}`, [range], [`172.18.${4 + (number >> 8)}.${number & 255}`]));
  };
  const pass = (): void => {
    const input = inputOf(objects, { fabric: 'bgp' }, ['172.18.0.2/16'], 'a', []);
    const clusterCidrs = [asCidr('10.64.0.0/10'), asCidr('10.244.0.0/16')];
    const { plan } = decideBgp({ ...input, clusterCidrs, settings: defaultBgpSettings, passwords: new Map() });
    if (plan === undefined) throw new Error('there is no plan for BGP');
    birdConfig(plan, { logFile: '/run/weft/bird/bird.log' });
  };
  for (let number = 1; number <= count; number++) join(number);
  pass();
  const times = Array.from({ length: 9 }, (_, more) => {
    join(count + 1 + more);
    const begin = performance.now();
    pass();
    return performance.now() - begin;
  });
  return times.sort((a, b) => a - b)[4] ?? Number.NaN;
}

try {
  await speeds();
  console.log(
    `\n${'one node more'.padEnd(24)}${['among 10', 'requests', 'among 1,000', 'requests'].map(cell).join('')}   goal 20 ms`,
  );
  for (const fabric of ['host-gw', 'vxlan'] as const) {
    const [few, many] = [joinCost(fabric, 10), joinCost(fabric, 1_000)];
    console.log(
      fabric.padEnd(24) +
        [`${few.ms.toFixed(2)} ms`, String(few.requests), `${many.ms.toFixed(2)} ms`, String(many.requests)]
          .map(cell)
          .join(''),
    );
  }
  const cells = [10, 1_000].flatMap((count) => [`${joinCostOfBgp(count).toFixed(2)} ms`, "BIRD's"]);
  console.log('bgp, full mesh'.padEnd(24) + cells.map(cell).join(''));
} finally {
  for (const name of made) deleteNamedNetns(name);
}
process.exit(0);
