// The case tables by which a Service proxy is judged: who asks which address of which Service, and who answers. Data.
// They are kube-proxy's own questions (its proxier_test.go), to be asked with real packets in every proxy mode.
//
// The network is that of namespaces.ts. One letter is an endpoint: a (pod of this node), c (pod of the other node).
import type { KubeObject } from '../../src/k8s/object.ts';
import type { Endpoint, EndpointSlice, Node, Service, ServiceSpec } from '../../src/k8s/types.generated.ts';
import type { Family } from '../../src/net/address.ts';
import type { ProxyMode } from '../../src/proxy/writer.ts';

/**
 * Who asks: a pod of this node that is no endpoint; the endpoint a itself; a process of this node; a client outside of
 * the cluster; a pod of the other node, and the other node itself, that ask an address of this node.
 */
export type Client = 'pod' | 'self' | 'node' | 'outside' | 'visitor' | 'neighbour';

/** What is asked: an address of the Service (localhost: its NodePort on 127.0.0.1); a port that its ClusterIP does not have; an address that no Service has. */
export type Target = 'ClusterIP' | 'NodePort' | 'localhost' | 'LoadBalancer' | 'ExternalIP' | 'other port' | 'nobody';

/**
 * Who answers: letters of endpoints, each followed by `*` where it sees another address than the client's own; or
 * `drop`, or `reject`.
 */
type Outcome = string;

interface ServiceCase {
  readonly rule: string;
  readonly spec?: ServiceSpec;
  /** Letters of endpoints; `t`: terminating and serving, `!`: terminating only, `u`: unready; `1`, `2`: hint for z1, z2. */
  readonly endpoints: string;
  readonly expect: { readonly [T in Target]?: { readonly [C in Client]?: Outcome } };
  /** Modes in which it is so; all of them where absent. */
  readonly modes?: readonly ProxyMode[];
}

const internalLocal: ServiceSpec = { internalTrafficPolicy: 'Local' };
const externalLocal: ServiceSpec = { externalTrafficPolicy: 'Local' };
const all = (outcome: Outcome) => ({ pod: outcome, self: outcome, node: outcome, outside: outcome });
/** To anybody's NodePort, balancer address and external IP under the policy Cluster: the node's address is seen. */
const everybody = (outcome: Outcome) => ({
  NodePort: { ...all(outcome), visitor: outcome, neighbour: outcome },
  LoadBalancer: all(outcome),
  ExternalIP: all(outcome),
});

