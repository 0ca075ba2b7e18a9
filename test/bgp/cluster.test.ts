// The bgp fabric of a whole cluster: two families, a router of one's own beside it, what weft bgp says, and kill -9.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { replaceAddress } from '../../src/linux/addresses.ts';
import { changeLink, createVeth, findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { createNamedNetns, deleteNamedNetns, inNetns, netnsPath } from '../../src/linux/netns.ts';
import { asIp, type Mac } from '../../src/net/address.ts';
import { apply, kubeconfig, kubectl, run, weft } from '../e2e/tools.ts';
import { birdIsMissing, eventually, reaches, runIn } from './lab.ts';

const cluster = 'wtbgp';

interface NodeStatus {
  readonly node: string;
  readonly speaker?: {
    sessions: { name: string; neighbor: string; state: string; imported: number; exported: number }[];
  };
}

async function succeed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await weft(...args, '--name', cluster);
  assert.equal(code, 0, `weft ${args.join(' ')}: ${stderr}`);
  return stdout;
}

async function sessions(): Promise<string[]> {
  const { nodes }: { nodes: NodeStatus[] } = JSON.parse(await succeed('bgp', 'status', '-o', 'json'));
  return nodes.flatMap(({ node, speaker }) =>
    (speaker?.sessions ?? []).map(({ name, state, imported, exported }) =>
      [node.replace(`${cluster}-`, ''), name.replace(`${cluster}-`, ''), state, imported, exported].join(' '),
    ),
  );
}

/** The next router at that address is the one that the nodes remember. */
const routerMac = '02:57:00:00:02:00' as Mac;

/** A router on the cluster's LAN at 172.18.0.200, with 203.0.113.1 behind it. */
function startRouter(folder: string): { readonly netns: string } & Disposable {
  const netns = `wt-${cluster}-tor`;
  createNamedNetns(netns);
  using lan = Netlink.open(netnsPath(`${cluster}-underlay`));
  const master = findLink(lan, 'lan')?.index ?? 0;
  // An open descriptor would keep the namespace, and its link, after its end.
  const inside = openSync(netnsPath(netns), 'r');
  createVeth(lan, { name: 'tor', master, up: true }, { name: 'eth0', netns: inside, mac: routerMac });
  closeSync(inside);
  using nl = Netlink.open(netnsPath(netns));
  const link = findLink(nl, 'eth0')?.index ?? 0;
  for (const index of [1, link]) changeLink(nl, index, { up: true });
  replaceAddress(nl, { link, address: asIp('172.18.0.200'), prefix: 16 });
  replaceAddress(nl, { link: 1, address: asIp('203.0.113.1'), prefix: 32 });
  const config = join(folder, 'tor.conf');
  writeFileSync(
    config,
    `router id 172.18.0.200;
    protocol device {}
    protocol kernel { merge paths on; ipv4 { import none; export where source = RTS_BGP; }; }
    protocol static { ipv4; route 203.0.113.0/24 blackhole; }
    protocol bgp any {
      local 172.18.0.200 as 64600;
      neighbor range 172.18.0.0/16 as 64512;
      ipv4 { import all; export where source = RTS_STATIC; };
    }`,
  );
  const bird = inNetns(netnsPath(netns), () =>
    spawn('bird', ['-f', '-c', config, '-s', join(folder, 'tor.ctl')], { stdio: ['ignore', 'ignore', 'inherit'] }),
  );
  return {
    netns,
    [Symbol.dispose]() {
      if (bird.killed) return;
      bird.kill('SIGKILL');
      deleteNamedNetns(netns);
    },
  };
}

/** As MetalLB's documentation has them, but for the namespace. */
const metallb = `
apiVersion: metallb.io/v1beta2
kind: BGPPeer
metadata: { name: tor, namespace: default }
spec: { myASN: 64512, peerASN: 64600, peerAddress: 172.18.0.200 }
---
apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: { name: outside, namespace: default, labels: { of: bgp } }
spec:
  addresses: [198.51.100.0/28]
  serviceAllocation: { serviceSelectors: [{ matchLabels: { app: web } }] }
---
apiVersion: metallb.io/v1beta1
kind: BGPAdvertisement
metadata: { name: outside, namespace: default }
spec: { ipAddressPoolSelectors: [{ matchLabels: { of: bgp } }] }
`;

