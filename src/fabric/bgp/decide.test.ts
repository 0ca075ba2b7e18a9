// Nodes and settings to sessions.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Node } from '../../k8s/types.generated.ts';
import { asCidr } from '../../net/address.ts';
import { readPeers } from '../peers.ts';
import { type BgpDecision, decideBgp } from './decide.ts';
import { isPassword } from './names.ts';
import { type BgpSettings, readBgpSettings } from './settings.ts';

const node = (number: number, labels: Record<string, string> = {}, ipv6 = false): Node => ({
  apiVersion: 'v1',
  kind: 'Node',
  metadata: { name: `n${number}`, labels },
  spec: { podCIDRs: [`10.244.${number}.0/24`, ...(ipv6 ? [`fd00:244:0:${number}::/64`] : [])] },
  status: {
    addresses: [`172.18.0.${number}`, ...(ipv6 ? [`fd18::${number}`] : [])].map((address) => ({
      type: 'InternalIP',
      address,
    })),
  },
});

function decide(
  own: string,
  nodes: readonly Node[],
  settings: object = {},
  passwords: ReadonlyMap<string, string> | undefined = new Map(),
): BgpDecision {
  const clusterCidrs = [asCidr('10.244.0.0/16'), asCidr('fd00:244::/48')];
  const peers = readPeers(nodes, { nodeName: own, clusterCidrs });
  return decideBgp({ peers, nodes, clusterCidrs, settings: readBgpSettings(settings), passwords });
}

const sessions = (decision: BgpDecision) => decision.plan?.sessions ?? [];
const neighbours = (decision: BgpDecision): string[] => sessions(decision).map(({ name }) => name);

test('a node waits until it has an address and a range', () => {
  assert.equal(decide('n1', []).plan, undefined);
  assert.equal(decide('n1', [{ ...node(1), status: {} }]).plan, undefined);
  assert.equal(decide('n1', [{ ...node(1), spec: {} }]).plan, undefined);
});

test('without reflectors every node talks to every other one, and takes from it its own ranges alone', () => {
  const decision = decide('n1', [node(1), node(2), node(3)]);
  assert.deepEqual(decision, {
    problems: [],
    plan: {
      routerId: '172.18.0.1',
      asNumber: 64512,
      holdTime: 9,
      restartTime: 60,
      ownRanges: ['10.244.1.0/24'],
      balancerRanges: [],
      podRanges: ['10.244.0.0/16', 'fd00:244::/48'],
      sessions: [2, 3].map((number) => ({
        name: `node:n${number}`,
        owner: `Node n${number}`,
        local: '172.18.0.1',
        neighbor: `172.18.0.${number}`,
        neighborAs: 64512,
        advertise: 'own',
        acceptExactly: [`10.244.${number}.0/24`],
        acceptWithin: [],
        acceptOutside: [],
        balancers: [],
      })),
    },
  });
});

test('each family has a session of its own, between addresses of that family', () => {
  const decision = decide('n1', [node(1, {}, true), node(2, {}, true), node(3)]);
  assert.deepEqual(
    sessions(decision).map(({ name, neighbor, acceptExactly }) => [name, neighbor, ...acceptExactly]),
    [
      ['node:n2', '172.18.0.2', '10.244.2.0/24'],
      ['node:n2:6', 'fd18::2', 'fd00:244:0:2::/64'],
      ['node:n3', '172.18.0.3', '10.244.3.0/24'],
    ],
  );
});

test('a node of IPv6 alone has a router id that its name gives it', () => {
  const only = (number: number): Node => ({
    ...node(number),
    spec: { podCIDRs: [`fd00:244:0:${number}::/64`] },
    status: { addresses: [{ type: 'InternalIP', address: `fd18::${number}` }] },
  });
  const [one, two] = ['n1', 'n2'].map((own) => decide(own, [only(1), only(2)]).plan?.routerId);
  assert.match(one ?? '', /^10\./);
  assert.notEqual(one, two);
});

test('with reflectors the others talk to these alone; reflectors hand on to them, and talk among themselves plainly', () => {
  const settings = {
    routeReflectors: [{ clusterId: '10.0.0.1', nodeSelector: { matchLabels: { role: 'rr' } } }],
  };
  const nodes = [node(1, { role: 'rr' }), node(2, { role: 'rr' }), node(3), node(4)];
  assert.deepEqual(neighbours(decide('n3', nodes, settings)), ['node:n1', 'node:n2']);
  const [client] = sessions(decide('n3', nodes, settings));
  assert.deepEqual([client?.advertise, client?.reflectAs, client?.acceptWithin], ['own', undefined, ['10.244.0.0/16']]);
  const reflector = sessions(decide('n1', nodes, settings));
  assert.deepEqual(
    reflector.map(({ name, reflectAs, advertise }) => [name, reflectAs, advertise]),
    [
      ['node:n2', undefined, 'cluster'],
      ['node:n3', '10.0.0.1', 'cluster'],
      ['node:n4', '10.0.0.1', 'cluster'],
    ],
  );
});

