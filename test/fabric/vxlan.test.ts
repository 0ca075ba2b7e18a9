// The vxlan fabric in namespaces: what someone else changes, nodes that move and leave, what an earlier life has left.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fabricAnnotation } from '../../src/k8s/network-config.ts';
import type { Stored } from '../../src/k8s/object.ts';
import type { Node } from '../../src/k8s/types.generated.ts';
import { Lab, type LabNode, runIn } from '../cni/lab.ts';
import { networkConfig, node as nodeObject } from '../cni/static-client.ts';
import { until } from './model.ts';

const lab = new Lab({ clusterCidrs: ['10.244.0.0/16'] });
let a: LabNode;
let b: LabNode;

before(async () => {
  a = lab.addNode(['10.244.1.0/24']);
  b = lab.addNode(['10.244.2.0/24']);
  lab.tellConfig(networkConfig({ fabric: 'vxlan' }));
  await lab.start();
});
after(() => lab[Symbol.asyncDispose]());

/** All that the fabric has at node a: routes, neighbours, forwarding entries, the device's address and MTU. */
function picture(): string {
  const show = (command: string, ...args: string[]): string[] => {
    try {
      return runIn(a.netns, command, ...args).split('\n');
    } catch {
      return ['nothing'];
    }
  };
  const lines = [
    ...show('ip', 'route', 'show', 'proto', '118'),
    ...show('ip', 'neigh', 'show', 'dev', 'weft-vxlan', 'nud', 'permanent'),
    ...show('bridge', 'fdb', 'show', 'dev', 'weft-vxlan'),
    ...show('ip', '-o', '-4', 'address', 'show', 'dev', 'weft-vxlan').map((line) => /inet \S+/.exec(line)?.[0] ?? ''),
    ...show('ip', '-o', 'link', 'show', 'weft-vxlan').map(
      (line) => /mtu \d+|link\/ether \S+/g.exec(line)?.join() ?? '',
    ),
  ];
  return lines
    .map((line) => line.trim())
    .filter(Boolean)
    .join('\n');
}

const mac = (last: number): string => `0e:77:ac:12:00:0${last}`;
const tunnel = (range: number, last: number): Record<'route' | 'neighbour' | 'forwarding', string> => ({
  route: `10.244.${range}.0/24 via 10.244.${range}.0 dev weft-vxlan onlink`,
  neighbour: `10.244.${range}.0 lladdr ${mac(last)} PERMANENT`,
  forwarding: `${mac(last)} dst 172.18.0.${last} self permanent`,
});
const own = ['inet 10.244.1.0/32', 'mtu 1450'];
const pictureOf = (...tunnels: ReturnType<typeof tunnel>[]): string =>
  [
    ...tunnels.map(({ route }) => route),
    ...tunnels.map(({ neighbour }) => neighbour),
    ...tunnels.map(({ forwarding }) => forwarding),
    ...own,
  ].join('\n');

async function becomes(expected: string): Promise<void> {
  try {
    await until('the tunnels', () => sorted(picture()) === sorted(expected), 2_000);
  } catch {
    assert.deepEqual(sorted(picture()), sorted(expected), 'not within 2 s');
  }
}
const sorted = (text: string): string => text.split('\n').sort().join('\n');

/** A node that takes in VXLAN at that address. */
function other(name: string, range: number, last: number): Stored<Node> {
  const address = `172.18.0.${last}`;
  const object = nodeObject(name, [`10.244.${range}.0/24`], [address]);
  return { ...object, metadata: { ...object.metadata, annotations: { [fabricAnnotation.vtep]: address } } };
}

const toB = tunnel(2, 3);

test('another node is one route, one neighbour and one forwarding entry', () => becomes(pictureOf(toB)));

test('what is deleted or changed by hand comes back', async () => {
  const byHand: [string, ...string[]][] = [
    ['ip', 'route', 'delete', '10.244.2.0/24'],
    ['ip', 'neigh', 'delete', '10.244.2.0', 'dev', 'weft-vxlan'],
    ['ip', 'neigh', 'replace', '10.244.2.0', 'lladdr', mac(9), 'dev', 'weft-vxlan', 'nud', 'permanent'],
    ['bridge', 'fdb', 'delete', mac(3), 'dev', 'weft-vxlan', 'dst', '172.18.0.3'],
    ['bridge', 'fdb', 'replace', mac(3), 'dev', 'weft-vxlan', 'dst', '172.18.0.99'],
    ['ip', 'address', 'delete', '10.244.1.0/32', 'dev', 'weft-vxlan'],
    ['ip', 'link', 'set', 'weft-vxlan', 'mtu', '1400'],
    ['ip', 'link', 'set', 'weft-vxlan', 'down'],
    ['ip', 'link', 'delete', 'weft-vxlan'],
    ['ip', 'link', 'set', 'eth0', 'down'],
  ];
  for (const [command, ...args] of byHand) {
    runIn(a.netns, command, ...args);
    if (args[2] === 'eth0') runIn(a.netns, 'ip', 'link', 'set', 'eth0', 'up');
    await becomes(pictureOf(toB));
  }
});

test('a node that joins, moves and leaves takes all three with it', async () => {
  lab.tellNodes([a.object, b.object, other('c', 3, 7)]);
  await becomes(pictureOf(toB, tunnel(3, 7)));
  lab.tellNodes([a.object, b.object, other('c', 3, 8)]);
  await becomes(pictureOf(toB, tunnel(3, 8)));
  lab.tellNodes([a.object, b.object]);
  await becomes(pictureOf(toB));
});

test('what nodes left that went while the agent was down goes at its start, and a foreign device is replaced', async () => {
  lab.tellNodes([a.object, b.object, other('c', 3, 7)]);
  await becomes(pictureOf(toB, tunnel(3, 7)));
  await lab.kill(a);
  runIn(a.netns, 'ip', 'link', 'set', 'weft-vxlan', 'address', '02:00:00:00:00:01');
  lab.tellNodes([a.object, b.object]);
  await lab.start([a]);
  await becomes(pictureOf(toB));
  assert.match(runIn(a.netns, 'ip', 'link', 'show', 'weft-vxlan'), new RegExp(mac(2)));
  await lab.kill(a);
  runIn(a.netns, 'ip', 'link', 'delete', 'weft-vxlan');
  runIn(
    a.netns,
    'ip',
    'link',
    'add',
    'weft-vxlan',
    'type',
    'vxlan',
    'id',
    '7',
    'dstport',
    '4789',
    'local',
    '172.18.0.2',
  );
  await lab.start([a]);
  await becomes(pictureOf(toB));
});
