// The rules are word for word those of kube-proxy; what is expected here are the facts of its own test of all rules.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { EndpointSlice, Service, ServiceSpec } from '../../k8s/types.generated.ts';
import { asCidr, asIp, type Family, type Ip } from '../../net/address.ts';
import { serviceModel } from '../service-model.ts';
import { type ServicePortModel, servicePortName } from '../service-port.ts';
import { endpointChain, serviceChains } from './chain-names.ts';
import { RuleTables } from './rule-tables.ts';
import { type RuleOptions, serviceRules } from './service-rules.ts';

const nodeAddresses: Ip[] = [asIp('192.168.0.2')];
const options: RuleOptions = { podRange: asCidr('10.0.0.0/8'), nodeAddresses, terse: false };
const node = { name: 'node', addresses: nodeAddresses, nodePortAddresses: nodeAddresses, podCidrs: [] };

/** The model of `NAMESPACE/NAME:p80` whose endpoints listen on port 80; those that begin with a `*` are the node's. */
function model(
  id: string,
  clusterIP: string,
  endpoints: readonly string[],
  spec: Partial<ServiceSpec> = {},
  balancer?: string,
): ServicePortModel {
  const [namespace = '', name = ''] = id.split('/');
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { namespace, name },
    spec: { type: 'ClusterIP', clusterIP, ports: [{ name: 'p80', port: 80, protocol: 'TCP' }], ...spec },
    ...(balancer !== undefined && { status: { loadBalancer: { ingress: [{ ip: balancer }] } } }),
  };
  const slice: EndpointSlice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { namespace, name: `${name}-1` },
    addressType: clusterIP.includes(':') ? 'IPv6' : 'IPv4',
    ports: [{ name: 'p80', port: 80, protocol: 'TCP' }],
    endpoints: endpoints.map((text) => ({
      addresses: [text.replace('*', '')],
      nodeName: text.startsWith('*') ? 'node' : 'other',
    })),
  };
  const [only] = serviceModel(service, [slice], node, { externalIps: true });
  return only ?? assert.fail(`${id} has no model`);
}

const withNodePort = (nodePort: number): Partial<ServiceSpec> => ({
  ports: [{ name: 'p80', port: 80, protocol: 'TCP', nodePort }],
});

const services = [
  model('ns1/svc1', '172.30.0.41', ['10.180.0.1']),
  model(
    'ns2/svc2',
    '172.30.0.42',
    ['10.180.0.2'],
    {
      ...withNodePort(3001),
      type: 'LoadBalancer',
      externalTrafficPolicy: 'Local',
      externalIPs: ['192.168.99.22'],
      healthCheckNodePort: 30_000,
    },
    '1.2.3.4',
  ),
  model('ns3/svc3', '172.30.0.43', ['10.180.0.3'], { ...withNodePort(3003), type: 'NodePort' }),
  model('ns4/svc4', '172.30.0.44', ['10.180.0.4', '*10.180.0.5'], { type: 'NodePort', externalIPs: ['192.168.99.33'] }),
  model(
    'ns5/svc5',
    '172.30.0.45',
    ['10.180.0.3'],
    {
      ...withNodePort(3002),
      type: 'LoadBalancer',
      loadBalancerSourceRanges: [' 203.0.113.0/25'],
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds: 10_800 } },
    },
    '5.6.7.8',
  ),
  model('ns6/svc6', '172.30.0.46', []),
];

function tables(models: readonly ServicePortModel[], family: Family = 'IPv4', rules = options): RuleTables {
  const tables = new RuleTables({ family, nodePortAddresses: 'all', localhostNodePorts: true, tcpBeLiberal: false });
  for (const one of models) tables.set(servicePortName(one.name), serviceRules(one, rules));
  return tables;
}

/** All rules of a first write as `CHAIN RULE`, by table, without the jumps of the kernel's own chains. */
function written(models: readonly ServicePortModel[], family: Family = 'IPv4', rules = options): Map<string, string[]> {
  const { changes } = tables(models, family, rules).plan(new Map());
  return new Map(
    changes.map(({ table, chains }) => [
      table,
      chains.flatMap(({ name, rules: all }) => all.map((text) => `${name} ${text}`)),
    ]),
  );
}

