// One thing of a Service in the kernel of a node, beside what the proxy wants there.
import type { IpvsScheduler, ProxyMode } from '../k8s/network-config.ts';
import type { NetnsRef } from '../linux/netns.ts';
import type { Cidr, Family } from '../net/address.ts';
import type { ProxyNode, ServicePortModel } from '../proxy/service-port.ts';

/** One thing in the kernel: an element of a map, a rule of a chain, a server. */
export interface KernelEntry {
  readonly family: Family;
  /** `map services`, `nat KUBE-SVC-…`, `virtual server`. */
  readonly place: string;
  readonly key: string;
  /** What the proxy wants there; absent where the entry is nothing of its own. */
  readonly wanted?: string;
  /** What is there; absent where there is nothing. */
  readonly found?: string;
  /** How many packets met it (in nftables, of connections their first), where it counts. */
  readonly packets?: number;
  /** How many connections a virtual or real server of IPVS has got. */
  readonly connections?: number;
  readonly state: 'as decided' | 'missing' | 'different';
}

export interface KernelInput {
  readonly mode: ProxyMode;
  readonly netns: NetnsRef;
  readonly models: readonly ServicePortModel[];
  readonly node: ProxyNode;
  /** The ranges of all pods. */
  readonly clusterCidrs: readonly Cidr[];
  /** How virtual servers choose, in the mode ipvs. */
  readonly ipvsScheduler: IpvsScheduler;
}
