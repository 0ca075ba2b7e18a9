// The mode ipvs with real packets: the case tables, and what is its own. Run in a virtual machine by ipvs.test.ts.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import type { KernelEntry } from '../../src/explain/kernel-entry.ts';
import { serviceInKernel } from '../../src/explain/service-kernel.ts';
import { viewService } from '../../src/explain/service-view.ts';
import type { KubeObject } from '../../src/k8s/object.ts';
import { Ipsets } from '../../src/linux/ipset.ts';
import { Ipvs, type VirtualServerName } from '../../src/linux/ipvs.ts';
import { netnsPath } from '../../src/linux/netns.ts';
import { asIp, parsePort } from '../../src/net/address.ts';
import { setNames } from '../../src/proxy/ipvs/sets.ts';
import type { ProxyNode } from '../../src/proxy/service-port.ts';
import { Asker, type Question } from './asker.ts';
import { serveCases, wrongAnswers } from './case-runner.ts';
import { caseObjects, type PacketCase, packetCases } from './cases.ts';
import { withDifferences } from './ipvs-differences.ts';
import { Network } from './namespaces.ts';
import { ProxyProcess, service, slice } from './objects.ts';
import { Line } from './ongoing.ts';

const [a, b, c] = [{ ip: '10.244.1.2' }, { ip: '10.244.1.3' }, { ip: '10.244.2.2', node: 'remote' }];
const udpPorts = [{ name: 'udp', port: 8080, protocol: 'UDP' }];
const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' } };
const web = service('web', { clusterIP: '10.96.0.1' });
/** What someone else damages is whole again after 5 s; in a machine that is emulated, after so long, in ms. */
const repairMs = 20_000;

const sctpPort = { name: 'sctp', port: 80, protocol: 'SCTP' };
const sctpTargets = [{ ...sctpPort, port: 8080 }];
const sctpObjects: readonly KubeObject[] = [
  service('here', { clusterIP: '10.96.0.6', type: 'NodePort', ports: [{ ...sctpPort, nodePort: 30_132 }] }),
  slice('here', [a], sctpTargets),
  service('there', { clusterIP: '10.96.0.7', ports: [sctpPort] }),
  slice('there', [c], sctpTargets),
  service('six', { clusterIP: 'fd96::8', clusterIPs: ['fd96::8'], ports: [sctpPort] }),
  slice('six', [{ ip: 'fd44:1::2' }], sctpTargets),
];
/** Who asks which address and port, who answers, and which address that one sees. */
const sctpAnswers = [
  ['pod', '10.96.0.6', 80, 'a 10.244.1.3'],
  ['pod', '10.96.0.7', 80, 'c 10.244.1.3'],
  ['pod', 'fd96::8', 80, 'a fd44:1::3'],
  ['outside', '10.96.0.6', 80, 'a 10.244.1.1'],
  ['outside', '172.18.0.2', 30_132, 'a 10.244.1.1'],
] as const;