const serviceCases: readonly ServiceCase[] = [
  {
    rule: 'policies Cluster',
    endpoints: 'a c',
    expect: {
      ClusterIP: { pod: 'a c', self: 'a* c', node: 'a* c*', outside: 'a* c*' },
      'other port': all('reject'),
      ...everybody('a* c*'),
    },
  },
  {
    rule: 'one endpoint on this node',
    endpoints: 'a',
    expect: { ClusterIP: { pod: 'a', self: 'a*' }, ...everybody('a*') },
  },
  {
    rule: 'one endpoint on another node',
    endpoints: 'c',
    expect: { ClusterIP: { pod: 'c', self: 'c' }, ...everybody('c*') },
  },
  { rule: 'no endpoints', endpoints: '', expect: { ClusterIP: all('reject'), ...everybody('reject') } },
  { rule: 'unready endpoints only', endpoints: 'au cu', expect: { ClusterIP: all('reject'), ...everybody('reject') } },
  {
    rule: 'one of two is unready',
    endpoints: 'au c',
    expect: { ClusterIP: { pod: 'c', node: 'c*' }, ...everybody('c*') },
  },

  {
    rule: 'external policy Local, endpoints here and there',
    spec: externalLocal,
    endpoints: 'a c',
    expect: {
      ClusterIP: { pod: 'a c', self: 'a* c', node: 'a* c*', outside: 'a* c*' },
      NodePort: { pod: 'a c', self: 'a* c', node: 'a* c*', outside: 'a', neighbour: 'a' },
      LoadBalancer: { pod: 'a c', self: 'a* c', node: 'a* c*', outside: 'a' },
      ExternalIP: { pod: 'a c', self: 'a* c', node: 'a* c*', outside: 'a' },
    },
  },
  {
    rule: 'external policy Local, endpoints elsewhere only',
    spec: externalLocal,
    endpoints: 'c',
    expect: {
      ClusterIP: { pod: 'c', node: 'c*', outside: 'c*' },
      NodePort: { pod: 'c', node: 'c*', outside: 'drop', neighbour: 'drop' },
      LoadBalancer: { pod: 'c', node: 'c*', outside: 'drop' },
      ExternalIP: { pod: 'c', node: 'c*', outside: 'drop' },
    },
  },
  {
    rule: 'external policy Local, a pod that comes by the address of another node',
    spec: externalLocal,
    endpoints: 'a c',
    // kube-proxy does not masquerade it, and so an endpoint of a third node answers past the node that was asked.
    expect: { NodePort: { visitor: 'a* c*' } },
    modes: ['nftables', 'ipvs'],
  },
  {
    rule: 'external policy Local, no endpoints',
    spec: externalLocal,
    endpoints: '',
    expect: {
      ClusterIP: all('reject'),
      NodePort: all('reject'),
      LoadBalancer: all('reject'),
      ExternalIP: all('reject'),
    },
  },
  {
    rule: 'internal policy Local, endpoints here and there',
    spec: internalLocal,
    endpoints: 'a c',
    expect: { ClusterIP: { pod: 'a', self: 'a*', node: 'a*', outside: 'a*' }, ...everybody('a* c*') },
  },
  {
    rule: 'internal policy Local, endpoints elsewhere only',
    spec: internalLocal,
    endpoints: 'c',
    expect: { ClusterIP: all('drop'), 'other port': all('reject'), ...everybody('c*') },
  },
  {
    rule: 'internal policy Local, no endpoints',
    spec: internalLocal,
    endpoints: '',
    expect: { ClusterIP: all('reject'), ...everybody('reject') },
  },
  {
    rule: 'both policies Local, endpoints here and there',
    spec: { ...internalLocal, ...externalLocal },
    endpoints: 'a c',
    expect: {
      ClusterIP: { pod: 'a', node: 'a*' },
      NodePort: { pod: 'a c', node: 'a* c*', outside: 'a' },
      LoadBalancer: { pod: 'a c', node: 'a* c*', outside: 'a' },
    },
  },
  {
    rule: 'both policies Local, endpoints elsewhere only',
    spec: { ...internalLocal, ...externalLocal },
    endpoints: 'c',
    expect: {
      ClusterIP: { pod: 'drop', node: 'drop' },
      NodePort: { pod: 'c', node: 'c*', outside: 'drop' },
      LoadBalancer: { pod: 'c', node: 'c*', outside: 'drop' },
    },
  },

  {
    rule: 'terminating and ready',
    endpoints: 'at c',
    expect: { ClusterIP: { pod: 'c', node: 'c*' }, ...everybody('c*') },
  },
  {
    rule: 'all terminate',
    endpoints: 'at ct',
    expect: { ClusterIP: { pod: 'a c', node: 'a* c*' }, ...everybody('a* c*') },
  },
  { rule: 'all terminate, one serves', endpoints: 'at c!', expect: { ClusterIP: { pod: 'a' }, ...everybody('a*') } },
  {
    rule: 'all terminate, none serves',
    endpoints: 'a! c!',
    expect: { ClusterIP: all('reject'), ...everybody('reject') },
  },
  {
    rule: 'terminating here, ready there, internal policy Local',
    spec: internalLocal,
    endpoints: 'at c',
    expect: { ClusterIP: { pod: 'a', node: 'a*' }, ...everybody('c*') },
  },
  {
    rule: 'terminating here, ready there, external policy Local',
    spec: externalLocal,
    endpoints: 'at c',
    expect: {
      ClusterIP: { pod: 'c', node: 'c*' },
      NodePort: { pod: 'c', node: 'c*', outside: 'a' },
      LoadBalancer: { pod: 'c', node: 'c*', outside: 'a' },
      ExternalIP: { outside: 'a' },
    },
  },
  {
    rule: 'all terminate, external policy Local',
    spec: externalLocal,
    endpoints: 'at ct',
    expect: { ClusterIP: { pod: 'a c' }, NodePort: { pod: 'a c', outside: 'a' }, LoadBalancer: { outside: 'a' } },
  },
  {
    rule: 'terminating elsewhere only, external policy Local',
    spec: externalLocal,
    endpoints: 'ct',
    expect: { ClusterIP: { pod: 'c' }, NodePort: { pod: 'c', outside: 'drop' }, LoadBalancer: { outside: 'drop' } },
  },

  {
    rule: 'hints for the zone of this node',
    endpoints: 'a1 c2',
    expect: { ClusterIP: { pod: 'a' }, ...everybody('a*') },
  },
  { rule: 'hints for another zone', endpoints: 'a2 c1', expect: { ClusterIP: { pod: 'c' }, ...everybody('c*') } },
  { rule: 'hints that leave this zone out', endpoints: 'a2 c2', expect: { ClusterIP: { pod: 'a c' } } },
  { rule: 'an endpoint without a hint', endpoints: 'a2 c', expect: { ClusterIP: { pod: 'a c' } } },
  {
    rule: 'hints for another zone, external policy Local',
    spec: externalLocal,
    endpoints: 'a2 c1',
    expect: { ClusterIP: { pod: 'c' }, NodePort: { pod: 'c', outside: 'a' }, LoadBalancer: { outside: 'a' } },
  },

  {
    rule: 'source ranges with the client outside',
    spec: { loadBalancerSourceRanges: ['172.18.0.9/32', 'fd18::9/128'] },
    endpoints: 'a c',
    expect: {
      ClusterIP: { pod: 'a c' },
      NodePort: { pod: 'a* c*', outside: 'a* c*', neighbour: 'a* c*' },
      LoadBalancer: { pod: 'drop', self: 'drop', node: 'drop', outside: 'a* c*' },
      ExternalIP: { outside: 'a* c*', pod: 'a* c*' },
    },
  },
  {
    rule: 'source ranges with pods',
    spec: { loadBalancerSourceRanges: ['10.244.0.0/16', '10.244.1.0/24', 'fd44::/16'] },
    endpoints: 'a c',
    expect: {
      NodePort: { outside: 'a* c*' },
      LoadBalancer: { pod: 'a* c*', self: 'a* c*', node: 'drop', outside: 'drop' },
    },
  },
  {
    rule: 'source ranges with the node',
    spec: { loadBalancerSourceRanges: ['172.18.0.2/32', 'fd18::2/128'] },
    endpoints: 'a c',
    expect: { LoadBalancer: { pod: 'drop', node: 'a* c*', outside: 'drop' } },
  },
  {
    rule: 'source ranges with the client outside, external policy Local',
    spec: { ...externalLocal, loadBalancerSourceRanges: ['172.18.0.9/32', 'fd18::9/128'] },
    endpoints: 'a c',
    expect: { NodePort: { pod: 'a c', outside: 'a' }, LoadBalancer: { pod: 'drop', node: 'drop', outside: 'a' } },
  },
  {
    rule: 'source ranges, no endpoints',
    spec: { loadBalancerSourceRanges: ['172.18.0.9/32', 'fd18::9/128'] },
    endpoints: '',
    expect: { ClusterIP: all('reject'), NodePort: { outside: 'reject' }, LoadBalancer: { outside: 'reject' } },
  },
  {
    rule: 'a node port on 127.0.0.1 of the node',
    endpoints: 'a c',
    expect: { localhost: { node: 'a* c*', pod: 'reject' } },
    modes: ['nftables', 'iptables'],
  },
  {
    rule: 'a node port on 127.0.0.1 of the node, external policy Local',
    spec: externalLocal,
    endpoints: 'c',
    expect: { localhost: { node: 'c*' } },
    modes: ['nftables', 'iptables'],
  },
  {
    rule: 'a node port on 127.0.0.1 of the node, no endpoints',
    endpoints: '',
    expect: { localhost: { node: 'reject' } },
    modes: ['nftables', 'iptables'],
  },
  {
    rule: 'an address of the range that no Service has',
    endpoints: 'a',
    expect: { nobody: all('drop') },
    modes: ['nftables', 'ipvs'],
  },
];

