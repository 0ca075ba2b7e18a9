// What a fabric wants the kernel of a node to hold: typed data, each with the object that asks for it.
import type { Cidr, Ip, Mac } from '../net/address.ts';

/** A VXLAN device: one for all other nodes, which are told apart by its forwarding entries. */
export interface FabricLink {
  readonly kind: 'vxlan';
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly vni: number;
  /** The UDP port at every node. */
  readonly port: number;
  /** The address of the underlay from which it sends. */
  readonly local: Ip;
  readonly owner: string;
}

export interface FabricAddress {
  readonly link: string;
  readonly address: Ip;
  readonly prefix: number;
  readonly owner: string;
}

/** A route that this node needs. */
export interface FabricRoute {
  readonly to: Cidr;
  readonly via: Ip;
  /** The interface, where the next hop alone does not tell it: the next hop is then taken to be on that link. */
  readonly link?: string;
  /** Where there are several routes to one destination, the one with the least is taken. Default: the kernel's. */
  readonly metric?: number;
  /** The largest packet that the node itself sends that way, where it is less than the link's. */
  readonly mtu?: number;
  /** The object that asks for it: `Node worker2`. */
  readonly owner: string;
}

/** The hardware address of a next hop on a link. */
export interface FabricNeighbour {
  readonly link: string;
  readonly address: Ip;
  readonly mac: Mac;
  readonly owner: string;
}

/** To which node of the underlay frames for a hardware address are sent. */
export interface FabricForwarding {
  readonly link: string;
  readonly mac: Mac;
  readonly remote: Ip;
  readonly owner: string;
}

/** A value under /proc/sys/net, with slashes. */
export interface FabricSysctl {
  readonly key: string;
  readonly value: string;
  readonly owner: string;
}

/** Something in the objects that cannot be followed. */
export interface FabricProblem {
  readonly owner: string;
  readonly reason: string;
}

export interface FabricPlan {
  readonly links: readonly FabricLink[];
  readonly addresses: readonly FabricAddress[];
  /** One a destination, sorted by it. */
  readonly routes: readonly FabricRoute[];
  readonly neighbours: readonly FabricNeighbour[];
  readonly forwarding: readonly FabricForwarding[];
  readonly sysctls: readonly FabricSysctl[];
  readonly problems: readonly FabricProblem[];
  /** Where it is there: what the plan waits for; the kernel is left as it is until then. */
  readonly waitsFor?: string;
}

export const emptyPlan: FabricPlan = {
  links: [],
  addresses: [],
  routes: [],
  neighbours: [],
  forwarding: [],
  sysctls: [],
  problems: [],
};
