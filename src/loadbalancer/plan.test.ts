import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type {
  BFDProfile,
  BGPAdvertisement,
  BGPPeer,
  IPAddressPool,
  L2Advertisement,
  NodeBGPAnnouncement,
} from '../k8s/load-balancer.ts';
import type { EndpointSlice, Node, Service } from '../k8s/types.generated.ts';
import { asIp } from '../net/address.ts';
import { readL2Advertisement } from './advertisements.ts';
import { type ConfigurationObjects, ConfigurationReader } from './configuration.ts';
import { ownerOf } from './election.ts';
import { type OwnedAddress, planBgp, planService } from './plan.ts';

const meta = (name: string) => ({ name, namespace: 'metallb-system', uid: name });

function node(name: string, labels: Record<string, string> = {}, ready = 'True', onLink = '172.18.0.0/16'): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name, labels, annotations: { 'network.weft.dev/on-link': onLink } },
    spec: {},
    status: { conditions: [{ type: 'Ready', status: ready }] },
  };
}

const pool: IPAddressPool = {
  apiVersion: 'metallb.io/v1beta1',
  kind: 'IPAddressPool',
  metadata: meta('pool'),
  spec: { addresses: ['172.18.250.0/24'] },
};
const l2 = (spec: L2Advertisement['spec'] = {}): L2Advertisement => ({
  apiVersion: 'metallb.io/v1beta1',
  kind: 'L2Advertisement',
  metadata: meta('l2'),
  spec,
});
const bgp = (spec: BGPAdvertisement['spec'] = {}, name = 'bgp'): BGPAdvertisement => ({
  apiVersion: 'metallb.io/v1beta1',
  kind: 'BGPAdvertisement',
  metadata: meta(name),
  spec,
});
const tor = (spec: Partial<BGPPeer['spec']> = {}): BGPPeer => ({
  apiVersion: 'metallb.io/v1beta2',
  kind: 'BGPPeer',
  metadata: meta('tor'),
  spec: { myASN: 64512, peerASN: 64513, peerAddress: '172.18.0.1', ...spec },
});
const objects = (more: Partial<ConfigurationObjects>): ConfigurationObjects => ({
  pools: [pool],
  l2: [],
  bgp: [],
  peers: [],
  communities: [],
  profiles: [],
  ...more,
});

function service(spec: Service['spec'] = {}, labels: Record<string, string> = {}, ip = '172.18.250.1'): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'default', labels },
    spec: { type: 'LoadBalancer', ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress: [{ ip }] } },
  };
}

interface Situation {
  readonly nodes?: readonly Node[];
  /** The nodes with endpoints; those with `!` are ending. */
  readonly endpoints?: readonly string[];
  readonly dead?: readonly string[];
  readonly service?: Service;
}

interface Plan {
  readonly l2: readonly OwnedAddress[];
  readonly bgp: NodeBGPAnnouncement['spec'];
}

function planOn(nodeName: string, configuration: Partial<ConfigurationObjects>, situation: Situation = {}): Plan {
  const { nodes = ['a', 'b', 'c'].map((name) => node(name)), endpoints = ['a', 'b', 'c'], dead = [] } = situation;
  const slice: EndpointSlice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 's', namespace: 'default' },
    addressType: 'IPv4',
    endpoints: endpoints.map((name) => ({
      addresses: ['10.244.0.2'],
      nodeName: name.replace('!', ''),
      conditions: name.endsWith('!') ? { ready: false, serving: true, terminating: true } : { ready: true },
    })),
  };
  const input = {
    nodeName,
    nodes,
    slicesOf: () => [slice],
    configuration: new ConfigurationReader().read(objects(configuration)),
    isAlive: (name: string) => !dead.includes(name),
  };
  const plan = planService(situation.service ?? service(), input);
  return { l2: plan.l2, bgp: planBgp([plan], input) };
}

/** The nodes that answer for the Service's address. */
const owners = (configuration: Partial<ConfigurationObjects>, situation: Situation = {}): string[] =>
  ['a', 'b', 'c', 'd'].filter((name) => planOn(name, configuration, situation).l2.length > 0);

const local: Service['spec'] = { externalTrafficPolicy: 'Local' };

test('exactly one node answers; it is the next one where the first is dead, not Ready or excluded', () => {
  const [first = ''] = owners({ l2: [l2()] });
  const others = ['a', 'b', 'c'].filter((name) => name !== first);
  const exclude = { 'node.kubernetes.io/exclude-from-external-load-balancers': '' };
  const change = (made: Node): Node[] => [made, ...others.map((name) => node(name))];
  assert.equal(owners({ l2: [l2()] }).length, 1);
  for (const situation of [
    { dead: [first] },
    { nodes: change(node(first, {}, 'Unknown')) },
    { nodes: change(node(first, exclude)) },
  ]) {
    const now = owners({ l2: [l2()] }, situation);
    assert.equal(now.length, 1);
    assert.ok(others.includes(now[0] ?? ''));
  }
});

