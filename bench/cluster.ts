// Measures an embedded cluster: time of `up`, start of a pod, reachability of its Service, memory and CPU when idle.
// Usage: scripts/node bench/cluster.ts [ROUNDS]   (as root, on a machine that is set up; it makes the cluster `bench`)
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromKubeconfig } from '../src/k8s/connect.ts';
import { pods, services } from '../src/k8s/resources.ts';
import type { Pod, Service } from '../src/k8s/types.generated.ts';

const rounds = Number(process.argv[2] ?? 5);
const idleSeconds = 30;
const root = join(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'weft-bench-'));
const name = 'bench';
const ticksPerSecond = 100;

async function weft(...args: string[]): Promise<void> {
  const env = {
    ...process.env,
    WEFT_HOME: join(home, 'state'),
    KUBECONFIG: join(home, 'kubeconfig'),
    WEFT_OFFLINE: '1',
  };
  await new Promise<void>((resolve, reject) => {
    execFile(join(root, 'weft'), args, { env }, (error, _, stderr) =>
      error === null ? resolve() : reject(new Error(stderr)),
    );
  });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const begin = performance.now();
  await work();
  return performance.now() - begin;
}

const median = (values: readonly number[]): number =>
  [...values].sort((a, b) => a - b)[values.length >> 1] ?? Number.NaN;
const line = (what: string, value: string, goal: string): void =>
  console.log(`${what.padEnd(46)} ${value.padStart(12)}   ${goal}`);

/** The pod of a round, and the Service in front of it. */
function objects(round: number): { pod: Pod; service: Service } {
  const label = { app: `bench-${round}` };
  const metadata = { name: `bench-${round}`, namespace: 'default' };
  return {
    pod: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { ...metadata, labels: label },
      spec: {
        containers: [
          {
            name: 'web',
            image: 'weft.local/busybox:1',
            command: ['sh', '-c', 'echo hello > /index.html; exec httpd -f -p 80 -h /'],
            readinessProbe: { tcpSocket: { port: 80 }, periodSeconds: 1 },
          },
        ],
        terminationGracePeriodSeconds: 0,
      },
    },
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { type: 'NodePort', selector: label, ports: [{ port: 80, nodePort: 31000 + round }] },
    },
  };
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const sent = request({ host: '127.0.0.1', port, agent: false, timeout: 1000 }, (response) => {
      response.resume();
      resolve(response.statusCode === 200);
    });
    sent.on('timeout', () => sent.destroy());
    sent.on('error', () => resolve(false));
    sent.end();
  });
}

interface PodTimes {
  readonly running: number;
  readonly serviceAfterReady: number;
}

async function podRound(round: number): Promise<PodTimes> {
  const client = await fromKubeconfig(join(home, 'kubeconfig'));
  try {
    const { pod, service } = objects(round);
    await client.create(services, service);
    const cache = client.cache(pods, { namespace: 'default' });
    await cache.synced;
    const begin = performance.now();
    let running = Number.NaN;
    const ready = new Promise<number>((resolve) => {
      cache.subscribe((change) => {
        if (change.type === 'deleted' || change.object.metadata.name !== pod.metadata.name) return;
        const { status } = change.object;
        if (status?.phase === 'Running' && Number.isNaN(running)) running = performance.now() - begin;
        if (status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True'))
          resolve(performance.now());
      });
    });
    await client.create(pods, pod);
    const readyAt = await ready;
    while (!(await answers(31000 + round))) await sleep(2);
    const serviceAfterReady = performance.now() - readyAt;
    await client.delete(pods, { name: pod.metadata.name ?? '', namespace: 'default' });
    return { running, serviceAfterReady };
  } finally {
    await client.close();
  }
}

interface Use {
  readonly pssMb: number;
  readonly rssMb: number;
  readonly cpuSeconds: number;
  readonly count: number;
}

/** What all processes of the cluster use, by the cgroup that they are in. */
function use(): Use {
  let [pss, rss, ticks, count] = [0, 0, 0, 0];
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    try {
      if (!readFileSync(`/proc/${pid}/cgroup`, 'utf8').includes(`/weft/${name}/`)) continue;
      const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
      pss += Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
      rss += Number(/^Rss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      ticks += Number(fields[11]) + Number(fields[12]);
      count++;
    } catch {
      // It has ended meanwhile.
    }
  }
  return { pssMb: pss / 1024, rssMb: rss / 1024, cpuSeconds: ticks / ticksPerSecond, count };
}

try {
  await weft('up', '--name', name);
  await weft('down', '--name', name);
  const ups: number[] = [];
  for (let round = 0; round < rounds; round++) {
    if (round > 0) await weft('down', '--name', name);
    ups.push(await timed(() => weft('up', '--name', name)));
  }
  line(`up: 3 nodes Ready and DNS answering, p50 of ${rounds}`, `${(median(ups) / 1000).toFixed(2)} s`, 'goal 5 s');
  // The first pods of each node pull the image.
  for (let round = 0; round < 6; round++) await podRound(round);
  const times: PodTimes[] = [];
  for (let round = 6; round < 6 + rounds * 2; round++) times.push(await podRound(round));
  line(
    'pod: create to Running, image present, p50',
    `${Math.round(median(times.map((one) => one.running)))} ms`,
    'goal 700 ms',
  );
  line(
    'Service: reachable on its NodePort after Ready, p50',
    `${Math.round(median(times.map((one) => one.serviceAfterReady)))} ms`,
    'goal 300 ms',
  );
  await sleep(idleSeconds * 1000);
  const before = use();
  await sleep(idleSeconds * 1000);
  const after = use();
  const cpu = ((after.cpuSeconds - before.cpuSeconds) / idleSeconds) * 100;
  line(`idle memory of ${after.count} processes, PSS`, `${Math.round(after.pssMb)} MB`, 'goal 700 MB');
  line('idle memory, sum of RSS (shared pages counted twice)', `${Math.round(after.rssMb)} MB`, '');
  line('idle CPU', `${cpu.toFixed(1)} %`, 'goal 5 % of one core');
} finally {
  await weft('down', '--name', name);
  rmSync(home, { recursive: true, force: true });
}
