// Network interfaces through rtnetlink: bridges, veth pairs, their settings (linux/if_link.h).
import { familyOf, type Ip, type Mac } from '../net/address.ts';
import { ipBytes, ipFromBytes } from './addresses.ts';
import { interfaceIndex } from './libc.ts';
import {
  attribute,
  flag,
  isGone,
  type Message,
  type Netlink,
  nested,
  parseAttributes,
  readText,
  text,
  u8,
  u32,
} from './netlink.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
const RTM_GETLINK = 18;

const IFLA = {
  address: 1,
  ifname: 3,
  mtu: 4,
  link: 5,
  master: 10,
  linkinfo: 18,
  netnsId: 37,
  group: 27,
  netnsFd: 28,
  extMask: 29,
};
const INFO = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 };
const BRPORT_MODE_HAIRPIN = 4;
const VETH_PEER = 1;
const VXLAN = { id: 1, local: 4, learning: 7, port: 15, local6: 17 };
const IFF_UP = 1;
const IFF_LOWER_UP = 1 << 16;

export interface Link {
  readonly index: number;
  readonly name: string;
  /** What the driver calls itself: `bridge`, `veth`, `vxlan`; absent for physical ones and lo. */
  readonly kind?: string;
  readonly mac?: Mac;
  readonly mtu: number;
  readonly up: boolean;
  /** Up and with a carrier. */
  readonly running: boolean;
  /** The index of the bridge (or other master) that it is a port of. */
  readonly master?: number;
  /** The index of its peer or lower device, maybe in another namespace. */
  readonly peer?: number;
  /** As a bridge port: whether frames may leave through the port that they came in by. */
  readonly hairpin?: boolean;
  /** Of a VXLAN device. */
  readonly vxlan?: VxlanData;
}

/** What makes a VXLAN device. */
export interface VxlanData {
  /** The network identifier. */
  readonly vni: number;
  /** The UDP port that it listens on and sends to. */
  readonly port: number;
  /** The address that it sends from. */
  readonly local?: Ip;
  /** Whether it learns from what it gets behind which address a hardware address is. */
  readonly learning: boolean;
}

/** Which interface: by its index, or by its name. */
export type LinkRef = number | string;

function header(index: number, flags = 0, change = 0, family = 0): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt8(family, 0);
  body.writeInt32LE(index, 4);
  body.writeUInt32LE(flags, 8);
  body.writeUInt32LE(change, 12);
  return body;
}

const target = (link: LinkRef): { body: Buffer; attributes: Buffer[] } =>
  typeof link === 'number'
    ? { body: header(link), attributes: [] }
    : { body: header(0), attributes: [text(IFLA.ifname, link)] };

/** All interfaces of the namespace. */
export function listLinks(nl: Netlink): Link[] {
  const answers = nl.dump({ type: RTM_GETLINK, body: header(0), what: 'listing the interfaces' });
  return answers.map(parseLink);
}

