// WireGuard devices through generic netlink (linux/wireguard.h): the key, the port, the peers.
import { addressAt, asCidr, type Cidr, familyOf, type Ip, rangeOf } from '../net/address.ts';
import { keyBytes, keyFromBytes, type WireguardKey } from '../net/wireguard-key.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { GenericNetlink, u16 } from './generic-netlink.ts';
import { attribute, nested, parseAttributes, parseList, u8, u32 } from './netlink.ts';
import type { NetnsRef } from './netns.ts';

const CMD = { getDevice: 0, setDevice: 1 };
const DEVICE = { index: 1, privateKey: 3, publicKey: 4, listenPort: 6, peers: 8 };
const PEER = { publicKey: 1, flags: 3, endpoint: 4, keepalive: 5, allowedIps: 9 };
const PEER_FLAG = { remove: 1, replaceAllowedIps: 2 };
const ALLOWED = { family: 1, address: 2, prefix: 3 };
/** As which the kernel reports the key of a device that has none. */
const noKey = keyFromBytes(Buffer.alloc(32));

/** Another end, by its public key. */
export interface WireguardPeer {
  readonly publicKey: WireguardKey;
  /** Where packets for it are sent; the kernel follows it when it speaks from elsewhere. */
  readonly endpoint?: { readonly address: Ip; readonly port: number };
  /** The ranges that are sent to it, and the only sources that are accepted from it. */
  readonly allowed: readonly Cidr[];
}

export interface WireguardDevice {
  /** Undefined while it has no key. */
  readonly publicKey?: WireguardKey;
  /** The UDP port on which it listens; 0 while it is down and none was chosen. */
  readonly port: number;
  readonly peers: readonly WireguardPeer[];
}

/** The WireGuard devices of one namespace. */
export class Wireguard implements Disposable {
  readonly #nl: GenericNetlink;

  private constructor(nl: GenericNetlink) {
    this.#nl = nl;
  }

  /** Undefined where the kernel has no WireGuard. */
  static open(netns?: NetnsRef): Wireguard | undefined {
    const nl = GenericNetlink.open('wireguard', 1, netns);
    return nl === undefined ? undefined : new Wireguard(nl);
  }

  [Symbol.dispose](): void {
    this.#nl.close();
  }

  /** Gives a device its private key and its port. A key that differs ends all sessions. */
  configure(link: number, { privateKey, port }: { readonly privateKey: WireguardKey; readonly port: number }): void {
    const attributes = [attribute(DEVICE.privateKey, keyBytes(privateKey)), u16(DEVICE.listenPort, port)];
    this.#set(link, attributes, `configuring the WireGuard device number ${link}`);
  }

  /**
   * Adds a peer, or gives it this endpoint and these ranges in place of what it has. A range that another peer has
   * moves to this one. The peer is greeted at once: of two nodes that learn of each other, the one that learns last
   * begins the session, and nobody waits for the repetition of what came too early (5 s).
   */
  setPeer(link: number, { publicKey, endpoint, allowed }: WireguardPeer): void {
    const identity = attribute(PEER.publicKey, keyBytes(publicKey));
    const settings = [
      identity,
      u32(PEER.flags, PEER_FLAG.replaceAllowedIps),
      ...(endpoint === undefined ? [] : [attribute(PEER.endpoint, socketAddress(endpoint))]),
      nested(PEER.allowedIps, allowed.map(encodeRange)),
    ];
    const what = `setting the WireGuard peer ${publicKey}`;
    this.#setPeer(link, settings, what);
    if (endpoint === undefined) return;
    // Switching keepalive on sends one at once; it is not wanted for longer.
    this.#setPeer(link, [identity, u16(PEER.keepalive, 1)], what);
    this.#setPeer(link, [identity, u16(PEER.keepalive, 0)], what);
  }

  /** Forgets a peer and its session; does nothing where there is none. */
  removePeer(link: number, publicKey: WireguardKey): void {
    const attributes = [attribute(PEER.publicKey, keyBytes(publicKey)), u32(PEER.flags, PEER_FLAG.remove)];
    this.#setPeer(link, attributes, `removing the WireGuard peer ${publicKey}`);
  }

