// A cluster of two nodes in the proxy mode ipvs, encrypted between them; runs in a machine whose kernel has IPVS and
// WireGuard (cluster.test.ts). It is made once: an emulated processor needs most of a minute for it.
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { adminClient } from '../../src/cluster/admin-client.ts';
import { type ClusterLayout, layoutOf } from '../../src/cluster/layout.ts';
import { readSettings } from '../../src/cluster/stored-settings.ts';
import type { Client } from '../../src/k8s/client.ts';
import { daemonSets, pods, services } from '../../src/k8s/resources.ts';
import type { PodSpec } from '../../src/k8s/types.generated.ts';
import { Machine, until } from '../cluster/machine.ts';
import { Sniffer } from '../fabric/sniffer.ts';
import { Line, Requests } from '../proxy/ongoing.ts';

const name = 'wtvm';
const machine = new Machine();
// The layout of the cluster is decided here too.
process.env.WEFT_HOME = machine.state;
/** Seconds: an emulated processor is slow, and has to share a real one. */
const patience = 300;
let layout: ClusterLayout;
let client: Client;
const children: ChildProcess[] = [];
/** A host of the nodes' network that is no node. */
const outside = {
  spawn(netns: string, ...argv: string[]): ChildProcess {
    const child = spawn('ip', ['netns', 'exec', netns, ...argv], { stdio: ['pipe', 'pipe', 'inherit'] });
    children.push(child);
    return child;
  },
};

/** Greets with its name, and says again what it hears. */
const serve = `
cat >/serve <<'END'
#!/bin/sh
echo "$HOSTNAME hello"
while read -r word; do echo "$HOSTNAME $word"; done
END
chmod +x /serve
exec nc -ll -p 8080 -e /serve`;
/** A connection for each request, to the Service by its name. */
const ask = `
until nc -w 5 web 80 </dev/null >/dev/null 2>&1; do sleep 0.2; done
n=0
while sleep 0.2; do
  n=$((n + 1))
  answer=$(nc -w 20 web 80 </dev/null) && [ -n "$answer" ] && echo "$n answered by $answer" || echo "$n failed"
done`;
/** One connection that goes on. */
const hold = `
until nc -w 5 web 80 </dev/null >/dev/null 2>&1; do sleep 0.2; done
n=0
while sleep 0.2; do n=$((n + 1)); echo $n; done | nc -w 20 web 80
sleep 3600`;

const container = (of: string, script: string) => ({
  name: of,
  image: 'weft.local/busybox:1',
  command: ['sh', '-c', script],
});
const podSpec = (...containers: PodSpec['containers']): PodSpec => ({ terminationGracePeriodSeconds: 0, containers });

before(async () => {
  await machine.must('up', '--name', name, '--nodes', '2', '--proxy-mode', 'ipvs', '--encrypt');
  const settings = readSettings(name) ?? assert.fail('the cluster has no settings');
  layout = layoutOf(settings);
  client = adminClient(layout, 'test');
  const metadata = (of: string) => ({ name: of, namespace: 'default' });
  const labels = { app: 'web' };
  await client.create(daemonSets, {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: metadata('web'),
    spec: {
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: podSpec(container('web', serve)) },
    },
  });
  await client.create(services, {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: metadata('web'),
    spec: { type: 'LoadBalancer', selector: labels, ports: [{ port: 80, targetPort: 8080, nodePort: 30_080 }] },
  });
  await until('the servers', async () => (await ready()).length === 2 || undefined, patience);
  await client.create(pods, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: metadata('client'),
    spec: { ...podSpec(container('asks', ask), container('holds', hold)), nodeName: `${name}-worker` },
  });
});
// The cluster goes with its machine.
after(async () => {
  for (const child of children) child.kill('SIGKILL');
  await client?.close();
});

/** The pods of the Service that are ready. */
async function ready(): Promise<string[]> {
  const { items } = await client.list(pods, { namespace: 'default', labelSelector: 'app=web' });
  const isReady = (pod: (typeof items)[number]): boolean =>
    pod.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
  return items.filter(isReady).map((pod) => pod.metadata.name);
}