/**
 * Where a mode answers otherwise than the tables say, because kube-proxy's rules of that mode do: nobody answers, neither
 * with a refusal.
 */
const silences: readonly { readonly modes: readonly ProxyMode[]; readonly target: Target; readonly from?: Client }[] = [
  // Rules are for the ports that Services have; what is sent to another one leaves the node.
  { modes: ['iptables'], target: 'other port' },
  // KUBE-EXTERNAL-SERVICES, which refuses, is called from INPUT and FORWARD only.
  { modes: ['iptables'], target: 'LoadBalancer', from: 'node' },
  { modes: ['iptables'], target: 'ExternalIP', from: 'node' },
];

function isSilence(mode: ProxyMode, { target, from, expected }: PacketCase): boolean {
  return (
    expected === 'reject' &&
    silences.some((one) => one.modes.includes(mode) && one.target === target && (one.from ?? from) === from)
  );
}

/** One question and its answer. */
export interface PacketCase {
  /** The rule, the client, the protocol and the target, for a person. */
  readonly title: string;
  readonly spec: ServiceSpec;
  readonly family: Family;
  readonly from: Client;
  readonly target: Target;
  readonly protocol: 'tcp' | 'udp';
  readonly address: string;
  readonly port: number;
  /** By letter: whether the endpoint sees another address than the client's. `silence`: a drop, here or farther on. */
  readonly expected: ReadonlyMap<string, boolean> | 'drop' | 'reject' | 'silence';
}

