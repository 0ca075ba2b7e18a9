// Measures what a Service costs a connection: connections a second and the time until the first answer, through a
// ClusterIP beside straight to the pod, with 10 and with 10,000 Services in the kernel.
// Usage: scripts/node bench/service-path.ts [SECONDS]   (as root; 2 seconds for each figure by default; all of it in
// namespaces of its own: a pod that serves, a pod that asks, and the node between them)
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { netnsPath, sysctl } from '../src/linux/netns.ts';

const seconds = Number(process.argv[2] ?? 2);
/** Taken in turns, so that a busy moment of the machine does not fall on one of them alone. */
const rounds = 5;
const tag = `wb-path-${process.pid}`;
const ns = { node: `${tag}-n`, client: `${tag}-c`, server: `${tag}-s` };
const program = join(import.meta.dirname, 'service-path.pl');
const port = 8080;
const server = '10.0.0.1';
const client = '10.64.0.2';
const clusterIp = '10.191.255.1';

const ip = (line: string): string => execFileSync('ip', line.split(' '), { encoding: 'utf8' });

function attach(pod: string, address: string, gateway: string, link: string): void {
  ip(`-n ${ns.node} link add ${link} type veth peer name eth0 netns ${pod}`);
  ip(`-n ${ns.node} addr add ${gateway}/32 dev ${link}`);
  ip(`-n ${ns.node} link set ${link} up`);
  ip(`-n ${ns.node} route add ${address}/32 dev ${link}`);
  ip(`-n ${pod} addr add ${address}/32 dev eth0`);
  ip(`-n ${pod} link set eth0 up`);
  ip(`-n ${pod} route add ${gateway}/32 dev eth0`);
  ip(`-n ${pod} route add default via ${gateway}`);
}

/** What one client saw in the time: connections a second, and microseconds to the first answer. */
interface Path {
  readonly rate: number;
  readonly p50: number;
  readonly p99: number;
}

async function measure(address: string, to: number): Promise<Path> {
  const argv = ['netns', 'exec', ns.client, 'perl', program, 'ask', address, String(to), String(seconds)];
  const child = spawn('ip', argv, { stdio: ['ignore', 'pipe', 'inherit'] });
  const [rate = 0, p50 = 0, p99 = 0] = (await text(child.stdout)).trim().split(' ').map(Number);
  return { rate, p50, p99 };
}

async function compare(services: number): Promise<void> {
  const load = [
    process.execPath,
    '--disable-warning=ExperimentalWarning',
    join(import.meta.dirname, 'service-path-load.ts'),
  ];
  const target = `${clusterIp} ${server} ${port}`.split(' ');
  execFileSync('ip', ['netns', 'exec', ns.node, ...load, String(services), ...target], { stdio: 'inherit' });
  const seen = { direct: [] as Path[], service: [] as Path[] };
  for (let round = 0; round < rounds; round++) {
    seen.direct.push(await measure(server, port));
    seen.service.push(await measure(clusterIp, 80));
  }
  // Other work on the machine only ever makes a run slower: the best one is taken.
  const figure = (paths: readonly Path[], of: keyof Path): number => {
    const all = paths.map((path) => path[of]);
    return of === 'rate' ? Math.max(...all) : Math.min(...all);
  };
  const row = (what: string, paths: readonly Path[]): string =>
    `  ${what.padEnd(16)} ${figure(paths, 'rate').toFixed(0).padStart(7)} connections/s   first answer p50 ${figure(paths, 'p50').toFixed(0).padStart(5)} µs, p99 ${figure(paths, 'p99').toFixed(0).padStart(5)} µs`;
  const ratio = (of: keyof Path): string => (figure(seen.service, of) / figure(seen.direct, of)).toFixed(2);
  console.log(`${services} Services`);
  console.log(row('pod to pod', seen.direct));
  console.log(row('by ClusterIP', seen.service));
  console.log(`  by ClusterIP ${ratio('rate')}x the connections/s, ${ratio('p50')}x the time to the first answer`);
}

try {
  for (const name of Object.values(ns)) {
    ip(`netns add ${name}`);
    ip(`-n ${name} link set lo up`);
  }
  attach(ns.server, server, '10.64.1.1', 'v-server');
  attach(ns.client, client, '10.64.1.2', 'v-client');
  sysctl(netnsPath(ns.node), 'net.ipv4.ip_forward', '1');
  // Otherwise the ports of the one client are used up within seconds, and so is what the node may translate them to.
  for (const state of ['close', 'time_wait', 'fin_wait', 'close_wait', 'last_ack'])
    sysctl(netnsPath(ns.node), `net.netfilter.nf_conntrack_tcp_timeout_${state}`, '1');
  for (const pod of [ns.client, ns.server]) sysctl(netnsPath(pod), 'net.ipv4.tcp_tw_reuse', '1');
  sysctl(netnsPath(ns.client), 'net.ipv4.ip_local_port_range', '1024 65535');
  const argv = ['netns', 'exec', ns.server, 'perl', program, 'serve', server, String(port)];
  const serving = spawn('ip', argv, { stdio: ['pipe', 'pipe', 'inherit'] });
  await once(serving.stdout, 'data');
  try {
    for (const services of [10, 10_000]) await compare(services);
  } finally {
    serving.stdin.end();
    serving.kill();
    await once(serving, 'exit');
  }
} finally {
  for (const name of Object.values(ns)) execFileSync('ip', ['netns', 'delete', name]);
}
