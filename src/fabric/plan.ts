// What a fabric wants the kernel of a node to hold: typed data, each with the object that asks for it.
import type { Cidr, Ip, Mac } from '../net/address.ts';
import type { WireguardKey } from '../net/wireguard-key.ts';

/** A VXLAN device: one for all other nodes, which are told apart by its forwarding entries. */
export interface FabricVxlan {
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

/** A WireGuard device: one for all other nodes, which are its peers. */
export interface FabricWireguard {
  readonly kind: 'wireguard';
  readonly name: string;
  readonly mtu: number;
  /** The UDP port on which it listens. */
  readonly port: number;
  /** That of the node's key pair; the private one is given to the kernel only. */
  readonly publicKey: WireguardKey;
  readonly owner: string;
}

export type FabricLink = FabricVxlan | FabricWireguard;

/** Another node as the peer of a WireGuard device. */
export interface FabricWireguardPeer {
  readonly link: string;
  readonly publicKey: WireguardKey;
  readonly endpoint: Ip;
  readonly port: number;
  /** The ranges that are sent to it, and the only sources that are accepted from it. */
  readonly allowed: readonly Cidr[];
  readonly owner: string;
}

/** Packets from a range are looked up in a table before the main one. */
export interface FabricRule {
  readonly from: Cidr;
  readonly table: number;
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
  /** The next hop; absent where the link alone tells the way. */
  readonly via?: Ip;
  /** The interface, where the next hop alone does not tell it: the next hop is then taken to be on that link. */
  readonly link?: string;
  /** Where there are several routes to one destination, the one with the least is taken. Default: the kernel's. */
  readonly metric?: number;
  /** The table that it is in; the main one where absent. */
  readonly table?: number;
  /** There is no way: what has no route of a longer prefix is refused. */
  readonly unreachable?: boolean;
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
  /** One a destination and table, sorted by it. */
  readonly routes: readonly FabricRoute[];
  readonly neighbours: readonly FabricNeighbour[];
  readonly forwarding: readonly FabricForwarding[];
  readonly wireguardPeers: readonly FabricWireguardPeer[];
  readonly rules: readonly FabricRule[];
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
  wireguardPeers: [],
  rules: [],
  sysctls: [],
  problems: [],
};