const nodeAddress = { IPv4: '172.18.0.2', IPv6: 'fd18::2' };
const port = 80;
const targetPort = 8080;
const nodePort = 30_100;

/** The addresses of the Service of a number; no other Service has them. */
const addresses = (family: Family, number: number) =>
  family === 'IPv4'
    ? { cluster: `10.96.1.${number}`, balancer: `192.0.2.${number}`, external: `198.51.100.${number}` }
    : { cluster: `fd96::${number}`, balancer: `2001:db8:1::${number}`, external: `2001:db8:2::${number}` };
const endpointAddress = {
  IPv4: { a: '10.244.1.2', c: '10.244.2.2' },
  IPv6: { a: 'fd44:1::2', c: 'fd44:2::2' },
};
const families: readonly Family[] = ['IPv4', 'IPv6'];

/** The Services, slices and the Node of the tables. */
export function caseObjects(mode: ProxyMode): KubeObject[] {
  const node: Node = {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { name: 'node', labels: { 'topology.kubernetes.io/zone': 'z1' } },
    spec: { podCIDRs: ['10.244.1.0/24', 'fd44:1::/64'] },
  };
  const objects = serviceCases.map((one, index) => {
    if (!isFor(one, mode)) return [];
    const both = families.map((family) => addresses(family, index + 1));
    const service: Service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: `case-${index + 1}`, namespace: 'default' },
      spec: {
        type: 'LoadBalancer',
        clusterIP: both[0]?.cluster ?? '',
        clusterIPs: both.map(({ cluster }) => cluster),
        externalIPs: both.map(({ external }) => external),
        ports: (['TCP', 'UDP'] as const).map((protocol) => ({
          name: protocol.toLowerCase(),
          protocol,
          port,
          targetPort,
          nodePort: nodePort + index,
        })),
        ...one.spec,
      },
      status: { loadBalancer: { ingress: both.map(({ balancer }) => ({ ip: balancer, ipMode: 'VIP' })) } },
    };
    return [service, ...families.map((family) => sliceOf(family, index, one.endpoints))];
  });
  return [node, ...objects.flat()];
}

