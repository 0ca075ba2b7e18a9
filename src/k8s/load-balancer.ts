// The kinds by which load balancers are configured: MetalLB's own (metallb.io), and what a node announces by BGP.
import type { KubeObject, Resource } from './object.ts';
import type { LabelSelector } from './types.generated.ts';

/** Which Services get their addresses from a pool of their own accord, and in which order pools are tried. */
export interface ServiceAllocation {
  /** The lowest comes first; 0 or none comes last. */
  priority?: number;
  namespaces?: string[];
  namespaceSelectors?: LabelSelector[];
  serviceSelectors?: LabelSelector[];
}

export interface IPAddressPool extends KubeObject {
  spec: {
    /** Ranges: `192.0.2.0/28` or `192.0.2.4-192.0.2.9`. */
    addresses: string[];
    /** Whether Services that do not ask for the pool get addresses from it; true where absent. */
    autoAssign?: boolean;
    /** Addresses that end with .0 or .255 are left out. */
    avoidBuggyIPs?: boolean;
    serviceAllocation?: ServiceAllocation;
  };
  status?: { assignedIPv4?: number; assignedIPv6?: number; availableIPv4?: number; availableIPv6?: number };
}

/** What both kinds of advertisement say about what is announced, and by whom. */
export interface AdvertisementSpec {
  /** Names of pools; all of the namespace where neither these nor selectors are given. */
  ipAddressPools?: string[];
  ipAddressPoolSelectors?: LabelSelector[];
  /** The nodes that announce: those that any of these match; all where none are given. */
  nodeSelectors?: LabelSelector[];
  serviceSelectors?: LabelSelector[];
}

export interface L2Advertisement extends KubeObject {
  spec?: AdvertisementSpec & {
    /** The links on which it is announced; those of the node's own addresses where none are given. */
    interfaces?: string[];
    preferredNodeSelectors?: { weight: number; preference: LabelSelector }[];
  };
}

export interface BGPAdvertisement extends KubeObject {
  spec?: AdvertisementSpec & {
    /** Prefix lengths to which addresses are put together; 32 and 128 where absent. */
    aggregationLength?: number;
    aggregationLengthV6?: number;
    localPref?: number;
    /** `65000:1`, `large:65000:1:2`, or the alias of a Community. */
    communities?: string[];
    /** Names of BGPPeers; all where none are given. */
    peers?: string[];
  };
}

export interface BGPPeer extends KubeObject {
  spec: {
    myASN: number;
    peerASN: number;
    peerAddress: string;
    peerPort?: number;
    /** The address from which the session is opened. */
    sourceAddress?: string;
    /** Durations of Go: `90s`, `1m30s`. */
    holdTime?: string;
    keepaliveTime?: string;
    ebgpMultiHop?: boolean;
    password?: string;
    passwordSecret?: { name?: string; namespace?: string };
    /** The name of a BFDProfile in the same namespace. */
    bfdProfile?: string;
    nodeSelectors?: LabelSelector[];
  };
}

/** How fast two neighbours notice that the way between them is gone (RFC 5880); intervals in ms. */
export interface BFDProfile extends KubeObject {
  spec?: {
    receiveInterval?: number;
    transmitInterval?: number;
    /** After so many packets without one in return the way is gone. */
    detectMultiplier?: number;
    echoInterval?: number;
    echoMode?: boolean;
    /** Waits for the other side to begin. */
    passiveMode?: boolean;
    minimumTtl?: number;
  };
}

export interface Community extends KubeObject {
  spec?: { communities?: { name?: string; value?: string }[] };
}

/** Says which node announces a Service's address by ARP and neighbour advertisements. */
export interface ServiceL2Status extends KubeObject {
  status?: { node?: string; serviceName?: string; serviceNamespace?: string; interfaces?: { name?: string }[] };
}

/** Bidirectional forwarding detection of one session; intervals in ms. */
export interface NodeBfd {
  receiveInterval: number;
  transmitInterval: number;
  detectMultiplier: number;
  passive?: boolean;
}

/** A router outside of the cluster with which one node speaks, for load balancers alone. */
export interface NodeBgpPeer {
  /** That of the BGPPeer, with its namespace: `metallb-system/tor`. */
  name: string;
  address: string;
  asNumber: number;
  /** The own AS number in this session. */
  localAsNumber: number;
  port?: number;
  sourceAddress?: string;
  /** In s. */
  holdTime?: number;
  keepaliveTime?: number;
  multihop?: boolean;
  password?: string;
  passwordSecret?: { namespace: string; name: string };
  bfd?: NodeBfd;
}

/** A range of load balancers' addresses that one node announces. */
export interface NodeBgpRoute {
  prefix: string;
  /** The Services that are reached by it, for people: `default/web`. */
  services: string[];
  /** Names of peers of this object; all sessions with outside routers where absent. */
  peers?: string[];
  localPref?: number;
  /** `65000:1` or `large:65000:1:2`. */
  communities?: string[];
}

/**
 * What one node announces of load balancers by BGP; its name is the Node's. The node's load balancer part writes it,
 * the fabric bgp of the same node does it.
 */
export interface NodeBGPAnnouncement extends KubeObject {
  spec: { peers?: NodeBgpPeer[]; routes?: NodeBgpRoute[] };
}

const metallb = 'metallb.io';

const custom = <T extends KubeObject>(group: string, version: string, plural: string, kind: string): Resource<T> => ({
  group,
  version,
  plural,
  kind,
  namespaced: true,
});

export const ipAddressPools = custom<IPAddressPool>(metallb, 'v1beta1', 'ipaddresspools', 'IPAddressPool');
export const l2Advertisements = custom<L2Advertisement>(metallb, 'v1beta1', 'l2advertisements', 'L2Advertisement');
export const bgpAdvertisements = custom<BGPAdvertisement>(metallb, 'v1beta1', 'bgpadvertisements', 'BGPAdvertisement');
export const bgpPeers = custom<BGPPeer>(metallb, 'v1beta2', 'bgppeers', 'BGPPeer');
export const bfdProfiles = custom<BFDProfile>(metallb, 'v1beta1', 'bfdprofiles', 'BFDProfile');
export const communities = custom<Community>(metallb, 'v1beta1', 'communities', 'Community');
export const serviceL2Statuses = custom<ServiceL2Status>(metallb, 'v1beta1', 'servicel2statuses', 'ServiceL2Status');
export const nodeBgpAnnouncements: Resource<NodeBGPAnnouncement> = {
  ...custom<NodeBGPAnnouncement>('network.weft.dev', 'v1alpha1', 'nodebgpannouncements', 'NodeBGPAnnouncement'),
  namespaced: false,
};

/** Annotations by which a Service asks for an address, and by which the allocator says where it is from. */
export const loadBalancerAnnotation = {
  addresses: 'metallb.io/loadBalancerIPs',
  pool: 'metallb.io/address-pool',
  sharing: 'metallb.io/allow-shared-ip',
  allocatedFrom: 'metallb.io/ip-allocated-from-pool',
} as const;

/** The class of Services that name Weft; those that name none are Weft's too. */
export const loadBalancerClass = 'weft.dev/load-balancer';

/** An annotation of a Node: the networks that its own addresses are in, by a comma. */
export const onLinkAnnotation = 'network.weft.dev/on-link';
