// Decides the rules of iptables for one port of a Service: chain for chain and word for word those of kube-proxy. Pure.
import { type IptablesRule, type Match, ruleText, type Target } from '../../linux/iptables.ts';
import type { L4Protocol } from '../../linux/nft.ts';
import { type Cidr, cidrContains, type Ip } from '../../net/address.ts';
import {
  type Backend,
  backendKey,
  isExternallyAccessible,
  type ServicePortModel,
  servicePortName,
} from '../service-port.ts';
import { endpointChain, filterChains, natChains, type ServiceChains, serviceChains } from './chain-names.ts';
import { stableChoice } from './stable-choice.ts';

/** The rules of one port of a Service. */
export interface ServiceRules {
  /** What it adds to the chains that all Services share. */
  readonly shared: {
    readonly nat: Readonly<Record<'services' | 'nodePorts', readonly string[]>>;
    readonly filter: Readonly<Record<'services' | 'externalServices' | 'nodePorts' | 'firewall', readonly string[]>>;
  };
  /** Its own chains, in the table nat. */
  readonly chains: ReadonlyMap<string, readonly string[]>;
}

export interface RuleOptions {
  /** The range of all pods in the family: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly podRange?: Cidr;
  readonly nodeAddresses: readonly Ip[];
  /** Without the comments of endpoints: with thousands of them they are two fifths of all the text. */
  readonly terse: boolean;
}

/** What has been found out of a port before its rules are written. */
interface PortFacts {
  readonly model: ServicePortModel;
  readonly options: RuleOptions;
  /** `namespace/name:port`. */
  readonly title: string;
  readonly protocol: L4Protocol;
  readonly own: ServiceChains;
  /** The chain that an internal and an external connection is balanced in; undefined where nobody answers there. */
  readonly internal: string | undefined;
  readonly external: string | undefined;
  readonly isGuarded: boolean;
}

const comment = (text: string): Match => ({ match: 'comment', text });
const chain = (name: string): Target => ({ to: 'chain', chain: name });
const rule = (matches: readonly Match[], target?: Target): string =>
  ruleText(target === undefined ? { matches } : ({ matches, target } satisfies IptablesRule));
const masquerade = chain(natChains.markForMasquerade);

export function serviceRules(model: ServicePortModel, options: RuleOptions): ServiceRules {
  const own = serviceChains(model);
  const chainOf = (policy: 'Cluster' | 'Local'): string | undefined => {
    const [name, endpoints] =
      policy === 'Cluster' ? [own.cluster, model.clusterEndpoints] : [own.local, model.localEndpoints];
    return endpoints.length > 0 ? name : undefined;
  };
  const port: PortFacts = {
    model,
    options,
    title: servicePortName(model.name),
    protocol: l4(model),
    own,
    internal: chainOf(model.internalTrafficPolicy),
    external: chainOf(model.externalTrafficPolicy),
    isGuarded: model.hasAnyEndpoints && model.loadBalancerIps.length > 0 && model.sourceRanges !== undefined,
  };
  return {
    shared: {
      nat: { services: dispatch(port), nodePorts: nodePortDispatch(port) },
      filter: {
        services:
          port.internal === undefined ? [unanswered(port, model.internalTrafficPolicy, at(port, model.clusterIp))] : [],
        externalServices: unansweredOutside(port),
        nodePorts: healthCheck(port),
        firewall: model.loadBalancerIps.flatMap((ip) => (port.isGuarded ? [notLetThrough(port, ip)] : [])),
      },
    },
    chains: new Map(ownChains(port)),
  };
}