function sliceOf(family: Family, index: number, endpoints: string): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `case-${index + 1}-${family.toLowerCase()}`,
      namespace: 'default',
      labels: { 'kubernetes.io/service-name': `case-${index + 1}` },
    },
    addressType: family,
    ports: ['TCP', 'UDP'].map((protocol) => ({ name: protocol.toLowerCase(), protocol, port: targetPort })),
    endpoints: endpoints
      .split(' ')
      .filter((text) => text !== '')
      .map((text) => endpointOf(family, text)),
  };
}

function endpointOf(family: Family, text: string): Endpoint {
  const isHere = text.startsWith('a');
  const zone = /[12]/.exec(text)?.[0];
  return {
    addresses: [endpointAddress[family][isHere ? 'a' : 'c']],
    nodeName: isHere ? 'node' : 'remote',
    conditions: {
      ready: !/[tu!]/.test(text),
      serving: !/[u!]/.test(text),
      terminating: /[t!]/.test(text),
    },
    ...(zone !== undefined && { hints: { forZones: [{ name: `z${zone}` }] } }),
  };
}

const isFor = ({ modes }: ServiceCase, mode: ProxyMode): boolean => modes?.includes(mode) ?? true;

/** All questions for a mode: every row of the tables, in both families, over TCP and UDP. */
export function packetCases(mode: ProxyMode): PacketCase[] {
  return serviceCases
    .flatMap((one, index) => (isFor(one, mode) ? families.flatMap((family) => questions(one, index, family)) : []))
    .map((one) => (isSilence(mode, one) ? { ...one, expected: 'silence' } : one));
}

function questions({ rule, expect, spec = {} }: ServiceCase, index: number, family: Family): PacketCase[] {
  const own = addresses(family, index + 1);
  const to: Readonly<Record<Target, { address: string; port: number }>> = {
    ClusterIP: { address: own.cluster, port },
    NodePort: { address: nodeAddress[family], port: nodePort + index },
    localhost: { address: '127.0.0.1', port: nodePort + index },
    LoadBalancer: { address: own.balancer, port },
    ExternalIP: { address: own.external, port },
    'other port': { address: own.cluster, port: port + 1 },
    nobody: { address: addresses(family, 250).cluster, port },
  };
  const asked = targets.filter((target) => target !== 'localhost' || family === 'IPv4');
  return asked.flatMap((target) =>
    Object.entries(expect[target] ?? {}).flatMap(([client, outcome]) =>
      (['tcp', 'udp'] as const).map((protocol) => ({
        title: `${rule}: ${client} asks ${target} over ${protocol}, ${family}`,
        spec,
        family,
        from: clients.find((one) => one === client) ?? 'pod',
        target,
        protocol,
        ...to[target],
        expected: readOutcome(outcome),
      })),
    ),
  );
}

const targets: readonly Target[] = [
  'ClusterIP',
  'NodePort',
  'localhost',
  'LoadBalancer',
  'ExternalIP',
  'other port',
  'nobody',
];
const clients: readonly Client[] = ['pod', 'self', 'node', 'outside', 'visitor', 'neighbour'];

function readOutcome(outcome: Outcome): PacketCase['expected'] {
  if (outcome === 'drop' || outcome === 'reject') return outcome;
  return new Map(outcome.split(' ').map((text) => [text.slice(0, 1), text.endsWith('*')]));
}
