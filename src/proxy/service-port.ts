// What the proxy knows of a port of a Service on this node: the one model that all writers read.
import { type Cidr, type Family, familyOf, type Ip, type Port } from '../net/address.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** One address and port that answer for a Service. */
export interface Backend {
  readonly ip: Ip;
  readonly port: Port;
  /** It runs on this node. */
  readonly local: boolean;
  /** It takes new connections. */
  readonly ready: boolean;
  /** It answers; not being ready, because it is about to end. */
  readonly terminating: boolean;
  /** Its share of new connections beside the others' shares; a whole number, 1 unless the Service says otherwise. */
  readonly weight: number;
}

/** `port` is the name of the port, empty where it has none. */
export interface ServicePortName {
  readonly namespace: string;
  readonly name: string;
  readonly port: string;
}

/** Which endpoints a policy lets a connection reach: all, or those of the node that it enters the Service on. */
export type TrafficPolicy = 'Cluster' | 'Local';

/** One port of a Service in one family, decided for this node. */
export interface ServicePortModel {
  readonly name: ServicePortName;
  readonly family: Family;
  readonly protocol: Protocol;
  readonly clusterIp: Ip;
  readonly port: Port;
  readonly nodePort?: Port;
  readonly externalIps: readonly Ip[];
  /** The addresses of load balancers that deliver packets unchanged (ipMode VIP). */
  readonly loadBalancerIps: readonly Ip[];
  /** Who may use the addresses of load balancers; everybody where absent. */
  readonly sourceRanges?: readonly Cidr[];
  /** Session affinity by client address: for how many seconds after the last connection. */
  readonly affinitySeconds?: number;
  readonly healthCheckNodePort?: Port;
  readonly internalTrafficPolicy: TrafficPolicy;
  readonly externalTrafficPolicy: TrafficPolicy;
  /** Who answers under the policy Cluster; empty where no policy of the Service uses it. */
  readonly clusterEndpoints: readonly Backend[];
  /** Who answers under the policy Local; empty where no policy of the Service uses it. */
  readonly localEndpoints: readonly Backend[];
  /** Everybody in one of these two. */
  readonly allEndpoints: readonly Backend[];
  /** All that still answer, though new connections may go elsewhere: their flows are left alone. */
  readonly servingEndpoints: readonly Backend[];
  /** Somebody answers somewhere: without a local endpoint a connection is dropped then, otherwise it is rejected. */
  readonly hasAnyEndpoints: boolean;
  /** How one of several endpoints is chosen: each time at random, or by the client's address, always the same one. */
  readonly choice: 'random' | 'client-address';
}

/** The node that the proxy runs on. */
export interface ProxyNode {
  readonly name: string;
  readonly addresses: readonly Ip[];
  /** Where NodePorts are open. */
  readonly nodePortAddresses: readonly Ip[];
  /** The ranges of this node's own pods, as far as known. */
  readonly podCidrs: readonly Cidr[];
  /** The label topology.kubernetes.io/zone. */
  readonly zone?: string;
}

/** `namespace/name:port`, as kube-proxy names it; without the colon where the port has no name. */
export function servicePortName({ namespace, name, port }: ServicePortName): string {
  return `${namespace}/${name}${port === '' ? '' : `:${port}`}`;
}

export const backendKey = ({ ip, port }: Pick<Backend, 'ip' | 'port'>): string =>
  familyOf(ip) === 'IPv4' ? `${ip}:${port}` : `[${ip}]:${port}`;

/** Something outside of the cluster may reach it. */
export function isExternallyAccessible(
  model: Pick<ServicePortModel, 'nodePort' | 'externalIps' | 'loadBalancerIps'>,
): boolean {
  return model.nodePort !== undefined || model.externalIps.length > 0 || model.loadBalancerIps.length > 0;
}

export type AddressKind = 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP';

/** One address and port of a Service. */
export interface ServiceAddress {
  readonly kind: AddressKind;
  readonly address: Ip;
  readonly protocol: Protocol;
  readonly port: Port;
}

/** Where a Service port is reached on this node. */
export function serviceAddresses(
  model: ServicePortModel,
  node: Pick<ProxyNode, 'nodePortAddresses'>,
): ServiceAddress[] {
  const { protocol, port, nodePort } = model;
  const at = (kind: AddressKind, addresses: readonly Ip[], number = port): ServiceAddress[] =>
    addresses.map((address) => ({ kind, address, protocol, port: number }));
  const nodeAddresses = node.nodePortAddresses.filter((address) => familyOf(address) === model.family);
  return [
    ...at('ClusterIP', [model.clusterIp]),
    ...(nodePort === undefined ? [] : at('NodePort', nodeAddresses, nodePort)),
    ...at('LoadBalancer', model.loadBalancerIps),
    ...at('ExternalIP', model.externalIps),
  ];
}

/** Names an address and port: of the Services that want it only one can have it. */
export const serviceAddressKey = ({ address, protocol, port }: Omit<ServiceAddress, 'kind'>): string =>
  `${address} ${protocol} ${port}`;