/** What a container of the client has said by now, line by line. */
function said(of: 'asks' | 'holds'): string[] {
  const logs = join(layout.nodes[1]?.state ?? '', 'pods');
  const folder = readdirSync(logs).find((entry) => entry.startsWith('default_client_'));
  const file = join(logs, folder ?? '', of, '0.log');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : [];
  return lines.map((line) => line.replace(/^\S+ std\S+ F /, ''));
}

/** Waits until a container of the client has said so many lines more. */
async function more(of: 'asks' | 'holds', count: number): Promise<void> {
  const before = said(of).length;
  await until(
    `${count} lines of the container ${of}`,
    async () => said(of).length >= before + count || undefined,
    patience,
  );
}

const failures = (): string[] => said('asks').filter((line) => line.endsWith('failed'));

test('pods reach a Service by its name, and endpoints of both nodes answer', async () => {
  await more('asks', 10);
  await more('holds', 3);
  const servers = await ready();
  const answers = said('asks').join('\n');
  for (const server of servers) assert.match(answers, new RegExp(`answered by ${server} hello$`, 'm'));
  assert.deepEqual(failures(), []);
});

test('between the nodes nothing of what pods say is in clear', async () => {
  const sniffer = await Sniffer.start(layout.underlayNetns);
  await more('asks', 10);
  const { encrypted, clear } = await sniffer.stop();
  assert.deepEqual(clear, []);
  assert.ok(encrypted > 5, `${encrypted} encrypted frames`);
});

test('a NodePort answers on each node, and a load balancer’s address is claimed on the LAN by one node alone', async () => {
  const balanced = await balancer();
  const entrances = [...layout.nodes.map(({ addresses: [own] }) => [own, 30_080] as const), [balanced, 80] as const];
  for (const [address, port] of entrances) {
    const requests = new Requests(outside, layout.routerNetns, address, port, slow);
    await requests.more(4);
    assert.deepEqual(await requests.end(), { answered: 4, failed: 0 }, `${address} port ${port}`);
  }
  const link = layout.segments[0]?.routerInterface ?? '';
  const heard = run('busybox', 'arping', '-b', '-c', '3', '-w', '5', '-I', link, balanced);
  const owners = new Set([...heard.matchAll(/reply from \S+ \[(\S+)\]/g)].map(([, mac]) => mac));
  assert.equal(owners.size, 1, heard);
});

test('weft service shows the Service as it is in IPVS, with its connections', async () => {
  const shown = await machine.must('service', 'web', '--node', 'worker', '--name', name);
  assert.match(shown, /^The kernel has all of this \(\d+\) as it was decided\.$/m);
  assert.match(shown, /on the node wtvm-worker \(ipvs\)/);
  assert.match(shown, /^ClusterIP +\S+ +80\/TCP +to one of 2 endpoints +\d+$/m);
});

test('the mode changes to nftables and back: no request fails, and connections go on', async () => {
  const [balanced, [, worker]] = [await balancer(), layout.nodes];
  const own = worker?.addresses[0] ?? '';
  const clients = [
    new Requests(outside, layout.routerNetns, balanced, 80, slow),
    new Requests(outside, layout.routerNetns, own, 30_080, slow),
  ];
  const line = new Line(outside, layout.routerNetns, own, 30_080);
  await line.say('before');
  for (const mode of ['nftables', 'ipvs']) {
    await machine.must('proxy', 'mode', mode, '--name', name);
    await line.say(mode);
    for (const one of clients) await one.more(5);
    await more('asks', 5);
    await more('holds', 3);
  }
  for (const one of clients) assert.equal((await one.end()).failed, 0);
  assert.deepEqual(failures(), []);
  // Each word came back, from one and the same endpoint.
  const [greeting = '', ...words] = said('holds');
  assert.deepEqual(
    words,
    Array.from(words, (_, index) => greeting.replace('hello', String(index + 1))),
  );
});

/** Seconds between requests: each one costs an emulated processor some of its time. */
const slow = 0.3;

async function balancer(): Promise<string> {
  return until(
    'an address of the load balancer',
    async () => {
      const { status } = await client.get(services, { namespace: 'default', name: 'web' });
      return status?.loadBalancer?.ingress?.[0]?.ip;
    },
    patience,
  );
}

/** Runs a command on the LAN of the nodes. */
function run(...argv: string[]): string {
  return execFileSync('ip', ['netns', 'exec', layout.routerNetns, ...argv], { encoding: 'utf8' });
}