test('nobody answers without an advertisement that is about the pool, the Service and a node', () => {
  assert.deepEqual(owners({}), []);
  assert.deepEqual(owners({ l2: [l2({ ipAddressPools: ['other'] })] }), []);
  assert.deepEqual(owners({ l2: [l2({ ipAddressPoolSelectors: [{ matchLabels: { a: 'b' } }] })] }), []);
  assert.deepEqual(owners({ l2: [l2({ serviceSelectors: [{ matchLabels: { a: 'b' } }] })] }), []);
  assert.deepEqual(owners({ l2: [l2({ nodeSelectors: [{ matchLabels: { a: 'b' } }] })] }), []);
  assert.equal(owners({ l2: [l2({ ipAddressPools: ['pool'] })] }).length, 1);
  const labelled = { service: service({}, { a: 'b' }) };
  assert.equal(owners({ l2: [l2({ serviceSelectors: [{ matchLabels: { a: 'b' } }] })] }, labelled).length, 1);
  const another = { ...l2(), metadata: { ...meta('l2'), namespace: 'other' } };
  assert.deepEqual(owners({ l2: [another] }), [], 'it is about the pools of its own namespace');
});

test('under the policy Local a node with endpoints answers; one whose endpoints end where there is no other', () => {
  const at = (endpoints: string[]) => owners({ l2: [l2()] }, { endpoints, service: service(local) });
  for (const name of ['a', 'b', 'c']) assert.deepEqual(at([name]), [name]);
  assert.deepEqual(at(['a!', 'b']), ['b']);
  assert.deepEqual(at(['a!']), ['a']);
  assert.deepEqual(at([]), []);
  assert.equal(owners({ l2: [l2()] }, { endpoints: [] }).length, 1, 'under Cluster the answer is a refusal');
});

test('selectors choose the nodes, preferences and networks among them', () => {
  const nodes = [node('a', { rack: '1' }), node('b', { rack: '2' }), node('c', { rack: '2' }, 'True', '10.9.0.0/16')];
  const rack = (value: string) => ({ matchLabels: { rack: value } });
  assert.deepEqual(owners({ l2: [l2({ nodeSelectors: [rack('1')] })] }, { nodes }), ['a']);
  assert.deepEqual(owners({ l2: [l2({ nodeSelectors: [rack('2')] })] }, { nodes }), ['b'], 'c is on another network');
  for (const value of ['1', '2'])
    assert.deepEqual(
      owners({ l2: [l2({ preferredNodeSelectors: [{ weight: 10, preference: rack(value) }] })] }, { nodes }),
      [value === '1' ? 'a' : 'b'],
    );
  const interfaces = { l2: [l2({ interfaces: ['eth1', 'eth0'] })] };
  const [owner = ''] = owners(interfaces);
  assert.deepEqual(planOn(owner, interfaces).l2[0]?.interfaces, ['eth0', 'eth1']);
});

test('a node that goes moves the addresses that it had, and no others', () => {
  const { value } = readL2Advertisement(l2());
  const name = fc.constantFrom('n1', 'n2', 'n3', 'n4', 'n5', 'n6');
  fc.assert(
    fc.property(fc.uniqueArray(name, { minLength: 2 }), fc.integer({ min: 0, max: 255 }), name, (names, last, gone) => {
      const address = asIp(`172.18.250.${last}`);
      const owner = (of: readonly string[]) =>
        ownerOf(address, {
          nodes: of.map((each) => node(each)),
          advertisements: [value],
          eligible: undefined,
          isAlive: () => true,
        });
      const before = owner(names);
      assert.equal(owner(names.toReversed()), before, 'whatever the order');
      if (before !== gone) assert.equal(owner(names.filter((each) => each !== gone)), before);
    }),
  );
});

test('by BGP all nodes tell it, under the policy Local those with endpoints; nobody where nothing answers', () => {
  const telling = (situation: Situation): string[] =>
    ['a', 'b', 'c'].filter(
      (name) => planOn(name, { bgp: [bgp()], peers: [tor()] }, situation).bgp.routes !== undefined,
    );
  assert.deepEqual(telling({}), ['a', 'b', 'c']);
  assert.deepEqual(telling({ endpoints: ['b'] }), ['a', 'b', 'c']);
  assert.deepEqual(telling({ endpoints: ['b'], service: service(local) }), ['b']);
  assert.deepEqual(telling({ endpoints: [] }), []);
});