/** The interface, or undefined where there is none. */
export function findLink(nl: Netlink, link: LinkRef): Link | undefined {
  try {
    const [answer] = nl.query({ type: RTM_GETLINK, ...target(link), what: `looking for the interface ${link}` });
    return answer === undefined ? undefined : parseLink(answer);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/**
 * The index of an interface in the calling thread's namespace, or undefined where there is none. Unlike
 * {@link findLink} it does not wait for those who change interfaces at that moment (RTNL).
 */
export function linkIndex(name: string): number | undefined {
  return interfaceIndex(name);
}

/** The interface of an RTM_NEWLINK or RTM_DELLINK message. */
export function parseLink(message: Message): Link {
  const flags = message.body.readUInt32LE(8);
  const found = parseAttributes(message.body.subarray(16));
  const info = parseAttributes(found.get(IFLA.linkinfo) ?? Buffer.alloc(0));
  const kind = readText(info.get(INFO.kind));
  const port = parseAttributes(info.get(INFO.slaveData) ?? Buffer.alloc(0));
  const mac = found.get(IFLA.address);
  const master = found.get(IFLA.master)?.readUInt32LE();
  const peer = found.get(IFLA.link)?.readUInt32LE();
  const hairpin =
    readText(info.get(INFO.slaveKind)) === 'bridge' ? port.get(BRPORT_MODE_HAIRPIN)?.readUInt8() : undefined;
  const vxlan = kind === 'vxlan' ? parseVxlan(info.get(INFO.data) ?? Buffer.alloc(0)) : undefined;
  return {
    index: message.body.readInt32LE(4),
    name: readText(found.get(IFLA.ifname)) ?? '',
    mtu: found.get(IFLA.mtu)?.readUInt32LE() ?? 0,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_LOWER_UP) !== 0,
    ...(kind === undefined ? {} : { kind }),
    ...(mac?.length === 6 ? { mac: formatMac(mac) } : {}),
    ...(master === undefined ? {} : { master }),
    ...(peer === undefined ? {} : { peer }),
    ...(hairpin === undefined ? {} : { hairpin: hairpin !== 0 }),
    ...(vxlan === undefined ? {} : { vxlan }),
  };
}

function parseVxlan(data: Buffer): VxlanData {
  const found = parseAttributes(data);
  const local = found.get(VXLAN.local) ?? found.get(VXLAN.local6);
  return {
    vni: found.get(VXLAN.id)?.readUInt32LE() ?? 0,
    port: found.get(VXLAN.port)?.readUInt16BE() ?? 0,
    learning: (found.get(VXLAN.learning)?.readUInt8() ?? 0) !== 0,
    ...(local === undefined ? {} : { local: ipFromBytes(local) }),
  };
}

export function formatMac(bytes: Buffer): Mac {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join(':') as Mac;
}

/** A hardware address as it travels. */
export function macBytes(mac: Mac): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

/** What an interface gets when it is made. */
export interface NewLink {
  readonly name: string;
  readonly mac?: Mac;
  readonly mtu?: number;
  readonly up?: boolean;
  /** The bridge to join at once, by index. */
  readonly master?: number;
}

const newLinkAttributes = (link: NewLink): Buffer[] => [
  text(IFLA.ifname, link.name),
  ...(link.mac === undefined ? [] : [attribute(IFLA.address, macBytes(link.mac))]),
  ...(link.mtu === undefined ? [] : [u32(IFLA.mtu, link.mtu)]),
  ...(link.master === undefined ? [] : [u32(IFLA.master, link.master)]),
];

function addLink(nl: Netlink, link: NewLink, kind: string, data: readonly Buffer[]): void {
  const up = link.up === true ? IFF_UP : 0;
  nl.request({
    type: RTM_NEWLINK,
    flags: flag.create | flag.exclusive,
    body: header(0, up, up),
    attributes: [
      ...newLinkAttributes(link),
      nested(IFLA.linkinfo, [text(INFO.kind, kind), ...(data.length === 0 ? [] : [nested(INFO.data, data)])]),
    ],
    what: `making the ${kind} ${link.name}`,
  });
}

/** Makes a bridge; throws NetlinkError (EEXIST) where the name is taken. */
export function createBridge(nl: Netlink, link: NewLink): void {
  addLink(nl, link, 'bridge', []);
}

/** Makes a link that leads nowhere, for addresses. Throws NetlinkError (EOPNOTSUPP) where the kernel has no such links. */
export function createDummy(nl: Netlink, link: NewLink): void {
  addLink(nl, link, 'dummy', []);
}

/** Makes an intermediate functional block: what is redirected to it passes its queue and goes on where it came from. */
export function createIfb(nl: Netlink, link: NewLink): void {
  addLink(nl, link, 'ifb', []);
}

/**
 * Makes a VXLAN device. It is bound to no other link: the route to the remote address decides, so that it outlives its
 * links. Throws NetlinkError (EEXIST) where the name, or the VNI at that port, is taken.
 */
export function createVxlan(nl: Netlink, link: NewLink, { vni, port, local, learning }: VxlanData): void {
  const portBytes = Buffer.alloc(2);
  portBytes.writeUInt16BE(port);
  addLink(nl, link, 'vxlan', [
    u32(VXLAN.id, vni),
    attribute(VXLAN.port, portBytes),
    u8(VXLAN.learning, learning ? 1 : 0),
    ...(local === undefined
      ? []
      : [attribute(familyOf(local) === 'IPv4' ? VXLAN.local : VXLAN.local6, ipBytes(local))]),
  ]);
}

/** Makes a WireGuard device; it has no key, no port and no peers yet. Throws NetlinkError (EEXIST, EOPNOTSUPP). */
export function createWireguard(nl: Netlink, link: NewLink): void {
  addLink(nl, link, 'wireguard', []);
}

/** The other end of a veth pair; `netns` is an open descriptor of the namespace that it is made in. */
export interface NewPeer extends Omit<NewLink, 'master' | 'up'> {
  readonly netns?: number;
}

/**
 * Makes a veth pair, the peer directly in its own namespace, so that it never appears in this one. The peer cannot
 * be set up yet (the kernel has no pair at that moment). Throws NetlinkError (EEXIST) where one of the names is taken.
 */
export function createVeth(nl: Netlink, link: NewLink, peer: NewPeer): void {
  const attributes = [
    header(0),
    ...newLinkAttributes(peer),
    ...(peer.netns === undefined ? [] : [u32(IFLA.netnsFd, peer.netns)]),
  ];
  addLink(nl, link, 'veth', [nested(VETH_PEER, attributes)]);
}

/** What can be changed of an interface; what is absent stays as it is. */
export interface LinkChange {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: Mac;
  readonly name?: string;
  /** The bridge to join, by index; 0 leaves the present one. */
  readonly master?: number;
  /** An open descriptor of the namespace to move to. */
  readonly netns?: number;
}

/** Changes an interface; throws NetlinkError (ENODEV) where there is none. */
export function changeLink(nl: Netlink, link: number, change: LinkChange): void {
  const attributes = [
    ...(change.mtu === undefined ? [] : [u32(IFLA.mtu, change.mtu)]),
    ...(change.mac === undefined ? [] : [attribute(IFLA.address, macBytes(change.mac))]),
    ...(change.name === undefined ? [] : [text(IFLA.ifname, change.name)]),
    ...(change.master === undefined ? [] : [u32(IFLA.master, change.master)]),
    ...(change.netns === undefined ? [] : [u32(IFLA.netnsFd, change.netns)]),
  ];
  const [flags, mask] = change.up === undefined ? [0, 0] : [change.up ? IFF_UP : 0, IFF_UP];
  nl.request({
    type: RTM_NEWLINK,
    body: header(link, flags, mask),
    attributes,
    what: `changing the interface number ${link}`,
  });
}

/** Deletes an interface (of a veth pair: both ends). False where there was none. */
export function deleteLink(nl: Netlink, link: LinkRef): boolean {
  try {
    nl.request({ type: RTM_DELLINK, ...target(link), what: `deleting the interface ${link}` });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/**
 * Deletes several interfaces at once: they are put into a group that nothing else uses, and the group is deleted. The
 * kernel waits some 20 ms for its readers (RCU) at each deletion, and here once for all, on another thread. Those that
 * are gone already are left out. The interfaces are gone (RTM_DELLINK says so) long before the promise is fulfilled.
 */
export async function deleteLinks(nl: Netlink, links: readonly number[], group: number): Promise<void> {
  for (const link of links) {
    try {
      const what = `putting the interface number ${link} into a group`;
      nl.request({ type: RTM_NEWLINK, body: header(link), attributes: [u32(IFLA.group, group)], what });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  try {
    const what = `deleting the interfaces of group ${group}`;
    await nl.requestInBackground({
      type: RTM_DELLINK,
      body: header(0),
      attributes: [u32(IFLA.group, group)],
      what,
    });
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