test('both ends of every session know of it, whoever reflects', () => {
  const count = 6;
  fc.assert(
    fc.property(fc.array(fc.boolean(), { minLength: count, maxLength: count }), (reflectors) => {
      const settings = {
        routeReflectors: [{ clusterId: '1.1.1.1', nodeSelector: { matchLabels: { role: 'rr' } } }],
      };
      const nodes = reflectors.map((is, index) => node(index + 1, is ? { role: 'rr' } : {}));
      const pairs = new Set(
        nodes.flatMap(({ metadata: { name = '' } }) =>
          neighbours(decide(name, nodes, settings)).map((other) => `${name} ${other.replace('node:', '')}`),
        ),
      );
      for (const pair of pairs) assert.ok(pairs.has(pair.split(' ').reverse().join(' ')));
      // Every node is at most one reflector away from every other one.
      const any = reflectors.some(Boolean);
      assert.equal(pairs.size > 0, true);
      if (!any) assert.equal(pairs.size, count * (count - 1));
    }),
  );
});

const tor = { name: 'tor', address: '172.18.0.200', asNumber: 64600 };

test('an outside router is talked to by the nodes that its selector matches', () => {
  const nodes = [node(1, { rack: 'a' }), node(2, { rack: 'b' })];
  const settings = { peers: [{ ...tor, nodeSelector: { matchLabels: { rack: 'a' } } }] };
  assert.deepEqual(neighbours(decide('n1', nodes, settings)), ['node:n2', 'peer:tor']);
  assert.deepEqual(neighbours(decide('n2', nodes, settings)), ['node:n1']);
});

test('ranges of pods are taken from outside only where they are asked for by name', () => {
  const settings = { peers: [{ ...tor, accept: ['0.0.0.0/0', '10.244.128.0/17', 'fd99::/64'] }] };
  const [, session] = sessions(decide('n1', [node(1), node(2)], settings));
  assert.deepEqual(session?.acceptOutside, ['0.0.0.0/0']);
  assert.deepEqual(session?.acceptWithin, ['10.244.128.0/17']);
});

test('a router in the own AS is told the ranges of other nodes as a reflector tells them', () => {
  const own = { peers: [{ ...tor, asNumber: 64512, advertise: 'cluster' }] };
  assert.equal(sessions(decide('n1', [node(1)], own))[0]?.reflectAs, '172.18.0.1');
  const other = { peers: [{ ...tor, advertise: 'cluster' }] };
  assert.equal(sessions(decide('n1', [node(1)], other))[0]?.reflectAs, undefined);
});

test('what cannot be is told, and the other sessions go on', () => {
  const settings = {
    peers: [
      { ...tor, name: 'node', address: '172.18.0.2' },
      { ...tor, name: 'six', address: 'fd18::200' },
      { ...tor, name: 'keyless', address: '172.18.0.201', passwordKey: 'none' },
      { ...tor, name: 'quoted', address: '172.18.0.202', passwordKey: 'quoted' },
      { ...tor, passwordKey: 'good' },
    ],
  };
  const passwords = new Map([
    ['quoted', 'a"; router id 1.2.3.4; #'],
    ['good', 'pass word'],
  ]);
  const decision = decide('n1', [node(1), node(2)], settings, passwords);
  assert.deepEqual(neighbours(decision), ['node:n2', 'peer:tor']);
  assert.deepEqual(
    decision.problems.map(({ owner, reason }) => `${owner.split(', ')[1]}: ${reason}`),
    [
      'peer node: its address 172.18.0.2 is that of Node n2',
      'peer six: Node n1 has no IPv6 address to reach fd18::200 from',
      "peer keyless: the Secret kube-system/weft-bgp has no key 'none'",
      "peer quoted: the password in the Secret kube-system/weft-bgp, key 'quoted', must be 1 to 80 printable ASCII characters without quotation marks, and no space at its ends",
    ],
  );
});

test('sessions with a password wait until the passwords are known', () => {
  const peers = readPeers([node(1)], { nodeName: 'n1', clusterCidrs: [] });
  const settings: BgpSettings = readBgpSettings({ peers: [{ ...tor, passwordKey: 'tor' }] });
  const decision = decideBgp({ peers, nodes: [node(1)], clusterCidrs: [], settings, passwords: undefined });
  assert.deepEqual([sessions(decision), decision.problems], [[], []]);
});

test('names of sessions stay unique and short for nodes with long names', () => {
  const long = (last: string): Node => ({ ...node(2), metadata: { name: `${'a'.repeat(200)}.${last}` } });
  const other: Node = { ...node(3), metadata: { name: long('y').metadata.name ?? '' } };
  const names = neighbours(decide('n1', [node(1), long('x'), other]));
  assert.equal(new Set(names).size, 2);
  for (const name of names) assert.ok(name.length <= 60);
});

test('a password is text that BIRD reads back as it is', () => {
  for (const text of ['a', "it's: {a} pass\\word", 'x'.repeat(80)]) assert.ok(isPassword(text), text);
  for (const text of ['', ' a', 'a ', 'a"b', 'a\nb', 'ä', 'x'.repeat(81)]) assert.ok(!isPassword(text), text);
});