test('a cluster whose nodes speak BGP, and a router of one’s own', { skip: birdIsMissing }, async (t) => {
  const folder = mkdtempSync('/tmp/wt-bgp-cluster-');
  t.after(async () => {
    await weft('down', '--name', cluster);
    rmSync(folder, { recursive: true, force: true });
  });
  const ranges = ['--pod-cidr', '10.244.0.0/16,fd00:10:244::/56', '--service-cidr', '10.96.0.0/16,fd00:10:96::/112'];
  await succeed('up', '--nodes', '2', '--fabric', 'bgp', '--kubeconfig', kubeconfig, '--offline', ...ranges);
  await eventually('all sessions are there', 10_000, async () => (await sessions()).length === 4);
  assert.deepEqual(await sessions(), [
    'control-plane node:worker Established 1 1',
    'control-plane node:worker:6 Established 1 1',
    'worker node:control-plane Established 1 1',
    'worker node:control-plane:6 Established 1 1',
  ]);

  await t.test('a router is added by one command, learns the ranges, and reaches the pods', async () => {
    using router = startRouter(folder);
    const add = () =>
      succeed('bgp', 'peer', 'add', 'tor', '--address', '172.18.0.200', '--as', '64600', '--accept', '203.0.113.0/24');
    await add();
    const routes = (): string => runIn(router.netns, 'ip', 'route');
    await eventually('the router has both ranges', 15_000, () =>
      ['10.244.0.0/24 via 172.18.0.2', '10.244.1.0/24 via 172.18.0.3'].every((route) => routes().includes(route)),
    );
    await kubectl('run', 'sleeper', '--image=weft.local/busybox:1', '--', 'sleep', '600');
    await kubectl('wait', '--for=condition=Ready', 'pod/sleeper', '--timeout=30s');
    const address = await kubectl('get', 'pod', 'sleeper', '-o', 'jsonpath={.status.podIP}');
    await eventually(`the pod ${address} answers`, 5000, () => reaches(router.netns, address));
    assert.ok((await sessions()).includes('worker peer:tor Established 1 1'));
    const events = (): Promise<string> => kubectl('get', 'events', '-A');
    await eventually('the sessions are told', 5000, async () =>
      /BgpSessionEstablished .*peer:tor/.test(await events()),
    );
    await succeed('bgp', 'peer', 'remove', 'tor');
    await eventually('the router has lost them', 5000, () => !routes().includes('10.244.'));

    assert.doesNotMatch(await events(), /BgpSessionLost .*peer:tor/);
    await add();
    await eventually('the router has both again', 15_000, () => routes().includes('10.244.1.0/24'));
    router[Symbol.dispose]();
    await eventually('the loss is told', 5000, async () => /BgpSessionLost .*peer:tor/.test(await events()));
    await succeed('bgp', 'peer', 'remove', 'tor');
  });

  await t.test('settings with a mistake are told as an Event, and the sessions go on', async () => {
    const before = await sessions();
    const wrong = JSON.stringify({ data: { 'bgp.yaml': 'asNumber: 0' } });
    await run('kubectl', ['-n', 'kube-system', 'patch', 'configmap', 'weft-bgp', '--type=merge', '-p', wrong]);
    await eventually('there is an Event', 5000, async () =>
      (await kubectl('-n', 'kube-system', 'get', 'events')).includes(
        'asNumber: 0: must be a whole number from 1 to 4294967294',
      ),
    );
    assert.deepEqual(await sessions(), before);
    const { code, stderr } = await weft(
      'bgp',
      'peer',
      'add',
      'tor',
      '--name',
      cluster,
      '--address',
      'tor.local',
      '--as',
      '1',
    );
    assert.equal(code, 2);
    assert.match(stderr, /^weft: --address "tor\.local": must be an IP address\n$/);
    await kubectl('-n', 'kube-system', 'delete', 'configmap', 'weft-bgp');
  });

  await t.test('kill -9 of the agent leaves BIRD alone, and the new one takes it over', async () => {
    const birds = async (): Promise<string> => (await run('ip', ['netns', 'pids', `${cluster}-worker`])).stdout;
    const status = JSON.parse(await succeed('status', '-o', 'json'));
    const agent = status.processes.find(({ name }: { name: string }) => name === 'worker/agent')?.pid;
    const before = await sessions();
    process.kill(agent, 'SIGKILL');
    await eventually('a new agent is there', 10_000, async () => {
      const pids = (await birds()).split('\n');
      return !pids.includes(String(agent)) && (await sessions()).length === before.length;
    });
    assert.deepEqual(await sessions(), before);
  });

  await t.test('manifests of MetalLB: a router has ways to a load balancer over the nodes that answer', async () => {
    using router = startRouter(folder);
    await apply(metallb);
    await kubectl('create', 'deployment', 'web', '--image=weft.local/busybox:1', '--', 'sleep', '600');
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=30s');
    await kubectl('expose', 'deployment', 'web', '--port=80', '--type=LoadBalancer');
    const ways = (): string[] => runIn(router.netns, 'ip', 'route', 'show', '198.51.100.0').match(/via \S+/g) ?? [];
    await eventually('both nodes are ways to it', 15_000, () => ways().length === 2);
    const policy = (externalTrafficPolicy: string) =>
      kubectl('patch', 'service', 'web', '-p', JSON.stringify({ spec: { externalTrafficPolicy } }));
    await policy('Local');
    await eventually('the node of the pod is the one way', 2000, () => ways().length === 1);
    await kubectl('scale', 'deployment', 'web', '--replicas=0');
    // It would serve until it has ended.
    await kubectl('delete', 'pod', '-l', 'app=web', '--force', '--grace-period=0');
    await eventually('nobody is left to answer', 2000, () => ways().length === 0);
    assert.match(await kubectl('describe', 'service', 'web'), /nodeAssigned .*with protocol "bgp"/);
    await kubectl('delete', 'service/web', 'deployment/web', 'bgppeer/tor', '--namespace=default');
  });

  await t.test('another fabric takes over, and nothing of BGP is left', async () => {
    await succeed('fabric', 'set', 'host-gw');
    assert.match(await succeed('bgp', 'status'), /No node of 'wtbgp' speaks BGP/);
    assert.equal(runIn(`${cluster}-worker`, 'ip', 'route', 'show', 'proto', 'bird'), '');
  });
});
