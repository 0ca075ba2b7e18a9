// What a Service is in IPVS: its virtual servers, its addresses, its elements of sets.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { asCidr, asIp } from '../../net/address.ts';
import { backend, modelOf, port } from '../fixtures.ts';
import type { ServicePortModel } from '../service-port.ts';
import { itemKey } from './changes.ts';
import { type ItemOptions, itemsOf } from './items.ts';

const here = backend('10.244.1.2', { local: true });
const there = backend('10.244.2.2');
const model = (part: Partial<ServicePortModel> = {}): ServicePortModel =>
  modelOf([here, there], { localEndpoints: [here], ...part });
const node = { addresses: [asIp('172.18.0.2')], nodePortAddresses: [asIp('172.18.0.2')] };
const options: ItemOptions = { node, scheduler: 'rr' };
const everywhere = {
  nodePort: port(30_080),
  loadBalancerIps: [asIp('192.0.2.1')],
  externalIps: [asIp('198.51.100.1')],
};

/** Elements and addresses as one line each, virtual servers left out. */
const parts = (part: Partial<ServicePortModel>, but = options): string[] =>
  itemsOf(model(part), but)
    .filter(({ kind }) => kind !== 'server')
    .map(itemKey)
    .sort();
/** Virtual servers: `address port scheduler: endpoint*weight …`. */
const servers = (part: Partial<ServicePortModel>, but = options): string[] =>
  itemsOf(model(part), but).flatMap((item) =>
    item.kind === 'server'
      ? [
          `${item.server.address} ${item.server.port} ${item.server.scheduler}: ${item.reals.map(({ ip, weight }) => `${ip}*${weight}`).join(' ')}`,
        ]
      : [],
  );
const sets = (part: Partial<ServicePortModel>): string[] => parts(part).filter((text) => /LOCAL|SOURCE|FW/.test(text));

test('a ClusterIP is a virtual server, an address, and what the rules look for', () => {
  assert.deepEqual(servers({}), ['10.96.0.1 80 rr: 10.244.1.2*1 10.244.2.2*1']);
  assert.deepEqual(parts({}), [
    'KUBE-CLUSTER-IP 10.96.0.1,tcp:80',
    'KUBE-IPVS-IPS 10.96.0.1',
    'KUBE-LOOP-BACK 10.244.1.2,tcp:8080,10.244.1.2',
    'address 10.96.0.1',
  ]);
});

test('a NodePort is a virtual server at each node address, which stays where it is', () => {
  assert.deepEqual(servers(everywhere), [
    '10.96.0.1 80 rr: 10.244.1.2*1 10.244.2.2*1',
    '172.18.0.2 30080 rr: 10.244.1.2*1 10.244.2.2*1',
    '192.0.2.1 80 rr: 10.244.1.2*1 10.244.2.2*1',
    '198.51.100.1 80 rr: 10.244.1.2*1 10.244.2.2*1',
  ]);
  assert.deepEqual(parts(everywhere), [
    'KUBE-CLUSTER-IP 10.96.0.1,tcp:80',
    'KUBE-EXTERNAL-IP 198.51.100.1,tcp:80',
    'KUBE-IPVS-IPS 10.96.0.1',
    'KUBE-IPVS-IPS 192.0.2.1',
    'KUBE-IPVS-IPS 198.51.100.1',
    'KUBE-LOAD-BALANCER 192.0.2.1,tcp:80',
    'KUBE-LOOP-BACK 10.244.1.2,tcp:8080,10.244.1.2',
    'KUBE-NODE-PORT-TCP 30080',
    'address 10.96.0.1',
    'address 192.0.2.1',
    'address 198.51.100.1',
  ]);
});

test('an external address that is the node’s own is not bound a second time', () => {
  const own = parts({ externalIps: [asIp('172.18.0.2')] });
  assert.ok(own.includes('KUBE-EXTERNAL-IP 172.18.0.2,tcp:80'));
  assert.ok(!own.some((text) => text.endsWith('address 172.18.0.2') || text.startsWith('KUBE-IPVS-IPS 172')));
});