  /** A device with its peers. Throws NetlinkError (ENODEV, EOPNOTSUPP) where it is none of WireGuard. */
  device(link: number): WireguardDevice {
    const answers = this.#nl.dump({
      command: CMD.getDevice,
      attributes: [u32(DEVICE.index, link)],
      what: `reading the WireGuard device number ${link}`,
    });
    let publicKey: WireguardKey | undefined;
    let port = 0;
    const peers = new Map<WireguardKey, WireguardPeer>();
    for (const found of answers) {
      const key = found.get(DEVICE.publicKey);
      if (key !== undefined) publicKey = keyFromBytes(key);
      port = found.get(DEVICE.listenPort)?.readUInt16LE() ?? port;
      for (const entry of parseList(found.get(DEVICE.peers) ?? Buffer.alloc(0))) {
        const peer = parsePeer(entry);
        // A peer whose ranges do not fit into one message goes on in the next, without its endpoint.
        const begun = peers.get(peer.publicKey);
        peers.set(peer.publicKey, { ...peer, ...begun, allowed: [...(begun?.allowed ?? []), ...peer.allowed] });
      }
    }
    const hasKey = publicKey !== undefined && publicKey !== noKey;
    return { ...(hasKey && { publicKey }), port, peers: [...peers.values()] };
  }

  #setPeer(link: number, attributes: readonly Buffer[], what: string): void {
    this.#set(link, [nested(DEVICE.peers, [nested(0, attributes)])], what);
  }

  #set(link: number, attributes: readonly Buffer[], what: string): void {
    this.#nl.request({ command: CMD.setDevice, attributes: [u32(DEVICE.index, link), ...attributes], what });
  }
}

/** Whether the kernel of this machine has WireGuard, also as a module that is loaded when it is asked for. */
export function hasWireguard(): boolean {
  using wireguard = Wireguard.open();
  return wireguard !== undefined;
}

function encodeRange(range: Cidr): Buffer {
  const { prefix } = rangeOf(range);
  return nested(0, [
    u16(ALLOWED.family, addressFamily(familyOf(range))),
    attribute(ALLOWED.address, ipBytes(addressAt(range, 0))),
    u8(ALLOWED.prefix, prefix),
  ]);
}

function parsePeer(payload: Buffer): WireguardPeer {
  const found = parseAttributes(payload);
  const key = found.get(PEER.publicKey);
  if (key === undefined) throw new Error('the kernel lists a WireGuard peer without a key');
  const endpoint = parseSocketAddress(found.get(PEER.endpoint));
  const allowed = parseList(found.get(PEER.allowedIps) ?? Buffer.alloc(0)).flatMap((entry) => {
    const range = parseAttributes(entry);
    const [address, prefix] = [range.get(ALLOWED.address), range.get(ALLOWED.prefix)?.readUInt8()];
    return address === undefined || prefix === undefined ? [] : [asCidr(`${ipFromBytes(address)}/${prefix}`)];
  });
  return { publicKey: keyFromBytes(key), ...(endpoint !== undefined && { endpoint }), allowed };
}

/** struct sockaddr_in or sockaddr_in6: the family in the machine's order, the port in the network's. */
function socketAddress({ address, port }: { readonly address: Ip; readonly port: number }): Buffer {
  const isV4 = familyOf(address) === 'IPv4';
  const out = Buffer.alloc(isV4 ? 16 : 28);
  out.writeUInt16LE(addressFamily(familyOf(address)), 0);
  out.writeUInt16BE(port, 2);
  ipBytes(address).copy(out, isV4 ? 4 : 8);
  return out;
}

function parseSocketAddress(bytes: Buffer | undefined): WireguardPeer['endpoint'] {
  if (bytes === undefined || (bytes.length !== 16 && bytes.length !== 28)) return undefined;
  const address = bytes.length === 16 ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
  return { address: ipFromBytes(address), port: bytes.readUInt16BE(2) };
}
