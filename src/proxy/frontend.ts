// What the proxy knows of a Service or a host port: an address that is no process's own, and who answers behind it.
import type { Cidr, Ip, Port } from '../net/address.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';

/** One address and port that pods answer. */
export interface Backend {
  readonly ip: Ip;
  readonly port: Port;
  /** The pod runs on this node. */
  readonly local: boolean;
}

/**
 * Whose connections get this node's address as their source on the way to the pod, so that the answers come back
 * through this node: everybody's, those from outside of the pod network, those of the node's own processes.
 */
export type SourceNat = 'everybody' | 'outside' | 'node' | 'nobody';

/** Where connections go: to one of these pods, or nowhere. */
export type Choice =
  | { readonly to: 'backends'; readonly backends: readonly Backend[] }
  | { readonly to: 'reject' }
  | { readonly to: 'drop' };

/** One (address, protocol, port) that the proxy serves on this node. */
export interface Frontend {
  readonly kind: 'ClusterIP' | 'NodePort' | 'LoadBalancer' | 'ExternalIP';
  readonly address: Ip;
  readonly protocol: Protocol;
  readonly port: Port;
  /** `namespace/name:port` of the Service, or of the pod. */
  readonly owner: string;
  readonly choice: Choice;
  /** What clients from outside of the cluster get, where that differs (externalTrafficPolicy: Local). */
  readonly outside?: Choice;
  readonly sourceNat: SourceNat;
  /** Session affinity by client address: for how many seconds after the last connection. */
  readonly affinitySeconds?: number;
  /** Only these sources (loadBalancerSourceRanges); everybody where absent. */
  readonly sources?: readonly Cidr[];
  /** Pods that still serve what they have, though new connections go elsewhere: their UDP flows are left alone. */
  readonly draining: readonly Backend[];
}

/** The node that the proxy runs on. */
export interface ProxyNode {
  readonly name: string;
  readonly addresses: readonly Ip[];
}

/** Names a frontend: no two of a node may be equal. */
export const frontendKey = (frontend: Pick<Frontend, 'address' | 'protocol' | 'port'>): string =>
  `${frontend.address} ${frontend.protocol} ${frontend.port}`;

export const backendKey = (backend: Pick<Backend, 'ip' | 'port'>): string => `${backend.ip} ${backend.port}`;
