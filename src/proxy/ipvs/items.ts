// Decides what a Service is in IPVS on this node: virtual servers, addresses of kube-ipvs0, elements of sets. Pure.
// The sets are filled as kube-proxy fills them (pkg/proxy/ipvs/proxier.go).
import type { IpvsScheduler } from '../../k8s/network-config.ts';
import type { IpsetElement } from '../../linux/ipset.ts';
import { type RealServer, realServerKey, type VirtualServer } from '../../linux/ipvs.ts';
import type { L4Protocol } from '../../linux/nft.ts';
import {
  type Cidr,
  cidrContains,
  type Family,
  familyOf,
  type Ip,
  type Port,
  rangeOf,
  subnetAt,
} from '../../net/address.ts';
import {
  type AddressKind,
  type Backend,
  type Protocol,
  type ProxyNode,
  type ServiceAddress,
  type ServicePortModel,
  serviceAddresses,
} from '../service-port.ts';
import type { SetName } from './sets.ts';

/** One thing in the kernel. */
export type Item =
  | { readonly kind: 'server'; readonly server: VirtualServer; readonly reals: readonly RealServer[] }
  | { readonly kind: 'address'; readonly address: Ip }
  | {
      readonly kind: 'element';
      readonly set: SetName;
      /** There is a set of each name for each family. */
      readonly family: Family;
      readonly element: IpsetElement;
    };

export interface ItemOptions {
  readonly node: Pick<ProxyNode, 'addresses' | 'nodePortAddresses'>;
  /** How virtual servers choose, unless their Service says otherwise. */
  readonly scheduler: IpvsScheduler;
}

const l4Protocols: Readonly<Record<Protocol, L4Protocol>> = { TCP: 'tcp', UDP: 'udp', SCTP: 'sctp' };

/** What a Service port needs in the kernel. Things that several need are named by each of them. */
export function itemsOf(model: ServicePortModel, options: ItemOptions): Item[] {
  const element: MakeElement = (set, parts) => ({ kind: 'element', set, family: model.family, element: parts });
  const addresses = serviceAddresses(model, options.node);
  return [
    ...addresses.map((at) => serverItem(model, at, options.scheduler)),
    ...addresses.filter((at) => isBound(at, options.node)).flatMap(({ address }) => boundItems(address, element)),
    ...addresses.flatMap((at) => [
      ...markedItems(model, at, options.node, element),
      ...unservedItems(model, at, element),
    ]),
    ...loopBackItems(model, element),
    ...(model.healthCheckNodePort === undefined
      ? []
      : [element('KUBE-HEALTH-CHECK-NODE-PORT', { port: model.healthCheckNodePort })]),
  ];
}

/** Makes an element of the sets of one family. */
type MakeElement = (set: SetName, parts: IpsetElement) => Item;

/** A node's own address is on another link already. */
const isBound = ({ kind, address }: ServiceAddress, node: ItemOptions['node']): boolean =>
  kind !== 'NodePort' && !node.addresses.includes(address);

const boundItems = (address: Ip, element: MakeElement): Item[] => [
  { kind: 'address', address },
  element('KUBE-IPVS-IPS', { ip: address }),
];

function serverItem(model: ServicePortModel, at: ServiceAddress, scheduler: IpvsScheduler): Item {
  const chosen = endpointsFor(model, at.kind);
  const reals = chosen.map(({ ip, port, weight }): RealServer => ({ ip, port, weight }));
  const keys = new Set(reals.map(realServerKey));
  // A UDP flow has no end to wait for: it is kept for as long as its endpoint answers.
  const draining =
    model.protocol === 'UDP' ? model.servingEndpoints.filter((one) => !keys.has(realServerKey(one))) : [];
  const affinity = model.affinitySeconds;
  return {
    kind: 'server',
    server: {
      address: at.address,
      protocol: l4Protocols[at.protocol],
      port: at.port,
      ...schedulerOf(model, chosen, scheduler),
      ...(affinity === undefined ? {} : { persistentSeconds: affinity }),
    },
    reals: [...reals, ...draining.map(({ ip, port }): RealServer => ({ ip, port, weight: 0 }))],
  };
}

/** Schedulers that do not weigh, and what they are called where they do. */
const weighing: Readonly<Partial<Record<IpvsScheduler, IpvsScheduler>>> = { rr: 'wrr', lc: 'wlc' };

function schedulerOf(
  model: ServicePortModel,
  chosen: readonly Backend[],
  scheduler: IpvsScheduler,
): Pick<VirtualServer, 'scheduler' | 'hashPort'> {
  if (model.choice === 'client-address') return { scheduler: 'mh' };
  // As kube-proxy: by address and port, so that one client's connections are spread.
  if (scheduler === 'mh') return { scheduler, hashPort: true };
  const [first] = chosen;
  const isWeighed = chosen.some(({ weight }) => weight !== first?.weight);
  return { scheduler: isWeighed ? (weighing[scheduler] ?? scheduler) : scheduler };
}

