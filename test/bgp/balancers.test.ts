// Load balancers' addresses told to routers outside: what each node is to tell is in its NodeBGPAnnouncement.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { type NodeBGPAnnouncement, nodeBgpAnnouncements } from '../../src/k8s/load-balancer.ts';
import { secrets } from '../../src/k8s/resources.ts';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import { BgpLab, birdIsMissing, eventually, type LabNode, runIn } from './lab.ts';

const vip = '172.18.250.1';

/** BIRD as the router: what it learns goes into its kernel, ways of equal cost together. Its end ends the process. */
async function startRouter(
  lab: BgpLab,
  router: string,
  password: string,
  more = '',
): Promise<AsyncDisposable & { ask(what: string): string }> {
  const dir = join(lab.root, 'router');
  mkdirSync(dir);
  const sessions = lab.nodes.flatMap(({ number }) =>
    [
      ['4', `172.18.0.200`, `172.18.0.${number}`],
      ['6', `fd18::200`, `fd18::${number}`],
    ].map(
      ([family, local, neighbor]) => `
protocol bgp n${number}v${family} {
  local ${local} as 64600; neighbor ${neighbor} as 65001; password "${password}";
  connect delay time 1; connect retry time 1; error wait time 1, 2; hold time 90; ${more}
  ipv${family} { import all; export none; };
}`,
    ),
  );
  writeFileSync(
    join(dir, 'bird.conf'),
    `router id 172.18.0.200;
protocol device {}
${more === '' ? '' : 'protocol bfd {}'}
protocol kernel { merge paths on; ipv4 { export all; }; }
protocol kernel { merge paths on; ipv6 { export all; }; }
${sessions.join('\n')}\n`,
  );
  const child = inNetns(netnsPath(router), () =>
    spawn('bird', ['-f', '-c', join(dir, 'bird.conf'), '-s', join(dir, 'bird.ctl'), '-P', join(dir, 'bird.pid')], {
      stdio: 'ignore',
    }),
  );
  return {
    ask: (what) => runIn(router, 'birdc', '-s', join(dir, 'bird.ctl'), ...what.split(' ')),
    async [Symbol.asyncDispose]() {
      const end = once(child, 'exit');
      child.kill('SIGKILL');
      await end;
    },
  };
}

function announcement(node: LabNode, spec: NodeBGPAnnouncement['spec']): NodeBGPAnnouncement {
  return {
    apiVersion: 'network.weft.dev/v1alpha1',
    kind: 'NodeBGPAnnouncement',
    metadata: { name: node.name },
    spec,
  };
}

