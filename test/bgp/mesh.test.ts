// BGP between nodes, with BIRD and the kernel: pods reach each other, and go on doing so while things break.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';
import { clearBgp } from '../../src/fabric/bgp/start.ts';
import { inNetns, netnsPath } from '../../src/linux/netns.ts';
import { BgpLab, birdIsMissing, eventually, type LabNode, reaches, runIn } from './lab.ts';

const options = { skip: birdIsMissing };

const birdRoutes = (node: LabNode, family = '-4'): string[] =>
  runIn(node.netns, 'ip', family, 'route', 'show', 'proto', 'bird')
    .split('\n')
    .filter((line) => / via /.test(line));

async function settled(lab: BgpLab, nodes: readonly LabNode[] = lab.nodes): Promise<void> {
  await eventually('all nodes know all ranges', 15_000, async () => (await lab.follow(nodes)).every(Boolean));
}

test('a mesh of three nodes: all pods reach all others by both families, without translation', options, async () => {
  await using lab = new BgpLab();
  const nodes = [lab.addNode(), lab.addNode(), lab.addNode()];
  await lab.configure('holdTime: 3');
  await settled(lab);
  for (const from of nodes)
    for (const to of nodes) {
      assert.ok(reaches(from.pod, to.podAddress), `${from.name} to ${to.name}`);
      assert.ok(reaches(from.pod, `fd00:244:0:${to.number}::a`), `${from.name} to ${to.name} by IPv6`);
    }
  assert.deepEqual(
    nodes.map((node) => [birdRoutes(node).length, birdRoutes(node, '-6').length]),
    [
      [2, 2],
      [2, 2],
      [2, 2],
    ],
  );

  // A route that someone deletes comes back.
  const [a, b] = nodes;
  assert.ok(a && b);
  runIn(a.netns, 'ip', 'route', 'del', '10.244.3.0/24', 'proto', 'bird');
  await eventually('the deleted route is back', 4000, () => birdRoutes(a).length === 2);

  // kill -9: what BIRD wrote stays, the neighbours keep their routes, and a new one takes over. No packet is lost.
  const count = 80;
  const pings = inNetns(netnsPath(a.pod), () =>
    spawn('busybox', ['ping', '-q', '-i', '0.05', '-c', String(count), b.podAddress], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  let report = '';
  pings.stdout.on('data', (chunk) => {
    report += chunk;
  });
  for (const node of [a, b]) {
    const before = lab.birdPid(node);
    process.kill(before, 'SIGKILL');
    await eventually('BIRD is back', 3000, () => ![0, before].includes(lab.birdPid(node)));
  }
  await once(pings, 'exit');
  assert.match(report, new RegExp(`${count} packets transmitted, ${count} packets received`));
  await settled(lab);

  // The agent ends, and another takes over the process that runs.
  const before = lab.birdPid(a);
  await lab.stop(a, { remove: false });
  assert.equal(birdRoutes(a).length, 2);
  await settled(lab);
  assert.equal(lab.birdPid(a), before);

  // A node that is cut off is noticed by its silence.
  runIn(b.netns, 'ip', 'link', 'set', 'eth0', 'down');
  const lost = await eventually('the lost node has no route', 6_000, () => birdRoutes(a).length === 1);
  assert.ok(lost > 500, `it was given ${lost} ms`);

  // A node whose object is deleted is forgotten at once.
  await lab.follow(nodes.slice(0, 1));
  await eventually('no route is left', 2000, () => birdRoutes(a).length === 0);

  // Another fabric has taken over.
  await lab.stop(a, { remove: true });
  assert.equal(runIn(a.netns, 'ip', 'route', 'show', 'proto', 'bird'), '');
});

test('with a route reflector, the others talk to it alone and still reach each other directly', options, async () => {
  await using lab = new BgpLab();
  const nodes = [lab.addNode({ role: 'reflector' }), lab.addNode(), lab.addNode()];
  await lab.configure('routeReflectors: [{ clusterId: 10.0.0.1, nodeSelector: { matchLabels: { role: reflector } } }]');
  await settled(lab);
  const [, b, c] = nodes;
  assert.ok(b && c);
  assert.ok(reaches(b.pod, c.podAddress));
  assert.ok(birdRoutes(b).some((line) => line.startsWith('10.244.4.0/24 via 172.18.0.4 dev eth0')));
  assert.equal(
    runIn(b.netns, 'ss', '-Htn', 'state', 'established', '( dport = :179 or sport = :179 )').trim().split('\n').length,
    2,
  );
});

test('routes of a BIRD that died with its agent go when another fabric is chosen', options, async () => {
  await using lab = new BgpLab();
  const [a] = [lab.addNode(), lab.addNode()];
  await settled(lab);
  const pid = lab.birdPid(a);
  await lab.stop(a, { remove: false });
  process.kill(pid, 'SIGKILL');
  assert.equal(birdRoutes(a).length, 1);
  await clearBgp(lab.options(a));
  for (const family of ['-4', '-6']) assert.equal(runIn(a.netns, 'ip', family, 'route', 'show', 'proto', 'bird'), '');
});

test('a BIRD that hangs is ended and started anew', options, async () => {
  await using lab = new BgpLab({ watch: { everyMs: 200, patienceMs: 300 } });
  const [a, b] = [lab.addNode(), lab.addNode()];
  await settled(lab);
  const pid = lab.birdPid(a);
  process.kill(pid, 'SIGSTOP');
  await eventually('another one is there', 5000, () => ![0, pid].includes(lab.birdPid(a)));
  assert.ok(reaches(b.pod, a.podAddress));
  await settled(lab);
});