const about = (text: string): string => `-m comment --comment ${text.includes(' ') ? `"${text}"` : text}`;
const tcp = (to: string): string => {
  const [address = '', port = ''] = to.split(':');
  return `-m tcp -p tcp ${address === '' ? '' : `-d ${address} `}--dport ${port}`;
};

describe('the rules of kube-proxy', () => {
  test('in the table filter', () => {
    assert.deepEqual(written(services).get('filter')?.sort(), [
      `KUBE-EXTERNAL-SERVICES ${about('ns2/svc2:p80 has no local endpoints')} -m addrtype --dst-type LOCAL ${tcp(':3001')} -j DROP`,
      `KUBE-EXTERNAL-SERVICES ${about('ns2/svc2:p80 has no local endpoints')} ${tcp('1.2.3.4:80')} -j DROP`,
      `KUBE-EXTERNAL-SERVICES ${about('ns2/svc2:p80 has no local endpoints')} ${tcp('192.168.99.22:80')} -j DROP`,
      `KUBE-FIREWALL ${about('block incoming localnet connections')} -d 127.0.0.0/8 ! -s 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP`,
      `KUBE-FORWARD ${about('kubernetes forwarding conntrack rule')} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
      `KUBE-FORWARD ${about('kubernetes forwarding rules')} -m mark --mark 0x4000/0x4000 -j ACCEPT`,
      'KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP',
      `KUBE-NODEPORTS ${about('ns2/svc2:p80 health check node port')} ${tcp(':30000')} -j ACCEPT`,
      `KUBE-PROXY-FIREWALL ${about('ns5/svc5:p80 traffic not accepted by KUBE-FW-NUKIZ6OKUXPJNT4C')} ${tcp('5.6.7.8:80')} -j DROP`,
      `KUBE-SERVICES ${about('ns6/svc6:p80 has no endpoints')} ${tcp('172.30.0.46:80')} -j REJECT`,
    ]);
  });

  test('in the shared chains of the table nat, in their order', () => {
    const nat = written(services).get('nat') ?? [];
    const of = (chain: string): string[] =>
      nat.filter((line) => line.startsWith(`${chain} `)).map((line) => line.slice(chain.length + 1));
    assert.deepEqual(of('KUBE-SERVICES'), [
      `${about('ns1/svc1:p80 cluster IP')} ${tcp('172.30.0.41:80')} -j KUBE-SVC-XPGD46QRK7WJZT7O`,
      `${about('ns2/svc2:p80 cluster IP')} ${tcp('172.30.0.42:80')} -j KUBE-SVC-GNZBNJ2PO5MGZ6GT`,
      `${about('ns2/svc2:p80 external IP')} ${tcp('192.168.99.22:80')} -j KUBE-EXT-GNZBNJ2PO5MGZ6GT`,
      `${about('ns2/svc2:p80 loadbalancer IP')} ${tcp('1.2.3.4:80')} -j KUBE-EXT-GNZBNJ2PO5MGZ6GT`,
      `${about('ns3/svc3:p80 cluster IP')} ${tcp('172.30.0.43:80')} -j KUBE-SVC-X27LE4BHSL4DOUIK`,
      `${about('ns4/svc4:p80 cluster IP')} ${tcp('172.30.0.44:80')} -j KUBE-SVC-4SW47YFZTEDKD3PK`,
      `${about('ns4/svc4:p80 external IP')} ${tcp('192.168.99.33:80')} -j KUBE-EXT-4SW47YFZTEDKD3PK`,
      `${about('ns5/svc5:p80 cluster IP')} ${tcp('172.30.0.45:80')} -j KUBE-SVC-NUKIZ6OKUXPJNT4C`,
      `${about('ns5/svc5:p80 loadbalancer IP')} ${tcp('5.6.7.8:80')} -j KUBE-FW-NUKIZ6OKUXPJNT4C`,
      '-m comment --comment "kubernetes service nodeports; NOTE: this must be the last rule in this chain" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS',
    ]);
    assert.deepEqual(of('KUBE-NODEPORTS'), [
      `${about('ns2/svc2:p80')} ${tcp(':3001')} -j KUBE-EXT-GNZBNJ2PO5MGZ6GT`,
      `${about('ns3/svc3:p80')} ${tcp(':3003')} -j KUBE-EXT-X27LE4BHSL4DOUIK`,
      `${about('ns5/svc5:p80')} ${tcp(':3002')} -j KUBE-EXT-NUKIZ6OKUXPJNT4C`,
    ]);
    assert.deepEqual(of('KUBE-POSTROUTING'), [
      '-m mark ! --mark 0x4000/0x4000 -j RETURN',
      '-j MARK --xor-mark 0x4000',
      `${about('kubernetes service traffic requiring SNAT')} -j MASQUERADE --random-fully`,
    ]);
    assert.deepEqual(of('KUBE-MARK-MASQ'), ['-j MARK --or-mark 0x4000']);
  });

  test('in the chains of each Service and endpoint', () => {
    const own = (written(services).get('nat') ?? []).filter((line) => /^KUBE-(?:SVC|SVL|EXT|FW|SEP)-/.test(line));
    const endpoint = (chain: string, title: string, ip: string, noted = ''): string[] => [
      `KUBE-SEP-${chain} ${about(title)} -s ${ip} -j KUBE-MARK-MASQ`,
      `KUBE-SEP-${chain} ${about(title)} ${noted}-m tcp -p tcp -j DNAT --to-destination ${ip}:80`,
    ];
    const masquerade = (chain: string, title: string, ip: string): string =>
      `KUBE-SVC-${chain} ${about(`${title} cluster IP`)} ${tcp(`${ip}:80`)} ! -s 10.0.0.0/8 -j KUBE-MARK-MASQ`;
    const outside = (chain: string, title: string): string[] => [
      `KUBE-EXT-${chain} ${about(`masquerade traffic for ${title} external destinations`)} -j KUBE-MARK-MASQ`,
      `KUBE-EXT-${chain} -j KUBE-SVC-${chain}`,
    ];
    const [one, two, three, four, five] = [
      ...['XPGD46QRK7WJZT7O', 'GNZBNJ2PO5MGZ6GT', 'X27LE4BHSL4DOUIK', '4SW47YFZTEDKD3PK', 'NUKIZ6OKUXPJNT4C'],
    ] as const;
    const local = '-m addrtype --src-type LOCAL';
    const noted = 'KUBE-SEP-I77PXRDZVX7PMWMN';
    assert.deepEqual(own, [
      masquerade(one, 'ns1/svc1:p80', '172.30.0.41'),
      `KUBE-SVC-${one} ${about('ns1/svc1:p80 -> 10.180.0.1:80')} -j KUBE-SEP-SXIVWICOYRO3J4NJ`,
      ...endpoint('SXIVWICOYRO3J4NJ', 'ns1/svc1:p80', '10.180.0.1'),
      masquerade(two, 'ns2/svc2:p80', '172.30.0.42'),
      `KUBE-SVC-${two} ${about('ns2/svc2:p80 -> 10.180.0.2:80')} -j KUBE-SEP-RS4RBKLTHTF2IUXJ`,
      `KUBE-EXT-${two} ${about('pod traffic for ns2/svc2:p80 external destinations')} -s 10.0.0.0/8 -j KUBE-SVC-${two}`,
      `KUBE-EXT-${two} ${about('masquerade LOCAL traffic for ns2/svc2:p80 external destinations')} ${local} -j KUBE-MARK-MASQ`,
      `KUBE-EXT-${two} ${about('route LOCAL traffic for ns2/svc2:p80 external destinations')} ${local} -j KUBE-SVC-${two}`,
      ...endpoint('RS4RBKLTHTF2IUXJ', 'ns2/svc2:p80', '10.180.0.2'),
      masquerade(three, 'ns3/svc3:p80', '172.30.0.43'),
      `KUBE-SVC-${three} ${about('ns3/svc3:p80 -> 10.180.0.3:80')} -j KUBE-SEP-OYPFS5VJICHGATKP`,
      ...outside(three, 'ns3/svc3:p80'),
      ...endpoint('OYPFS5VJICHGATKP', 'ns3/svc3:p80', '10.180.0.3'),
      masquerade(four, 'ns4/svc4:p80', '172.30.0.44'),
      `KUBE-SVC-${four} ${about('ns4/svc4:p80 -> 10.180.0.4:80')} -m statistic --mode random --probability 0.5000000000 -j KUBE-SEP-UKSFD7AGPMPPLUHC`,
      `KUBE-SVC-${four} ${about('ns4/svc4:p80 -> 10.180.0.5:80')} -j KUBE-SEP-C6EBXVWJJZMIWKLZ`,
      ...outside(four, 'ns4/svc4:p80'),
      ...endpoint('UKSFD7AGPMPPLUHC', 'ns4/svc4:p80', '10.180.0.4'),
      ...endpoint('C6EBXVWJJZMIWKLZ', 'ns4/svc4:p80', '10.180.0.5'),
      masquerade(five, 'ns5/svc5:p80', '172.30.0.45'),
      `KUBE-SVC-${five} ${about('ns5/svc5:p80 -> 10.180.0.3:80')} -m recent --name ${noted} --rcheck --seconds 10800 --reap -j ${noted}`,
      `KUBE-SVC-${five} ${about('ns5/svc5:p80 -> 10.180.0.3:80')} -j ${noted}`,
      ...outside(five, 'ns5/svc5:p80'),
      `KUBE-FW-${five} ${about('ns5/svc5:p80 loadbalancer IP')} -s 203.0.113.0/25 -j KUBE-EXT-${five}`,
      `KUBE-FW-${five} ${about('other traffic to ns5/svc5:p80 will be dropped by KUBE-PROXY-FIREWALL')}`,
      ...endpoint('I77PXRDZVX7PMWMN', 'ns5/svc5:p80', '10.180.0.3', `-m recent --name ${noted} --set `),
    ]);
  });

  test('a node that a load balancer lets in is let in under the balancer’s own address', () => {
    const ranges = { ...withNodePort(3002), type: 'LoadBalancer', loadBalancerSourceRanges: ['192.168.0.0/24'] };
    const nat = written([model('a/b', '172.30.0.1', ['10.180.0.1'], ranges, '5.6.7.8')]).get('nat') ?? [];
    const sources = nat.flatMap((line) => /^KUBE-FW-\S+ .* -s (\S+) /.exec(line)?.[1] ?? []);
    assert.deepEqual(sources, ['192.168.0.0/24', '5.6.7.8']);
  });

  test('under the policies Local the chains of local endpoints are used', () => {
    const policies = {
      ...withNodePort(3001),
      type: 'NodePort',
      internalTrafficPolicy: 'Local',
      externalTrafficPolicy: 'Local',
    };
    const one = model('a/b', '172.30.0.1', ['10.180.0.1', '*10.180.0.2'], policies);
    const nat = written([one]).get('nat') ?? [];
    const { local, external } = serviceChains(one);
    assert.ok(
      nat.some((line) => line.startsWith('KUBE-SERVICES ') && line.endsWith(`-d 172.30.0.1 --dport 80 -j ${local}`)),
    );
    assert.deepEqual(
      nat.filter((line) => line.startsWith(`${local} `)).map((line) => line.split(' ').at(-1)),
      ['KUBE-MARK-MASQ', endpointChain(one, one.localEndpoints[0] ?? assert.fail())],
    );
    assert.equal(nat.filter((line) => line.startsWith(`${external} `)).at(-1), `${external} -j ${local}`);
  });

  test('in IPv6, addresses of endpoints with a port are in brackets, and NodePorts are not on ::1', () => {
    const ipv6 = { ...options, podRange: asCidr('fd44::/16') };
    const nat = written([model('a/b', 'fd96::1', ['fd44::5'])], 'IPv6', ipv6).get('nat') ?? [];
    assert.ok(nat.some((line) => line.endsWith('-j DNAT --to-destination [fd44::5]:80')));
    assert.ok(nat.some((line) => line.endsWith('--dst-type LOCAL ! -d ::1/128 -j KUBE-NODEPORTS')));
    assert.ok(!(written([], 'IPv6', ipv6).get('filter') ?? []).some((line) => line.startsWith('KUBE-FIREWALL ')));
  });

  test('terse, only the comments of endpoints are left out', () => {
    const nat = written(services, 'IPv4', { ...options, terse: true }).get('nat') ?? [];
    assert.ok(nat.every((line) => !line.startsWith('KUBE-SEP-') || !line.includes('comment')));
    assert.ok(nat.every((line) => !line.includes(' -> ')));
    assert.equal(nat.length, written(services).get('nat')?.length);
  });
});

test('each endpoint is chosen as often as its weight says', () => {
  const base = model('a/b', '172.30.0.1', ['10.180.0.1', '10.180.0.2', '10.180.0.3', '10.180.0.4']);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 4, maxLength: 4 }), (weights) => {
      const clusterEndpoints = base.clusterEndpoints.map((backend, at) => ({ ...backend, weight: weights[at] ?? 0 }));
      const rules = serviceRules({ ...base, clusterEndpoints }, options).chains.get(serviceChains(base).cluster) ?? [];
      let left = 1;
      const chances = new Map<string, number>();
      for (const rule of rules.filter((text) => text.includes('KUBE-SEP-'))) {
        const chance = Number(/--probability (\S+)/.exec(rule)?.[1] ?? 1);
        chances.set(rule.split(' ').at(-1) ?? '', left * chance);
        left *= 1 - chance;
      }
      const all = weights.reduce((sum, weight) => sum + weight, 0);
      for (const backend of clusterEndpoints) {
        assert.ok(Math.abs((chances.get(endpointChain(base, backend)) ?? 0) - backend.weight / all) < 1e-6);
      }
    }),
  );
});

describe('the choice by the client’s address', () => {
  const base: ServicePortModel = {
    ...model('a/b', '172.30.0.1', ['10.180.0.1', '10.180.0.2', '10.180.0.3', '10.180.0.4', '10.180.0.5']),
    choice: 'client-address',
  };
  /** The endpoint chain of each of the 1024 pairs of hashes, found as the kernel finds it: by the first rule that matches. */
  const found = (one: ServicePortModel): string[] => {
    const { chains } = serviceRules(one, options);
    const lead = (rules: readonly string[], value: number): string => {
      const matching = rules.find((rule) => {
        const node = /--cluster-local-node (\d+)/.exec(rule)?.[1];
        return !rule.includes('KUBE-MARK-MASQ') && (node === undefined || Number(node) === value + 1);
      });
      return matching?.split(' ').at(-1) ?? assert.fail();
    };
    const values = [...Array(32).keys()];
    return values.flatMap((first) => {
      const part = lead(chains.get(serviceChains(one).cluster) ?? [], first);
      return values.map((second) => lead(chains.get(part) ?? [], second));
    });
  };

  test('shares clients out about evenly', () => {
    const slots = found(base);
    for (const backend of base.clusterEndpoints) {
      const count = slots.filter((chain) => chain === endpointChain(base, backend)).length;
      assert.ok(count > 150 && count < 260, String(count));
    }
  });

  test('gives only the clients of an endpoint that goes to others', () => {
    const [gone, ...clusterEndpoints] = base.clusterEndpoints;
    const [before, after] = [found(base), found({ ...base, clusterEndpoints })];
    for (const [slot, chain] of before.entries())
      if (chain !== endpointChain(base, gone ?? assert.fail())) assert.equal(after[slot], chain);
  });

  test('adds chains whose names are those of Services, so that they go when nobody needs them', () => {
    for (const chain of serviceRules(base, options).chains.keys())
      assert.match(chain, /^KUBE-(?:SVC|SEP)-[A-Z2-7]{16}$/);
  });
});