describe('the policy Local', () => {
  const external = { ...everywhere, externalTrafficPolicy: 'Local' } as const;

  test('leads to the endpoints of the node, and marks the addresses as such', () => {
    assert.deepEqual(servers(external).slice(1), [
      '172.18.0.2 30080 rr: 10.244.1.2*1',
      '192.0.2.1 80 rr: 10.244.1.2*1',
      '198.51.100.1 80 rr: 10.244.1.2*1',
    ]);
    assert.deepEqual(sets(external), [
      'KUBE-EXTERNAL-IP-LOCAL 198.51.100.1,tcp:80',
      'KUBE-LOAD-BALANCER-LOCAL 192.0.2.1,tcp:80',
      'KUBE-NODE-PORT-LOCAL-TCP 30080',
    ]);
  });

  test('without an endpoint of the node serves the cluster, and drops what comes from outside', () => {
    const none = { ...external, clusterEndpoints: [there], localEndpoints: [] };
    assert.deepEqual(servers(none).slice(1, 2), ['172.18.0.2 30080 rr: 10.244.2.2*1']);
    assert.deepEqual(
      parts(none).filter((text) => text.startsWith('WEFT')),
      ['10.96.0.1', '172.18.0.2', '192.0.2.1', '198.51.100.1']
        .slice(1)
        .map((ip) => `WEFT-NO-LOCAL-OUTSIDE ${ip},tcp:${ip.startsWith('172') ? 30_080 : 80}`),
    );
  });

  test('of a ClusterIP without an endpoint of the node drops for everybody', () => {
    const internal = { internalTrafficPolicy: 'Local', localEndpoints: [] } as const;
    assert.deepEqual(servers(internal), ['10.96.0.1 80 rr: ']);
    assert.ok(parts(internal).includes('WEFT-NO-LOCAL 10.96.0.1,tcp:80'));
  });

  test('without any endpoint anywhere leaves the rejection to IPVS', () => {
    const none = { clusterEndpoints: [], localEndpoints: [], servingEndpoints: [], hasAnyEndpoints: false };
    assert.deepEqual(
      parts({ ...external, ...none, internalTrafficPolicy: 'Local' }).filter((text) => text.startsWith('WEFT')),
      [],
    );
  });
});

test('who may use a load balancer is in the sets, everybody as two halves, and the node under its address', () => {
  const of = (...ranges: string[]): string[] =>
    sets({ loadBalancerIps: [asIp('192.0.2.1')], sourceRanges: ranges.map(asCidr) });
  assert.deepEqual(of('198.51.100.0/24'), [
    'KUBE-LOAD-BALANCER-FW 192.0.2.1,tcp:80',
    'KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.1,tcp:80,198.51.100.0/24',
  ]);
  assert.deepEqual(of('0.0.0.0/0'), [
    'KUBE-LOAD-BALANCER-FW 192.0.2.1,tcp:80',
    'KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.1,tcp:80,0.0.0.0/1',
    'KUBE-LOAD-BALANCER-SOURCE-CIDR 192.0.2.1,tcp:80,128.0.0.0/1',
    'KUBE-LOAD-BALANCER-SOURCE-IP 192.0.2.1,tcp:80,192.0.2.1',
  ]);
});

test('NodePorts of SCTP are in sets with addresses, for a bitmap of ports does not know them', () => {
  const sctp = parts({ protocol: 'SCTP', nodePort: port(30_080), externalTrafficPolicy: 'Local' });
  assert.ok(sctp.includes('KUBE-NODE-PORT-SCTP-HASH 172.18.0.2,sctp:30080'));
  assert.ok(sctp.includes('KUBE-NODE-PORT-LOCAL-SCTP-HASH 172.18.0.2,sctp:30080'));
  assert.ok(parts({ protocol: 'UDP', nodePort: port(30_080) }).includes('KUBE-NODE-PORT-UDP 30080'));
});

test('a UDP endpoint that only serves what it has keeps its flows', () => {
  const udp = { protocol: 'UDP', clusterEndpoints: [there] } as const;
  assert.deepEqual(servers(udp), ['10.96.0.1 80 rr: 10.244.2.2*1 10.244.1.2*0']);
  assert.deepEqual(servers({ clusterEndpoints: [there] }), ['10.96.0.1 80 rr: 10.244.2.2*1']);
});

test('the scheduler is the one that is set, unless the Service says otherwise', () => {
  const scheduler = (part: Partial<ServicePortModel>, set: ItemOptions['scheduler']): string =>
    servers(part, { ...options, scheduler: set })[0]
      ?.split(' ')[2]
      ?.replace(':', '') ?? '';
  const weighed = { clusterEndpoints: [here, { ...there, weight: 3 }] };
  assert.equal(scheduler({}, 'lc'), 'lc');
  assert.equal(scheduler(weighed, 'rr'), 'wrr');
  assert.equal(scheduler(weighed, 'lc'), 'wlc');
  assert.equal(scheduler(weighed, 'sed'), 'sed');
  assert.equal(scheduler({ choice: 'client-address' }, 'rr'), 'mh');
  const ports = itemsOf(model(), { ...options, scheduler: 'mh' }).map((item) => item.kind === 'server' && item.server);
  assert.deepEqual(ports[0] && { ...ports[0] }, {
    ...{ address: '10.96.0.1', protocol: 'tcp', port: 80 },
    ...{ scheduler: 'mh', hashPort: true },
  });
});

test('session affinity is persistence of the virtual server; the port of health checks is let in', () => {
  const [item] = itemsOf(model({ affinitySeconds: 600 }), options);
  assert.equal(item?.kind === 'server' && item.server.persistentSeconds, 600);
  assert.ok(parts({ healthCheckNodePort: port(32_000) }).includes('KUBE-HEALTH-CHECK-NODE-PORT 32000'));
});