test('routes carry what their advertisements say, to the peers that they name, put together as they say', () => {
  const rack = [{ matchLabels: { rack: '1' } }];
  const configuration = {
    bgp: [
      bgp({ localPref: 150, communities: ['vpn', 'no-export', 'large:1:2:3'], peers: ['tor'] }),
      bgp({ aggregationLength: 24 }, 'wide'),
      bgp({ nodeSelectors: rack }, 'elsewhere'),
    ],
    peers: [tor({ holdTime: '1m30s' }), { ...tor({ nodeSelectors: rack }), metadata: meta('other') }],
    communities: [
      {
        apiVersion: 'metallb.io/v1beta1',
        kind: 'Community',
        metadata: meta('c'),
        spec: { communities: [{ name: 'vpn', value: '65000:7' }] },
      },
    ],
  };
  assert.deepEqual(planOn('a', configuration).bgp, {
    peers: [{ name: 'metallb-system/tor', address: '172.18.0.1', asNumber: 64513, localAsNumber: 64512, holdTime: 90 }],
    routes: [
      { prefix: '172.18.250.0/24', services: ['default/web'] },
      {
        prefix: '172.18.250.1/32',
        peers: ['metallb-system/tor'],
        localPref: 150,
        communities: ['65000:7', '65535:65281', 'large:1:2:3'],
        services: ['default/web'],
      },
    ],
  });
});

const profile = (spec: BFDProfile['spec'] = {}): BFDProfile => ({
  apiVersion: 'metallb.io/v1beta1',
  kind: 'BFDProfile',
  metadata: meta('fast'),
  spec,
});

test('a peer with a BFDProfile of its namespace has its times, and those of MetalLB where it gives none', () => {
  const bfdOf = (spec: BFDProfile['spec']) =>
    planOn('a', { bgp: [bgp()], peers: [tor({ bfdProfile: 'fast' })], profiles: [profile(spec)] }).bgp.peers?.[0]?.bfd;
  assert.deepEqual(bfdOf({}), { receiveInterval: 300, transmitInterval: 300, detectMultiplier: 3 });
  assert.deepEqual(bfdOf({ receiveInterval: 50, detectMultiplier: 5, passiveMode: true, minimumTtl: 254 }), {
    ...{ receiveInterval: 50, transmitInterval: 300, detectMultiplier: 5, passive: true },
  });
  assert.equal(planOn('a', { bgp: [bgp()], peers: [tor()] }).bgp.peers?.[0]?.bfd, undefined);
});

test('a BFDProfile that is missing or cannot be followed is told, with the peer that wants it', () => {
  const told = (profiles: BFDProfile[]): string[] =>
    new ConfigurationReader()
      .read(objects({ peers: [tor({ bfdProfile: 'fast' })], profiles }))
      .problems.flatMap(({ object, problems }) => problems.map(({ field }) => `${object.kind} ${field}`));
  assert.deepEqual(told([]), ['BGPPeer spec.bfdProfile']);
  assert.deepEqual(told([profile({ echoMode: true, transmitInterval: 5, detectMultiplier: 1 })]), [
    'BFDProfile spec.transmitInterval',
    'BFDProfile spec.detectMultiplier',
    'BFDProfile spec.echoMode',
    'BGPPeer spec.bfdProfile',
  ]);
});

test('what cannot be followed is told with its field, and stands as it was before', () => {
  const reader = new ConfigurationReader();
  reader.read(objects({ l2: [l2()], bgp: [bgp()], peers: [tor()] }));
  const wrong = reader.read(
    objects({
      l2: [l2({ nodeSelectors: [{ matchExpressions: [{ key: 'a', operator: 'In', values: [] }] }] })],
      bgp: [bgp({ aggregationLength: 20, communities: ['nonsense', '65536:1'] })],
      peers: [tor({ peerAddress: 'tor.example.com', holdTime: '2s', password: 'x', passwordSecret: { name: 'y' } })],
    }),
  );
  assert.deepEqual(
    wrong.problems.flatMap(({ problems }) => problems.map(({ field }) => field)),
    [
      'spec.nodeSelectors[0]',
      'spec.aggregationLength',
      'spec.communities[0]',
      'spec.communities[1]',
      'spec.peerAddress',
      'spec.holdTime',
      'spec.passwordSecret',
    ],
  );
  assert.equal(wrong.l2.length, 1);
  assert.equal(wrong.bgp[0]?.aggregationLength, 32);
  assert.equal(wrong.peers[0]?.session.address, '172.18.0.1');
});