describe('the mode ipvs', () => {
  let network: Network;
  let proxy: ProxyProcess;
  let ipvs: Ipvs;
  const server = (address: string, protocol: 'tcp' | 'udp' = 'tcp'): VirtualServerName => ({
    address: asIp(address),
    protocol,
    port: parsePort(80) ?? assert.fail(),
  });
  const weights = (address: string, protocol?: 'udp'): string[] =>
    ipvs
      .reals(server(address, protocol))
      .map(({ ip, weight }) => `${ip} ${weight}`)
      .sort();
  let askers: Record<'outside' | 'pod', Asker>;
  /** The name of the server and the address that it sees. */
  const ask = async (
    from: 'outside' | 'pod',
    address: string,
    port = 80,
    protocol: Question['protocol'] = 'tcp',
  ): Promise<string> => {
    const answer = await askers[from].ask({ protocol, address, port });
    return answer.split(' ').slice(0, 2).join(' ');
  };

  before(async () => {
    network = new Network();
    await Promise.all([
      serveCases(network),
      network.serve('b', 'b', 8080, '10.244.1.3'),
      network.serve('node', 'private', 9_999, '0.0.0.0'),
      ...(
        [
          ['a', 'a', '10.244.1.2'],
          ['remote', 'c', '10.244.2.2'],
          ['a', 'a', 'fd44:1::2'],
        ] as const
      ).map(async ([name, answer, address]) => {
        const program = join(import.meta.dirname, 'sctp-server.pl');
        const { stdout } = network.spawn(name, 'perl', program, answer, address, '8080');
        if (stdout !== null) await once(stdout, 'data');
      }),
    ]);
    proxy = new ProxyProcess(network, 'ipvs');
    await proxy.start(...caseObjects('ipvs'));
    ipvs = Ipvs.open(netnsPath(network.ns('node'))) ?? assert.fail('no IPVS');
    // Of one address each: several would be told to the peer of SCTP, past any translation.
    askers = {
      outside: new Asker(network, 'outside', ['172.18.0.9', 'fd18::9']),
      pod: new Asker(network, 'b', ['10.244.1.3', 'fd44:1::3']),
    };
  });
  after(async () => {
    ipvs.close();
    await network.remove();
  });

  test('every question of the case tables is answered as in the other modes, but for documented differences', async () => {
    const cases = oneWayEach(withDifferences(packetCases('ipvs')));
    assert.deepEqual(await wrongAnswers(network, cases, { leastAsked: 2, atOnce: 3 }), []);
  });

  test('a connection outlives its endpoint’s Service membership; then the endpoint goes', async () => {
    await proxy.put(web, slice('web', [a, b]));
    assert.deepEqual(weights('10.96.0.1'), ['10.244.1.2 1', '10.244.1.3 1']);
    const line = new Line(network, 'outside', '10.96.0.1', 80);
    const name = await line.say('hello');
    const [mine, other] = name === 'a' ? [a, b] : [b, a];
    await proxy.put(slice('web', [other]));
    assert.deepEqual(weights('10.96.0.1'), [`${mine.ip} 0`, `${other.ip} 1`].sort());
    await line.say('still there');
    for (let attempt = 0; attempt < 4; attempt++)
      assert.equal((await ask('outside', '10.96.0.1')).split(' ')[0], name === 'a' ? 'b' : 'a');
    // The kernel forgets it 10 s later; after one that was closed in due form it would be 2 minutes.
    line.reset();
    await until(60_000, () => weights('10.96.0.1').join() === `${other.ip} 1`, 'the endpoint is still there');
  });

  test('an endpoint that comes back while it is drained gets connections again', async () => {
    await proxy.put(service('back', { clusterIP: '10.96.0.2' }), slice('back', [a]));
    assert.match(await ask('outside', '10.96.0.2'), /^a /);
    await proxy.put(slice('back', [b]));
    await proxy.put(slice('back', [a, b]));
    assert.deepEqual(weights('10.96.0.2'), ['10.244.1.2 1', '10.244.1.3 1']);
  });

  test('a UDP client is moved when its endpoint goes, and stays while it still serves', async () => {
    const ports = [{ name: 'udp', port: 80, protocol: 'UDP' }];
    const ending = { ...a, ready: false, serving: true, terminating: true };
    const askUdp = (): Promise<string> => network.ask('outside', 'udp', '10.96.0.3', 80, 5_000);
    await proxy.put(service('udp', { clusterIP: '10.96.0.3', ports }), slice('udp', [a], udpPorts));
    assert.match(await askUdp(), /^a /);
    await proxy.put(slice('udp', [ending, c], udpPorts));
    assert.deepEqual(weights('10.96.0.3', 'udp'), ['10.244.1.2 0', '10.244.2.2 1']);
    assert.match(await askUdp(), /^a /);
    await proxy.put(slice('udp', [c], udpPorts));
    assert.deepEqual(weights('10.96.0.3', 'udp'), ['10.244.2.2 1']);
    await until(10_000, async () => (await askUdp()).startsWith('c '), 'the client is still sent to the old endpoint');
  });

  test('session affinity keeps a client at its endpoint; shares follow the weights of the Service', async () => {
    const sticky = service('sticky', { clusterIP: '10.96.0.4', sessionAffinity: 'ClientIP' });
    const weighed = service('weighed', { clusterIP: '10.96.0.5' });
    weighed.metadata.annotations = { 'weft.dev/endpoint-weights': '10.244.1.2=3' };
    await proxy.put(sticky, slice('sticky', [a, b]), weighed, slice('weighed', [a, b]));
    const askMany = (address: string, count: number): Promise<string[]> =>
      Promise.all(Array.from({ length: count }, async () => (await ask('outside', address)).split(' ')[0] ?? ''));
    assert.equal(new Set(await askMany('10.96.0.4', 6)).size, 1);
    assert.equal(ipvs.server(server('10.96.0.4'))?.persistentSeconds, 10_800);
    assert.equal(ipvs.server(server('10.96.0.5'))?.scheduler, 'wrr');
    assert.equal((await askMany('10.96.0.5', 8)).filter((name) => name === 'a').length, 6);
  });

  test('weft service shows what the kernel has of a Service, with its connections, and what somebody took away', async () => {
    const ports = [{ port: 80, nodePort: 30_099 }];
    const seen = service('seen', { clusterIP: '10.96.0.9', type: 'NodePort', ports });
    const slices = [slice('seen', [a, b])];
    await proxy.put(seen, ...slices);
    for (let count = 0; count < 2; count++) await ask('outside', '10.96.0.9');
    const addresses = [asIp('172.18.0.2')];
    const own: ProxyNode = { name: 'node', addresses, nodePortAddresses: addresses, podCidrs: [] };
    const { models } = viewService({
      service: seen,
      slices,
      node: own,
      externalIps: false,
      services: [],
      mode: 'ipvs',
    });
    const entries = (): readonly KernelEntry[] =>
      serviceInKernel({
        ...{ mode: 'ipvs', netns: netnsPath(network.ns('node')), models, node: own },
        ...{ clusterCidrs: [], ipvsScheduler: 'rr' },
      });
    const states = (): (readonly [string, string, string])[] =>
      entries().flatMap(({ place, key, state, wanted = '' }) =>
        state === 'as decided' ? [] : [[`${place} ${key}`, wanted, state] as const],
      );
    assert.deepEqual(states(), []);
    // The kernel adds its counters up every two seconds.
    const hasCounted = (): boolean => entries().some(({ connections }) => connections === 2);
    await until(10_000, hasCounted, 'the connections are not counted');
    assert.deepEqual(
      entries()
        .filter(({ key }) => key.endsWith('tcp 10.96.0.9 80'))
        .map(({ key, found, connections }) => [key, found, connections]),
      [
        ['tcp 10.96.0.9 80', 'rr', 2],
        ['10.244.1.2:8080 of tcp 10.96.0.9 80', 'weight 1', 1],
        ['10.244.1.3:8080 of tcp 10.96.0.9 80', 'weight 1', 1],
      ],
    );
    ipvs.deleteReal(server('10.96.0.9'), { ip: asIp(b.ip), port: parsePort(8080) ?? assert.fail() });
    assert.deepEqual(states(), [['real server 10.244.1.3:8080 of tcp 10.96.0.9 80', 'weight 1', 'missing']]);
  });

  test('the node’s own ports are not reached under addresses of Services, and the LAN is told of none', async () => {
    assert.match(await ask('outside', '172.18.0.2', 9_999), /^private /);
    assert.equal(await ask('outside', '10.96.0.1', 9_999), 'refused');
    assert.equal(await ask('pod', '10.96.0.1', 9_999), 'refused');
    // A neighbour that takes the address for one of the LAN finds nobody.
    network.run('outside', 'ip', 'route', 'replace', '10.96.0.1/32', 'dev', 'eth0');
    assert.match(await ask('outside', '10.96.0.1'), /^(timeout|unreachable)/);
    assert.doesNotMatch(network.run('outside', 'ip', 'neighbour', 'show', '10.96.0.1'), /lladdr/);
    network.run('outside', 'ip', 'route', 'delete', '10.96.0.1/32');
  });

  test('the link, deleted by someone, is made anew; an address that another link has by then, as that of the node’s DNS, is answered for, also when that link gives it up', async () => {
    const onNode = (...argv: string[]): string => network.run('node', 'ip', ...argv);
    const isAnswered = async (address: string): Promise<boolean> => /^[ab] /.test(await ask('outside', address));
    await proxy.put(service('dns', { clusterIP: '10.96.0.10' }), slice('dns', [a]));
    onNode('link', 'add', 'other', 'up', 'type', 'dummy');
    onNode('address', 'add', '10.96.0.10/32', 'dev', 'other');
    onNode('link', 'delete', 'kube-ipvs0');
    await until(repairMs, () => isAnswered('10.96.0.2'), 'the link is not repaired');
    assert.ok(await isAnswered('10.96.0.10'));
    assert.doesNotMatch(onNode('address', 'show', 'kube-ipvs0'), /10\.96\.0\.10\//);
    onNode('link', 'delete', 'other');
    await until(repairMs, () => isAnswered('10.96.0.10'), 'nobody has the address');
  });

  const damages: readonly [string, (node: string) => void][] = [
    [
      'virtual servers',
      () => {
        for (const one of ipvs.servers()) ipvs.deleteServer(one);
      },
    ],
    [
      'the set of cluster addresses',
      (node) => {
        using sets = Ipsets.open(netnsPath(node));
        for (const element of sets?.elements({ name: 'KUBE-CLUSTER-IP', type: 'hash:ip,port' }) ?? [])
          sets?.delete('KUBE-CLUSTER-IP', element);
      },
    ],
    ['the rules', () => network.run('node', 'iptables', '-t', 'nat', '-F')],
  ];
  for (const [what, damage] of damages)
    test(`${what}, deleted by someone, are written anew`, async () => {
      assert.match(await ask('outside', '10.96.0.1'), /^[ab] 10\.244\.1\.1$/);
      damage(network.ns('node'));
      const isWhole = async (): Promise<boolean> => /^[ab] 10\.244\.1\.1$/.test(await ask('outside', '10.96.0.1'));
      await until(repairMs, isWhole, 'it is not repaired');
    });

  test('an agent that was killed and comes back takes over what is there', async () => {
    await proxy.end(true);
    assert.match(await ask('outside', '10.96.0.1'), /^[ab] /);
    proxy = new ProxyProcess(network, 'configured');
    proxy.configure('ipvs');
    await proxy.start(node, web, slice('web', [a, b]), ...sctpObjects);
    await proxy.inPlace('ipvs');
    assert.match(await ask('outside', '10.96.0.1'), /^[ab] /);
    assert.equal(ipvs.servers().length, 5);
  });

  test('Services of SCTP are answered in all three modes, and a connection outlives the changes of the mode', async () => {
    const line = new Line(network, 'outside', '10.96.0.1', 80);
    for (const mode of ['ipvs', 'iptables', 'nftables'] as const) {
      proxy.configure(mode);
      await proxy.inPlace(mode);
      await line.say(mode);
      for (const [from, address, number, answer] of sctpAnswers)
        assert.equal(await ask(from, address, number, 'sctp'), answer, `${from} asks ${address} in ${mode}`);
    }
    line.reset();
  });

  test('and nothing of the former mode is left, once its connections have ended', async () => {
    assert.doesNotMatch(network.run('node', 'nft', 'list', 'ruleset'), /KUBE-|WEFT-/);
    using sets = Ipsets.open(netnsPath(network.ns('node')));
    for (const name of setNames) assert.equal(sets?.count(name), undefined, name);
    // Connections that were closed in due form are kept by the kernel for two minutes: they are ended here.
    for (const one of ipvs.servers()) {
      assert.ok(ipvs.reals(one).every(({ weight }) => weight === 0));
      ipvs.deleteServer(one);
    }
    const isGone = (): boolean => !network.run('node', 'ip', 'link').includes('kube-ipvs0');
    await until(60_000, isGone, 'the link is still there');
  });
});

/** The machine is slow: each question in one of its four ways (TCP or UDP, IPv4 or IPv6), a different one each time. */
function oneWayEach(cases: readonly PacketCase[]): PacketCase[] {
  const questions = new Map<string, PacketCase[]>();
  for (const one of cases) {
    const question = one.title.slice(0, one.title.lastIndexOf(' over '));
    questions.set(question, [...(questions.get(question) ?? []), one]);
  }
  return [...questions.values()].flatMap((ways, index) => ways[index % ways.length] ?? []);
}

/** Waits for a condition that the kernel announces to nobody. */
async function until(milliseconds: number, holds: () => boolean | Promise<boolean>, otherwise: string): Promise<void> {
  for (const end = performance.now() + milliseconds; !(await holds()); await delay(100))
    assert.ok(performance.now() < end, otherwise);
}
