// The pods of the dual-stack tests, and programs of the machine run in a pod's network.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { kubectl, run } from './tools.ts';

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
