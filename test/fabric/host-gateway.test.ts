// The host-gw fabric in namespaces: nodes that come, go and move, and routes that someone else deletes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Lab, type LabNode, runIn } from '../cni/lab.ts';
import { node as nodeObject } from '../cni/static-client.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'] });
let a: LabNode;
let b: LabNode;

before(async () => {
  a = lab.addNode(['10.244.1.0/24']);
  b = lab.addNode(['10.244.2.0/24']);
  // A route that an earlier life of the fabric left, and one of someone else.
  runIn(a.netns, 'ip', 'route', 'add', '10.244.77.0/24', 'via', '172.18.0.3', 'proto', '118');
  runIn(a.netns, 'ip', 'route', 'add', '10.99.0.0/24', 'via', '172.18.0.3');
  await lab.start();
});
after(() => lab[Symbol.asyncDispose]());

const routes = (): string[] =>
  runIn(a.netns, 'ip', 'route', 'show', 'proto', '118').trim().split(/\s*\n/).filter(Boolean);

async function becomes(expected: readonly string[]): Promise<void> {
  const end = performance.now() + 2_000;
  while (routes().join() !== expected.join()) {
    if (performance.now() > end) assert.deepEqual(routes(), expected, 'not within 2 s');
    await sleep(10);
  }
}

const toB = '10.244.2.0/24 via 172.18.0.3 dev eth0';

test('at the start stale routes go, and routes of others stay', async () => {
  await becomes([toB]);
  assert.match(runIn(a.netns, 'ip', 'route'), /10\.99\.0\.0\/24 via 172\.18\.0\.3/);
});

test('a route that was deleted or changed by hand comes back', async () => {
  runIn(a.netns, 'ip', 'route', 'delete', '10.244.2.0/24');
  await becomes([toB]);
  runIn(a.netns, 'ip', 'route', 'flush', 'proto', '118');
  await becomes([toB]);
});

test('a link that went down and up has its routes again', async () => {
  runIn(a.netns, 'ip', 'link', 'set', 'eth0', 'down');
  runIn(a.netns, 'ip', 'link', 'set', 'eth0', 'up');
  await becomes([toB]);
});

test('a node that joins gets a route, one that moves a new next hop, one that leaves none', async () => {
  const c = nodeObject('c', ['10.244.3.0/24'], ['172.18.0.9']);
  lab.tellNodes([a.object, b.object, c]);
  await becomes([toB, '10.244.3.0/24 via 172.18.0.9 dev eth0']);
  lab.tellNodes([a.object, b.object, nodeObject('c', ['10.244.3.0/24'], ['172.18.0.10'])]);
  await becomes([toB, '10.244.3.0/24 via 172.18.0.10 dev eth0']);
  lab.tellNodes([a.object, b.object]);
  await becomes([toB]);
});

test('routes stay while the agent is down, and those of nodes that left meanwhile go at its start', async () => {
  const c = nodeObject('c', ['10.244.3.0/24'], ['172.18.0.9']);
  lab.tellNodes([a.object, b.object, c]);
  await becomes([toB, '10.244.3.0/24 via 172.18.0.9 dev eth0']);
  await lab.kill(a);
  assert.equal(routes().length, 2);
  lab.tellNodes([a.object, b.object]);
  await lab.start([a]);
  await becomes([toB]);
});

test('a next hop that cannot be reached yet holds nobody else back, and is tried again', async () => {
  const far = nodeObject('far', ['10.244.4.0/24'], ['192.0.2.9']);
  const c = nodeObject('near', ['10.244.5.0/24'], ['172.18.0.9']);
  lab.tellNodes([a.object, b.object, far, c]);
  await becomes([toB, '10.244.5.0/24 via 172.18.0.9 dev eth0']);
  lab.tellNodes([a.object, b.object]);
  await becomes([toB]);
});