const l4 = ({ protocol }: ServicePortModel): L4Protocol =>
  (({ TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' }) as const)[protocol];

/** What is sent to an address of the Service. */
const at = ({ model, protocol }: PortFacts, address: Ip): Match[] => [
  { match: 'protocol', protocol },
  { match: 'destination', range: address },
  { match: 'destination port', port: model.port },
];

/** What is sent to a port of this node. */
const atNode = (protocol: L4Protocol, port: PortFacts['model']['port']): Match[] => [
  { match: 'protocol', protocol },
  { match: 'destination port', port },
];

function dispatch(port: PortFacts): string[] {
  const { model, title, own, internal } = port;
  const loadBalancer = port.isGuarded ? own.firewall : own.external;
  const outside = (kind: string, addresses: readonly Ip[], to: string): string[] =>
    model.hasAnyEndpoints ? addresses.map((ip) => rule([comment(`${title} ${kind}`), ...at(port, ip)], chain(to))) : [];
  return [
    ...(internal === undefined
      ? []
      : [rule([comment(`${title} cluster IP`), ...at(port, model.clusterIp)], chain(internal))]),
    ...outside('external IP', model.externalIps, own.external),
    ...outside('loadbalancer IP', model.loadBalancerIps, loadBalancer),
  ];
}

function nodePortDispatch({ model, title, protocol, own }: PortFacts): string[] {
  if (model.nodePort === undefined || !model.hasAnyEndpoints) return [];
  return [rule([comment(title), ...atNode(protocol, model.nodePort)], chain(own.external))];
}

/** Nobody answers: refused where there is nobody at all, dropped where the policy sends elsewhere for an answer. */
function unanswered({ model, title }: PortFacts, policy: 'Cluster' | 'Local', where: readonly Match[]): string {
  return policy === 'Cluster' || !model.hasAnyEndpoints
    ? rule([comment(`${title} has no endpoints`), ...where], { to: 'REJECT' })
    : rule([comment(`${title} has no local endpoints`), ...where], { to: 'DROP' });
}

function unansweredOutside(port: PortFacts): string[] {
  const { model, protocol, external } = port;
  if (external !== undefined) return [];
  const policy = model.externalTrafficPolicy;
  const nodePort =
    model.nodePort === undefined
      ? []
      : [unanswered(port, policy, [{ match: 'destination type', type: 'LOCAL' }, ...atNode(protocol, model.nodePort)])];
  return [
    ...[...model.externalIps, ...model.loadBalancerIps].map((ip) => unanswered(port, policy, at(port, ip))),
    ...nodePort,
  ];
}

function healthCheck({ model, title }: PortFacts): string[] {
  if (model.healthCheckNodePort === undefined) return [];
  const where = atNode('tcp', model.healthCheckNodePort);
  return [rule([comment(`${title} health check node port`), ...where], { to: 'ACCEPT' })];
}

function notLetThrough(port: PortFacts, ip: Ip): string {
  return rule([comment(`${port.title} traffic not accepted by ${port.own.firewall}`), ...at(port, ip)], { to: 'DROP' });
}

function* ownChains(port: PortFacts): Generator<[string, string[]]> {
  const { model, own } = port;
  const { clusterEndpoints, localEndpoints } = model;
  if (clusterEndpoints.length > 0) yield* balance(port, own.cluster, clusterEndpoints);
  if (localEndpoints.length > 0) yield* balance(port, own.local, localEndpoints);
  if (model.hasAnyEndpoints && isExternallyAccessible(model)) yield [own.external, externalEntry(port)];
  if (port.isGuarded) yield [own.firewall, letThrough(port)];
  for (const backend of model.allEndpoints) yield [endpointChain(model, backend), toEndpoint(port, backend)];
}

/** The source becomes the node's where the answer would not come back through it; then one of the endpoints. */
function balance(port: PortFacts, name: string, endpoints: readonly Backend[]): [string, string[]][] {
  const { model, title, options } = port;
  const fromElsewhere: string[] =
    name === port.internal && options.podRange !== undefined
      ? [
          rule(
            [
              comment(`${title} cluster IP`),
              ...at(port, model.clusterIp),
              { match: 'source', range: options.podRange, not: true },
            ],
            masquerade,
          ),
        ]
      : [];
  const described = (backend: Backend): Match[] =>
    options.terse ? [] : [comment(`${title} -> ${backendKey(backend)}`)];
  const before = [...fromElsewhere, ...remembered(port, endpoints, described)];
  if (model.choice === 'random' || endpoints.length === 1)
    return [[name, [...before, ...chosen(port, endpoints, described)]]];
  const { rules, parts } = stableChoice(name, endpoints, (backend) => ({
    matches: described(backend),
    chain: endpointChain(model, backend),
  }));
  return [[name, [...before, ...rules]], ...parts];
}

/** The endpoint that the client had last. */
function remembered(
  { model }: PortFacts,
  endpoints: readonly Backend[],
  described: (backend: Backend) => Match[],
): string[] {
  const seconds = model.affinitySeconds;
  if (seconds === undefined) return [];
  return endpoints.map((backend) => {
    const name = endpointChain(model, backend);
    return rule([...described(backend), { match: 'noted source', list: name, seconds }], chain(name));
  });
}

/** One at random, each as often as its weight says: of those not yet passed over it has its share. */
function chosen(
  { model }: PortFacts,
  endpoints: readonly Backend[],
  described: (backend: Backend) => Match[],
): string[] {
  let left = endpoints.reduce((sum, { weight }) => sum + weight, 0);
  return endpoints.map((backend, index) => {
    const share: Match[] = index < endpoints.length - 1 ? [{ match: 'share', part: backend.weight, of: left }] : [];
    left -= backend.weight;
    return rule([...described(backend), ...share], chain(endpointChain(model, backend)));
  });
}

/** By an address for the outside. */
function externalEntry(port: PortFacts): string[] {
  const { model, title, own, options, external } = port;
  const last = external === undefined ? [] : [rule([], chain(external))];
  const what = `for ${title} external destinations`;
  if (model.externalTrafficPolicy === 'Cluster')
    return [rule([comment(`masquerade traffic ${what}`)], masquerade), ...last];
  // Who is in the cluster reaches all endpoints, and its own address need not be seen.
  const all = model.clusterEndpoints.length > 0 ? chain(own.cluster) : undefined;
  const here: Match = { match: 'source type', type: 'LOCAL' };
  const pods: string[] =
    options.podRange === undefined || all === undefined
      ? []
      : [rule([comment(`pod traffic ${what}`), { match: 'source', range: options.podRange }], all)];
  return [
    ...pods,
    rule([comment(`masquerade LOCAL traffic ${what}`), here], masquerade),
    ...(all === undefined ? [] : [rule([comment(`route LOCAL traffic ${what}`), here], all)]),
    ...last,
  ];
}

/** Only the ranges go on; what is left keeps its destination and is dropped for it. */
function letThrough({ model, title, own, options }: PortFacts): string[] {
  const ranges = model.sourceRanges ?? [];
  const through = (range: Ip | Cidr): string =>
    rule([comment(`${title} loadbalancer IP`), { match: 'source', range }], chain(own.external));
  // Where the address is one of the node's own, its processes come from it.
  const isNodeAllowed = ranges.some((range) => options.nodeAddresses.some((own) => cidrContains(range, own)));
  return [
    ...ranges.map(through),
    ...(isNodeAllowed ? model.loadBalancerIps.map(through) : []),
    rule([comment(`other traffic to ${title} will be dropped by ${filterChains.firewall}`)]),
  ];
}

function toEndpoint({ model, title, protocol, options }: PortFacts, backend: Backend): string[] {
  const about = options.terse ? [] : [comment(title)];
  const noted: Match[] =
    model.affinitySeconds === undefined ? [] : [{ match: 'note source', list: endpointChain(model, backend) }];
  return [
    // A pod that reaches itself must see another source, or its answer never leaves it.
    rule([...about, { match: 'source', range: backend.ip }], masquerade),
    rule([...about, ...noted, { match: 'protocol', protocol }], {
      to: 'DNAT',
      address: backend.ip,
      port: backend.port,
    }),
  ];
}