test('a router has a way to an address over each node that tells it, with its attributes; one that is taken back is gone within 2 s', {
  skip: birdIsMissing,
}, async () => {
  await using lab = new BgpLab();
  lab.addNode();
  lab.addNode();
  const router = lab.addRouter(200);
  const passwordSecret = { namespace: 'metallb-system', name: 'tor' };
  await lab.client.create(secrets, {
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: passwordSecret,
    data: { password: Buffer.from('of the tor').toString('base64') },
  });
  await using bird = await startRouter(lab, router, 'of the tor');
  const common = { asNumber: 64600, localAsNumber: 65001, passwordSecret };
  const peers = [
    { ...common, name: 'metallb-system/tor', address: '172.18.0.200' },
    { ...common, name: 'metallb-system/tor6', address: 'fd18::200' },
  ];
  const route = { prefix: `${vip}/32`, services: ['default/web'], communities: ['65000:1', 'large:65000:1:2'] };
  const route6 = { prefix: 'fd18::fa00:1/128', services: ['default/web'], peers: ['metallb-system/tor6'] };
  const spec = { peers, routes: [route, route6] };
  for (const node of lab.nodes) await lab.client.create(nodeBgpAnnouncements, announcement(node, spec));
  await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));

  const nextHops = (address: string, ...family: string[]): string[] =>
    runIn(router, 'ip', ...family, 'route', 'show', address)
      .match(/via \S+/g)
      ?.sort() ?? [];
  await eventually('both nodes are ways to it', 15_000, () => nextHops(vip).length === 2);
  assert.deepEqual(nextHops(vip), ['via 172.18.0.2', 'via 172.18.0.3']);
  await eventually('of IPv6 too', 15_000, () => nextHops('fd18::fa00:1', '-6').length === 2);
  const shown = bird.ask(`show route for ${vip} all`);
  assert.match(shown, /BGP\.community: \(65000,1\)/);
  assert.match(shown, /BGP\.large_community: \(65000, 1, 2\)/);
  assert.doesNotMatch(bird.ask('show route'), /10\.244\./, 'what these routers are told are load balancers alone');
  for (const node of lab.nodes) {
    assert.doesNotMatch(
      runIn(node.netns, 'ip', 'route', 'show', 'table', 'all'),
      /172\.18\.250\.1/,
      'not in the kernel',
    );
    assert.match(runIn(node.netns, 'ip', 'route'), /10\.244\./, 'the ways between the nodes are as before');
  }

  const [first] = lab.nodes;
  assert.ok(first);
  const stored = await lab.client.get(nodeBgpAnnouncements, { name: first.name });
  await lab.client.update(nodeBgpAnnouncements, { ...stored, spec: { peers, routes: [route6] } });
  const ms = await eventually('it is taken back', 5000, () => String(nextHops(vip)) === 'via 172.18.0.3');
  assert.ok(ms < 2000, `${ms} ms`);
  assert.equal(nextHops('fd18::fa00:1', '-6').length, 2, 'the other route stays');

  // An agent that starts anew does not let go of what BIRD tells.
  await lab.stop(first, { remove: false });
  const sessions = (): string => bird.ask('show protocols').match(/n2v4.*/)?.[0] ?? '';
  const before = sessions();
  await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));
  assert.equal(sessions(), before);
});

test('by BFD a router and a node notice within 2 s that the way between them is gone, long before the hold time', {
  skip: birdIsMissing,
}, async () => {
  await using lab = new BgpLab();
  lab.addNode();
  lab.addNode();
  const router = lab.addRouter(200);
  await using bird = await startRouter(lab, router, 'of the tor', 'graceful restart on; bfd on;');
  const bfd = { receiveInterval: 100, transmitInterval: 100, detectMultiplier: 5 };
  const tor = { name: 'metallb-system/tor', address: '172.18.0.200', asNumber: 64600, localAsNumber: 65001 };
  const spec = {
    peers: [{ ...tor, password: 'of the tor', holdTime: 90, bfd }],
    routes: [{ prefix: `${vip}/32`, services: ['default/web'] }],
  };
  for (const node of lab.nodes) await lab.client.create(nodeBgpAnnouncements, announcement(node, spec));
  await eventually('the nodes reach each other', 15_000, async () => (await lab.follow()).every(Boolean));
  const ways = (): string[] => runIn(router, 'ip', 'route', 'show', vip).match(/via \S+/g) ?? [];
  await eventually('both nodes are ways to it', 15_000, () => ways().length === 2);
  await eventually('BFD is up', 15_000, () => (bird.ask('show bfd sessions').match(/ Up /g) ?? []).length === 2);

  const [first] = lab.nodes;
  assert.ok(first);
  const session = (): string =>
    runIn(first.netns, 'birdc', '-s', join(first.runDir, 'bird.ctl'), 'show', 'protocols').match(/lb:.*/)?.[0] ?? '';
  assert.match(session(), /Established/);
  // Nothing of the session comes or goes any more, and no link is seen to be down.
  runIn(first.netns, 'nft', 'add table ip cut; add chain ip cut in { type filter hook input priority -400; }');
  runIn(first.netns, 'nft', 'add rule ip cut in ip saddr 172.18.0.200 drop');
  const ms = await eventually('the node is no way any more', 10_000, () => ways().length === 1);
  assert.ok(ms < 2000, `the router noticed after ${ms} ms`);
  assert.deepEqual(ways(), ['via 172.18.0.3']);
  await eventually('the node has noticed too', 2000, () => !/Established/.test(session()));
  runIn(first.netns, 'nft', 'delete table ip cut');
  await eventually('it is a way again', 20_000, () => ways().length === 2);
});
