// Measures the memory of a whole agent (kubelet, CNI, fabric, proxy, load balancers) on a node of an embedded cluster that
// has thousands of Services: idle before them, with them, and started anew.
// Usage: scripts/node bench/agent-memory.ts [SERVICES] [ENDPOINTS]   (as root, on a machine that is set up; 10,000 x 50 by
// default; it makes the cluster `bench-memory`)
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Client } from '../src/k8s/client.ts';
import { fromKubeconfig } from '../src/k8s/connect.ts';
import { endpointSlices, namespaces, services } from '../src/k8s/resources.ts';
import { netnsPath } from '../src/linux/netns.ts';
import { elementKey, type SetDefinition } from '../src/linux/nft.ts';
import { getElements } from '../src/linux/nft-get.ts';
import { readOutline } from '../src/linux/nft-outline.ts';
import { asIp } from '../src/net/address.ts';
import { benchNode, benchService, benchSlices } from './proxy-objects.ts';

const [count = 10_000, endpoints = 50] = process.argv.slice(2).map(Number);
const name = 'bench-memory';
const root = join(import.meta.dirname, '..');
const home = mkdtempSync(join(tmpdir(), 'weft-bench-'));
const atOnce = 16;
const settleMs = 15_000;
const env = { ...process.env, WEFT_HOME: join(home, 'state'), KUBECONFIG: join(home, 'kubeconfig'), WEFT_OFFLINE: '1' };

const run = promisify(execFile);
const weft = async (...args: string[]): Promise<void> => void (await run(join(root, 'weft'), args, { env }));
const netns = netnsPath(`${name}-control-plane`);
const table = { family: 'ip', name: 'weft-proxy' } as const;

/** The agent's process: the one whose program is the agent's and whose state is this cluster's. */
function agentId(): number | undefined {
  for (const entry of readdirSync('/proc').filter((one) => /^\d+$/.test(one))) {
    try {
      const argv = readFileSync(`/proc/${entry}/cmdline`, 'utf8').split('\0');
      if (argv.some((part) => part.endsWith('/agent.mjs')) && argv.some((part) => part.startsWith(home)))
        return Number(entry);
    } catch {
      // It has ended meanwhile.
    }
  }
  return undefined;
}

/** A line of /proc/PID/status in MB: VmRSS, VmHWM. */
function megabytes(id: number, field: string): number {
  const status = readFileSync(`/proc/${id}/status`, 'utf8');
  return Math.round(Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(status)?.[1] ?? 0) / 1024);
}

async function until(isTrue: () => boolean): Promise<void> {
  while (!isTrue()) await sleep(250);
}

/** A Service and its slices, which no controller takes for its own. */
async function create(client: Client, index: number): Promise<void> {
  const { metadata, spec, ...service } = benchService(index);
  const { selector: _, ...rest } = spec ?? {};
  await client.create(services, { ...service, metadata: { name: metadata.name, namespace: 'bench' }, spec: rest });
  for (const { metadata, ...slice } of benchSlices(index, endpoints)) {
    const labels = { ...metadata.labels, 'endpointslice.kubernetes.io/managed-by': 'bench' };
    await client.create(endpointSlices, { ...slice, metadata: { name: metadata.name, namespace: 'bench', labels } });
  }
}

async function fill(): Promise<void> {
  const client = await fromKubeconfig(join(home, 'kubeconfig'));
  await client.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'bench' }, spec: {} });
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) await create(client, next++);
  };
  await Promise.all(Array.from({ length: atOnce }, work));
  await client.close();
}

const addresses: SetDefinition = {
  name: 'cluster-ips',
  key: [{ kind: 'payload', header: 'ip', field: 'daddr' }],
};
const lastAddress = benchService(count - 1).spec?.clusterIP ?? '';
const isThere = (): boolean => getElements(netns, table, addresses, [elementKey(asIp(lastAddress))])[0] !== undefined;

try {
  const serviceCidr = benchNode.serviceCidrs[0];
  await weft('up', '--name', name, '--nodes', '1', '--service-cidr', serviceCidr);
  await sleep(settleMs);
  const first = agentId() ?? 0;
  console.log(`the agent of an idle cluster: ${megabytes(first, 'VmRSS')} MB`);
  await fill();
  await until(isThere);
  await sleep(settleMs);
  console.log(
    `with ${count} Services x ${endpoints} endpoints that came one by one: ${megabytes(first, 'VmRSS')} MB, at most ${megabytes(first, 'VmHWM')} MB`,
  );
  const outline = readOutline(table, netns);
  process.kill(first, 'SIGTERM');
  const begin = performance.now();
  await until(() => agentId() !== undefined && agentId() !== first);
  const second = agentId() ?? 0;
  // It makes its tables anew: their rules have other numbers then.
  await until(() => readOutline(table, netns)?.fingerprint !== outline?.fingerprint);
  console.log(`started anew: its rules are in the kernel after ${((performance.now() - begin) / 1000).toFixed(1)} s`);
  await sleep(settleMs);
  console.log(`  ${megabytes(second, 'VmRSS')} MB, at most ${megabytes(second, 'VmHWM')} MB`);
} finally {
  await weft('down', '--name', name).catch(() => {});
  rmSync(home, { recursive: true, force: true });
}
