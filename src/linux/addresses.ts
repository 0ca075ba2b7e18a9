// Addresses of interfaces through rtnetlink (linux/if_addr.h).
import { asIp, type Family, familyOf, formatIp, type Ip, ipToBigInt } from '../net/address.ts';
import { attribute, flag, isGone, type Message, type Netlink, parseAttributes, u32 } from './netlink.ts';

export const RTM_NEWADDR = 20;
export const RTM_DELADDR = 21;
const RTM_GETADDR = 22;
const IFA = { address: 1, local: 2, cacheInfo: 6, flags: 8 };
const RT_SCOPE_HOST = 254;
const IFA_F_NODAD = 2;
const IFA_F_NOPREFIXROUTE = 0x200;
const AF = { IPv4: 2, IPv6: 10 } as const;

/** The number of an address family in the kernel's messages. */
export const addressFamily = (family: Family): number => AF[family];

/** An address on an interface, with the length of its network's prefix. */
export interface InterfaceAddress {
  /** The interface's index. */
  readonly link: number;
  readonly address: Ip;
  readonly prefix: number;
}

/** The bytes of an address in network order. */
export function ipBytes(address: Ip): Buffer {
  const hex = ipToBigInt(address).toString(16);
  return Buffer.from(hex.padStart(familyOf(address) === 'IPv4' ? 8 : 32, '0'), 'hex');
}

export function ipFromBytes(bytes: Buffer): Ip {
  if (bytes.length === 4) return asIp(bytes.join('.'));
  return formatIp(BigInt(`0x${bytes.toString('hex')}`), 'IPv6');
}

/** struct ifa_cacheinfo: preferred for no time at all, valid for ever; then two times that only the kernel sets. */
const deprecated = Buffer.from('00000000ffffffff0000000000000000', 'hex');

function request(entry: InterfaceAddress): { body: Buffer; attributes: Buffer[] } {
  const body = Buffer.alloc(8);
  body.writeUInt8(addressFamily(familyOf(entry.address)), 0);
  body.writeUInt8(entry.prefix, 1);
  body.writeUInt32LE(entry.link, 4);
  const bytes = ipBytes(entry.address);
  return { body, attributes: [attribute(IFA.local, bytes), attribute(IFA.address, bytes)] };
}

/**
 * Gives an interface an address; does nothing where it has it. Duplicate address detection is off for IPv6: addresses
 * come from one allocator, and detection would hold each pod back for a second. With `prefixRoute: false` the kernel
 * makes no route to the address's network. With `localOnly` the kernel never chooses the address as the source of
 * what goes out: it has the scope of the host alone (IPv4), or is deprecated from its beginning (IPv6).
 */
export function replaceAddress(
  nl: Netlink,
  entry: InterfaceAddress,
  options: { readonly prefixRoute?: boolean; readonly localOnly?: boolean } = {},
): void {
  const { body, attributes } = request(entry);
  const isIpv6 = familyOf(entry.address) === 'IPv6';
  const noDad = isIpv6 ? IFA_F_NODAD : 0;
  if (options.localOnly === true && isIpv6) attributes.push(attribute(IFA.cacheInfo, deprecated));
  else if (options.localOnly === true) body.writeUInt8(RT_SCOPE_HOST, 3);
  const flags = noDad | (options.prefixRoute === false ? IFA_F_NOPREFIXROUTE : 0);
  nl.request({
    type: RTM_NEWADDR,
    flags: flag.create | flag.replace,
    body,
    attributes: [...attributes, u32(IFA.flags, flags)],
    what: `giving the address ${entry.address}/${entry.prefix} to the interface number ${entry.link}`,
  });
}

/** Takes an address from an interface. False where it was not there. */
export function deleteAddress(nl: Netlink, entry: InterfaceAddress): boolean {
  try {
    const what = `taking the address ${entry.address} from the interface number ${entry.link}`;
    nl.request({ type: RTM_DELADDR, ...request(entry), what });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** All addresses of the namespace, of both families, or of one interface (by index). */
export function listAddresses(nl: Netlink, link?: number): InterfaceAddress[] {
  const answers = nl.dump({ type: RTM_GETADDR, body: Buffer.alloc(8), what: 'listing the addresses' });
  const all = answers.flatMap((message) => parseAddress(message) ?? []);
  return link === undefined ? all : all.filter((entry) => entry.link === link);
}

/** The address of an RTM_NEWADDR or RTM_DELADDR message; undefined for other families than IP. */
export function parseAddress(message: Message): InterfaceAddress | undefined {
  const found = parseAttributes(message.body.subarray(8));
  // On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL, where present, is the interface's own.
  const bytes = found.get(IFA.local) ?? found.get(IFA.address);
  if (bytes?.length !== 4 && bytes?.length !== 16) return undefined;
  return { link: message.body.readUInt32LE(4), prefix: message.body.readUInt8(1), address: ipFromBytes(bytes) };
}
