// The pods of the tests of families: asking their web servers, and programs of the machine run in a pod's network.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { inNode, kubectl, run } from './tools.ts';

export interface TestPod {
  readonly name: string;
  readonly uid: string;
  readonly node: string;
  readonly ips: readonly string[];
  readonly hostIps: readonly string[];
}

interface Listed {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly uid: string };
    readonly spec: { readonly nodeName: string };
    readonly status: { readonly podIPs: readonly { ip: string }[]; readonly hostIPs: readonly { ip: string }[] };
  }[];
}

/** The pods with that label `app`. */
export async function readPods(app: string): Promise<TestPod[]> {
  const list = JSON.parse(await kubectl('get', 'pods', '-l', `app=${app}`, '-o', 'json')) as Listed;
  return list.items.map(({ metadata, spec, status }) => ({
    name: metadata.name,
    uid: metadata.uid,
    node: spec.nodeName,
    ips: status.podIPs.map(({ ip }) => ip),
    hostIps: status.hostIPs.map(({ ip }) => ip),
  }));
}

export const hasIpv6 = existsSync('/proc/sys/net/ipv6');

/** The host's own addresses by which it reaches itself. */
export const hostLoopbacks = (): string[] =>
  (networkInterfaces().lo ?? []).map(({ address }) => address).filter((ip) => ip === '127.0.0.1' || ip === '::1');

/** Where an echo server tells by which address it was asked. */
export const url = (address: string, port: number): string =>
  `http://${address.includes(':') ? `[${address}]` : address}:${port}/cgi-bin/peer`;

export interface Answer {
  /** The address that asked. */
  readonly peer: string;
  /** The host name of the server. */
  readonly server: string;
}

/** busybox prints IPv6 addresses in brackets, and IPv4 ones as mapped into IPv6. */
function readAnswer(line: string): Answer {
  const [peer = '', server = ''] = line.split(' ');
  return { peer: peer.replace(/^\[|\]$/g, '').replace(/^::ffff:(?=[\d.]+$)/, ''), server };
}

const asking = (urls: readonly string[]): string =>
  `for url in ${urls.map((one) => `'${one}'`).join(' ')}; do busybox wget -qO- "$url" || echo; done`;
const answers = (output: string): Answer[] => output.split('\n').slice(0, -1).map(readAnswer);

/** Asks each URL from inside of a pod and returns the answers in that order; what gave none is empty. */
export const askFromPod = async (pod: string, urls: readonly string[]): Promise<Answer[]> =>
  answers(await kubectl('exec', pod, '--', 'sh', '-c', asking(urls)));

/** As {@link askFromPod}, from a node. */
export const askFromNode = async (cluster: string, node: string, urls: readonly string[]): Promise<Answer[]> =>
  answers(await inNode(cluster, node, 'sh', '-c', asking(urls)));

/** The InternalIPs of a node, the main family's first. */
export const nodeAddresses = async (node: string): Promise<string[]> => {
  const path = 'jsonpath={.status.addresses[?(@.type=="InternalIP")].address}';
  return (await kubectl('get', 'node', node, '-o', path)).split(' ');
};

/** The network namespace of a pod: that of one of the processes in its cgroup. */
function netnsOf(pod: TestPod): string {
  const own = readlinkSync('/proc/self/ns/net');
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const netns = `/proc/${pid}/ns/net`;
    try {
      if (readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(pod.uid) && readlinkSync(netns) !== own) return netns;
    } catch {
      // It has ended since the folder was read.
    }
  }
  throw new Error(`no process of ${pod.name} is there`);
}

const program = join(import.meta.dirname, 'datagram.pl');
const inPod = (pod: TestPod, ...args: readonly string[]): string[] => [
  `--net=${netnsOf(pod)}`,
  'perl',
  program,
  ...args,
];

export interface DatagramServer {
  /** `PEER-ADDRESS LENGTH LENGTH-OF-THE-ANSWER`, or `timeout`. */
  ask(from: TestPod, address: string, length: number): Promise<string>;
  stop(): Promise<void>;
}

/** Answers datagrams in a pod's network until it is stopped. */
export async function startDatagramServer(pod: TestPod, port: number): Promise<DatagramServer> {
  const server = spawn('nsenter', inPod(pod, 'serve', String(port)), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(server.stdout, 'data');
  return {
    async ask(from, address, length) {
      const { stdout, stderr } = await run('nsenter', inPod(from, 'ask', address, String(port), String(length)));
      return stdout.trim() || stderr;
    },
    async stop() {
      server.kill();
      await once(server, 'exit');
    },
  };
}
