// Asks the DNS of a cluster 10,000 times a second, as a pod does, while the agent of its node is killed, the node's DNS
// pod is deleted, the API server is killed and one of two upstreams dies – by its process, then without a word –, and says
// how many questions were lost: no answer within 2.5 s, or an answer that is a failure.
// Usage: scripts/node bench/dns-losses.ts [RATE [LINE]]   (as root, on a machine that is set up; the cluster `wbloss`)
// LINE is one more for the Corefile, such as 'multisocket 2'. Who asks, the DNS servers and the upstreams run before all else
// on the machine (SCHED_RR): what it does besides is not the question; the rest of the cluster has no such right.
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { listNamedNetns, netnsIdentity, netnsPath } from '../src/linux/netns.ts';
import { Machine, root, until } from '../test/cluster/machine.ts';

const [rate = '10000', line = ''] = process.argv.slice(2);
const cluster = 'wbloss';
const machine = new Machine();
const children: ChildProcess[] = [];
const ends: (() => void)[] = [];
/** Seven of ten questions are for Services, two for names that were asked before, one is for a new one outside. */
const names = [
  ...[
    'kubernetes.default',
    'kube-dns.kube-system',
    'web.default',
    'none.default',
    'db.default',
    'web.default',
    'x.y',
  ].map((name) => `${name}.svc.cluster.local`),
  ...['kept.example', 'too.kept.example', 'new-%.example'],
];
const upstreamPorts = ['5301', '5302'];
/** What is asked last is known to be lost after the patience of the asker. */
const patienceMs = 2600;

interface Asked {
  readonly asked: number;
  readonly lost: number;
  readonly slow: number;
  readonly answers: Readonly<Record<string, number>>;
}

const kubectl = (...args: string[]): Promise<string> => machine.kubectl(cluster, ...args);
const jsonPath = (path: string, ...what: string[]): Promise<string> =>
  kubectl('get', ...what, '-o', `jsonpath={${path}}`);
const inNode = (node: string, ...command: string[]): Promise<string> =>
  machine.must('node', 'exec', node, '--name', cluster, '--', ...command);
const realtime = ['chrt', '--rr', '1'] as const;
const program = (file: string): string[] => [
  ...[...realtime, process.execPath, '--disable-warning=ExperimentalWarning', join(import.meta.dirname, file)],
];

/** Starts a program that says something when it is ready. */
async function started(file: string, args: readonly string[], stdio: 'pipe' | 'ignore'): Promise<ChildProcess> {
  const env = { ...process.env, WEFT_HOME: machine.state };
  const child = spawn(file, args, { stdio: [stdio, 'pipe', 'inherit'], env });
  children.push(child);
  if (child.stdout !== null) await once(child.stdout, 'data');
  return child;
}

const startUpstream = (port: string): Promise<ChildProcess> =>
  started(
    'nsenter',
    [`--net=/run/netns/${cluster}-router`, ...program('dns/upstream.ts'), '172.18.0.1', port],
    'ignore',
  );

const corefile = `.:53 {
  errors
  health {
    lameduck 5s
  }
  ready
  kubernetes cluster.local in-addr.arpa ip6.arpa {
    fallthrough in-addr.arpa ip6.arpa
  }
  autopath @kubernetes
  prometheus :9153
  forward . ${upstreamPorts.map((port) => `172.18.0.1:${port}`).join(' ')}
  cache 30 {
    serve_stale
  }
  loop
  loadbalance
  ${line}
}`;

/** The node of a pod, and the name of the pod's network there. */
async function placeOf(pod: string): Promise<{ node: string; netns: string }> {
  const ip = await jsonPath('.status.podIP', 'pod', pod);
  const node = await jsonPath('.spec.nodeName', 'pod', pod);
  for (const name of (await inNode(node, 'ls', '/run/netns')).split('\n').filter((text) => text.startsWith('cni-'))) {
    const netns = `/run/netns/${name}`;
    if ((await inNode(node, 'nsenter', `--net=${netns}`, 'ip', '-o', 'address')).includes(` ${ip}/`))
      return { node, netns };
  }
  throw new Error(`the network of the pod ${pod} is not found on ${node}`);
}

/** Starts to ask from a pod; what became of it so far is told again and again. */
async function startAsking({ node, netns }: { node: string; netns: string }): Promise<() => Promise<Asked>> {
  const server = await jsonPath('.spec.clusterIP', '-n', 'kube-system', 'service', 'kube-dns');
  const enter = ['node', 'exec', node, '--name', cluster, '--', 'nsenter', `--net=${netns}`];
  const asker = [...program('../test/dns/asker.ts'), server, rate, ...names];
  const child = await started(join(root, 'weft'), [...enter, ...asker], 'pipe');
  if (child.stdout === null) throw new Error('the asker has no output');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return async () => {
    child.stdin?.write('\n');
    for (;;) {
      const { value, done } = await lines.next();
      if (done === true) throw new Error('the asker has ended');
      if (value.startsWith('{')) return JSON.parse(value);
    }
  };
}

