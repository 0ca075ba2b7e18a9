// A Service port as the nftables tables hold it: one frontend for each address, with what each kind of client gets there.
import { asCidr, type Cidr, cidrContains, familyOf, type Ip, type Port } from '../../net/address.ts';
import {
  type AddressKind,
  type Backend,
  type Protocol,
  type ProxyNode,
  type ServicePortModel,
  serviceAddresses,
  servicePortName,
} from '../service-port.ts';

/**
 * Whose connections get this node's address as their source on the way to the pod, so that the answers come back
 * through this node: everybody's, those from outside of the pod network, those that a policy Local lets reach other
 * nodes (of the node's own processes, and of pods of other nodes).
 */
export type SourceNat = 'everybody' | 'outside' | 'visitors';

/** Where connections go: to one of these pods, or nowhere. */
export type Choice =
  | { readonly to: 'backends'; readonly backends: readonly Backend[] }
  | { readonly to: 'reject' }
  | { readonly to: 'drop' };

/** One (address, protocol, port) that the proxy serves on this node. */
export interface Frontend {
  readonly kind: AddressKind;
  readonly address: Ip;
  readonly protocol: Protocol;
  readonly port: Port;
  /** `namespace/name:port` of the Service. */
  readonly owner: string;
  readonly choice: Choice;
  /** What clients from outside of the cluster get, where that differs (externalTrafficPolicy: Local). */
  readonly outside?: Choice;
  readonly sourceNat: SourceNat;
  /** Session affinity: for how long after the last connection, and the Service's own address, over all of its ports. */
  readonly affinity?: { readonly seconds: number; readonly clusterIp: Ip };
  readonly by: ServicePortModel['choice'];
  /** Only these sources (loadBalancerSourceRanges); everybody where absent. */
  readonly sources?: readonly Cidr[];
}

/** The frontends of a Service port. */
export function frontends(
  model: ServicePortModel,
  node: Pick<ProxyNode, 'addresses' | 'nodePortAddresses'>,
): Frontend[] {
  const owner = servicePortName(model.name);
  const nobody: Choice = { to: model.hasAnyEndpoints ? 'drop' : 'reject' };
  const cluster = choose(model.clusterEndpoints, nobody);
  const local = choose(model.localEndpoints, nobody);
  const { affinitySeconds: seconds, clusterIp } = model;
  const affinity = seconds === undefined ? {} : { affinity: { seconds, clusterIp } };
  return serviceAddresses(model, node).map((at): Frontend => {
    const common = { ...at, owner, by: model.choice, ...affinity };
    if (at.kind === 'ClusterIP') {
      const choice = model.internalTrafficPolicy === 'Local' ? local : cluster;
      return { ...common, choice, sourceNat: 'outside' };
    }
    return {
      ...common,
      choice: cluster,
      ...(model.externalTrafficPolicy === 'Local'
        ? { outside: local, sourceNat: 'visitors' }
        : { sourceNat: 'everybody' }),
      ...(at.kind === 'LoadBalancer' ? guardedBy(model.sourceRanges, at.address, node) : {}),
    };
  });
}

const choose = (backends: readonly Backend[], otherwise: Choice): Choice =>
  backends.length > 0 ? { to: 'backends', backends } : otherwise;

/**
 * A node that is allowed is so under the balancer's address too: where that is an address of the node itself, its own
 * processes come from it.
 */
function guardedBy(
  sources: readonly Cidr[] | undefined,
  address: Ip,
  node: Pick<ProxyNode, 'addresses'>,
): { sources?: readonly Cidr[] } {
  if (sources === undefined) return {};
  const isAllowed = node.addresses.some((own) => sources.some((range) => cidrContains(range, own)));
  return {
    sources: isAllowed ? [...sources, asCidr(`${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`)] : sources,
  };
}