function policyOf(model: ServicePortModel, kind: AddressKind): 'Cluster' | 'Local' {
  return kind === 'ClusterIP' ? model.internalTrafficPolicy : model.externalTrafficPolicy;
}

/**
 * A virtual server cannot tell its clients apart: where the external policy is Local and an endpoint is, all get that
 * one. Where none is, clients within the cluster get the others, and {@link unservedItems} drops those from outside.
 */
export function endpointsFor(model: ServicePortModel, kind: AddressKind): readonly Backend[] {
  if (policyOf(model, kind) === 'Cluster') return model.clusterEndpoints;
  return kind === 'ClusterIP' || model.localEndpoints.length > 0 ? model.localEndpoints : model.clusterEndpoints;
}

/** Without any endpoint IPVS itself rejects; with endpoints elsewhere only, connections are dropped. */
function unservedItems(
  model: ServicePortModel,
  { kind, address, protocol, port }: ServiceAddress,
  element: MakeElement,
): Item[] {
  const isUnserved = policyOf(model, kind) === 'Local' && model.localEndpoints.length === 0 && model.hasAnyEndpoints;
  if (!isUnserved) return [];
  const parts = { ip: address, protocol: l4Protocols[protocol], port };
  const isForNobody = kind === 'ClusterIP' || model.clusterEndpoints.length === 0;
  return [element(isForNobody ? 'WEFT-NO-LOCAL' : 'WEFT-NO-LOCAL-OUTSIDE', parts)];
}

/** The elements by which the rules know what to masquerade, and whom to let in. */
function markedItems(
  model: ServicePortModel,
  at: ServiceAddress,
  node: ItemOptions['node'],
  element: MakeElement,
): Item[] {
  const isLocal = model.externalTrafficPolicy === 'Local';
  const parts = { ip: at.address, protocol: l4Protocols[at.protocol], port: at.port };
  switch (at.kind) {
    case 'ClusterIP':
      return [element('KUBE-CLUSTER-IP', parts)];
    case 'ExternalIP':
      return [element(isLocal ? 'KUBE-EXTERNAL-IP-LOCAL' : 'KUBE-EXTERNAL-IP', parts)];
    case 'LoadBalancer':
      return [
        element('KUBE-LOAD-BALANCER', parts),
        ...(isLocal ? [element('KUBE-LOAD-BALANCER-LOCAL', parts)] : []),
        ...(model.sourceRanges === undefined ? [] : guardItems(model.sourceRanges, parts, node, element)),
      ];
    case 'NodePort':
      return nodePortItems(parts, at.protocol, isLocal, element);
  }
}

function nodePortItems(
  parts: { readonly ip: Ip; readonly port: Port; readonly protocol: L4Protocol },
  protocol: Protocol,
  isLocal: boolean,
  element: MakeElement,
): Item[] {
  if (protocol === 'SCTP') {
    const all = element('KUBE-NODE-PORT-SCTP-HASH', parts);
    return isLocal ? [all, element('KUBE-NODE-PORT-LOCAL-SCTP-HASH', parts)] : [all];
  }
  const { port } = parts;
  const all = element(`KUBE-NODE-PORT-${protocol}`, { port });
  return isLocal ? [all, element(`KUBE-NODE-PORT-LOCAL-${protocol}`, { port })] : [all];
}

/**
 * Who may use the address of a load balancer. A node that may, may so under that address too: it is an address of the
 * node's own, so that its processes come from it.
 */
function guardItems(
  ranges: readonly Cidr[],
  parts: { readonly ip: Ip; readonly port: Port; readonly protocol: L4Protocol },
  node: ItemOptions['node'],
  element: MakeElement,
): Item[] {
  const isNodeAllowed = node.addresses.some((own) => ranges.some((range) => cidrContains(range, own)));
  return [
    element('KUBE-LOAD-BALANCER-FW', parts),
    ...ranges.flatMap(storable).map((net) => element('KUBE-LOAD-BALANCER-SOURCE-CIDR', { ...parts, net })),
    ...(isNodeAllowed ? [element('KUBE-LOAD-BALANCER-SOURCE-IP', { ...parts, ip2: parts.ip })] : []),
  ];
}

/** A set cannot hold a prefix of length 0; two of length 1 are the same. */
const storable = (range: Cidr): Cidr[] =>
  rangeOf(range).prefix > 0 ? [range] : [subnetAt(range, 1, 0), subnetAt(range, 1, 1)];

/** A pod that reaches itself through its Service must see another source, or its answer never leaves it. */
function loopBackItems(model: ServicePortModel, element: MakeElement): Item[] {
  const protocol = l4Protocols[model.protocol];
  return model.servingEndpoints
    .filter(({ local, ip }) => local && familyOf(ip) === model.family)
    .map(({ ip, port }) => element('KUBE-LOOP-BACK', { ip, port, protocol, ip2: ip }));
}