/** Kills a process of the cluster and waits until it is there again. */
async function kill(name: string): Promise<void> {
  const find = async () => (await machine.status(cluster)).processes.find((one) => one.name === name)?.pid;
  const before = await find();
  if (before === undefined)
    throw new Error(`no process is called ${name}: ${JSON.stringify((await machine.status(cluster)).processes)}`);
  process.kill(before, 'SIGKILL');
  await until(`${name} again`, async () => {
    const now = await find();
    return now === undefined || now === before ? undefined : now;
  });
}

/** Gives the DNS servers of the nodes the right to run first; new ones get it as soon as they are seen. */
function raiseServers(): void {
  const own = new Set(
    listNamedNetns().flatMap((name) => (name.startsWith(`${cluster}-`) ? netnsIdentity(netnsPath(name)) : [])),
  );
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && !raised.has(name)))
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('/usr/lib/weft/dns.mjs')) continue;
      if (!own.has(netnsIdentity(`/proc/${pid}/ns/net`))) continue;
      // The group of a pod has no share of real time.
      if (existsSync(rootGroup)) writeFileSync(rootGroup, pid);
      execFileSync('chrt', ['--all-tasks', '--rr', '--pid', '1', pid], { stdio: 'ignore' });
      raised.add(pid);
    } catch {
      // It has ended.
    }
}

const raised = new Set<string>();
/** Where cgroups are of the first version. */
const rootGroup = '/sys/fs/cgroup/cpu/cgroup.procs';

async function deleteDnsPod(node: string): Promise<void> {
  const select = ['-n', 'kube-system', 'pod', '-l', 'k8s-app=kube-dns', '--field-selector', `spec.nodeName=${node}`];
  const name = await jsonPath('.items[0].metadata.name', ...select);
  await kubectl('-n', 'kube-system', 'delete', 'pod', name);
  await kubectl('-n', 'kube-system', 'rollout', 'status', 'daemonset/weft-dns', '--timeout=300s');
}

async function prepare(): Promise<{ node: string; netns: string }> {
  await machine.must('up', '--name', cluster, '--nodes', '2', '--offline');
  const patch = JSON.stringify({ data: { Corefile: corefile } });
  await kubectl('-n', 'kube-system', 'patch', 'configmap', 'coredns', '-p', patch);
  await kubectl('run', 'client', '--image=weft.local/busybox:1', '--', 'sleep', '86400');
  for (const name of ['web', 'db']) await kubectl('create', 'service', 'clusterip', name, '--tcp=80');
  await kubectl('wait', '--for=condition=Ready', 'pod/client', '--timeout=60s');
  await until('the Corefile in force', async () =>
    /172\.18\.0\.1:5302.*\n.*:5302/.test(await machine.must('dns', '--name', cluster)) ? true : undefined,
  );
  return placeOf('client');
}

const failures = ({ answers }: Asked): number =>
  Object.entries(answers).reduce((sum, [answer, count]) => sum + (/^code [^03]/.test(answer) ? count : 0), 0);

async function report(what: string, ask: () => Promise<Asked>, work: () => Promise<unknown>): Promise<void> {
  const begun = performance.now();
  const before = await ask();
  await work();
  await delay(patienceMs);
  const after = await ask();
  const seconds = (performance.now() - begun) / 1000;
  const asked = after.asked - before.asked;
  const lost = after.lost - before.lost + failures(after) - failures(before);
  console.log(
    `${what.padEnd(44)}${String(asked).padStart(8)} asked, ${Math.round(asked / seconds)}/s:`,
    `${lost} lost, ${after.slow - before.slow} took more than 100 ms`,
  );
}

async function main(): Promise<void> {
  const place = await prepare();
  const raising = setInterval(raiseServers, 100);
  ends.push(() => clearInterval(raising));
  const [first] = await Promise.all(upstreamPorts.map(startUpstream));
  const ask = await startAsking(place);
  const after = (ms: number, work: () => Promise<unknown>) => async () => {
    await work();
    await delay(ms);
  };
  await delay(2000);
  await report('nothing happens', ask, () => delay(2000));
  await report(
    "the agent of the client's node is killed",
    ask,
    after(3000, () => kill(`${place.node.replace(`${cluster}-`, '')}/agent`)),
  );
  await report(
    "the DNS pod of the client's node is deleted",
    ask,
    after(3000, () => deleteDnsPod(place.node)),
  );
  await report(
    'the API server is killed',
    ask,
    after(3000, () => kill('control-plane')),
  );
  await report(
    'an upstream hangs',
    ask,
    after(5000, async () => first?.kill('SIGSTOP')),
  );
  await report(
    '… and goes on',
    ask,
    after(3000, async () => first?.kill('SIGCONT')),
  );
  await report(
    'an upstream is killed',
    ask,
    after(5000, async () => first?.kill('SIGKILL')),
  );
  console.log(JSON.stringify(await ask()));
}

try {
  await main();
} finally {
  for (const end of ends) end();
  for (const child of children) child.kill('SIGKILL');
  await machine.weft('down', '--name', cluster);
  rmSync(machine.home, { recursive: true, force: true });
}
