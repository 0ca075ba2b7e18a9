// Neighbour entries (which MAC an address has on a link) through rtnetlink (linux/neighbour.h).
import { familyOf, type Ip, type Mac } from '../net/address.ts';
import { addressFamily, ipBytes, ipFromBytes } from './addresses.ts';
import { formatMac } from './links.ts';
import { attribute, flag, isGone, type Message, type Netlink, parseAttributes } from './netlink.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
const RTM_GETNEIGH = 30;
const NDA = { dst: 1, lladdr: 2 };
const NUD_PERMANENT = 0x80;

export interface Neighbour {
  /** The interface's index. */
  readonly link: number;
  readonly address: Ip;
  readonly mac: Mac;
  /** Whether it stays until it is deleted. */
  readonly permanent: boolean;
}

function body(link: number, address: Ip, state: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(addressFamily(familyOf(address)), 0);
  bytes.writeInt32LE(link, 4);
  bytes.writeUInt16LE(state, 8);
  return bytes;
}

/** Sets a permanent neighbour entry. */
export function replaceNeighbour(nl: Netlink, entry: Omit<Neighbour, 'permanent'>): void {
  nl.request({
    type: RTM_NEWNEIGH,
    flags: flag.create | flag.replace,
    body: body(entry.link, entry.address, NUD_PERMANENT),
    attributes: [
      attribute(NDA.dst, ipBytes(entry.address)),
      attribute(NDA.lladdr, Buffer.from(entry.mac.replaceAll(':', ''), 'hex')),
    ],
    what: `setting the neighbour ${entry.address}`,
  });
}

/** Deletes what the kernel remembers of an address on a link. False where it remembers nothing. */
export function deleteNeighbour(nl: Netlink, entry: Pick<Neighbour, 'link' | 'address'>): boolean {
  try {
    nl.request({
      type: RTM_DELNEIGH,
      body: body(entry.link, entry.address, 0),
      attributes: [attribute(NDA.dst, ipBytes(entry.address))],
      what: `deleting the neighbour ${entry.address}`,
    });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The neighbour entries that have a MAC. */
export function listNeighbours(nl: Netlink): Neighbour[] {
  const answers = nl.dump({ type: RTM_GETNEIGH, body: Buffer.alloc(12), what: 'listing the neighbours' });
  return answers.flatMap((message) => parseNeighbour(message) ?? []);
}

/** Of which address on which link an RTM_NEWNEIGH or RTM_DELNEIGH message tells; one that was forgotten has no MAC. */
export function parseNeighbourKey(message: Message): Pick<Neighbour, 'link' | 'address'> | undefined {
  const address = parseAttributes(message.body.subarray(12)).get(NDA.dst);
  if (address?.length !== 4 && address?.length !== 16) return undefined;
  return { link: message.body.readInt32LE(4), address: ipFromBytes(address) };
}

/** The entry of an RTM_NEWNEIGH or RTM_DELNEIGH message; undefined where it has no MAC or no address. */
export function parseNeighbour(message: Message): Neighbour | undefined {
  const found = parseAttributes(message.body.subarray(12));
  const [address, mac] = [found.get(NDA.dst), found.get(NDA.lladdr)];
  if ((address?.length !== 4 && address?.length !== 16) || mac?.length !== 6) return undefined;
  return {
    link: message.body.readInt32LE(4),
    address: ipFromBytes(address),
    mac: formatMac(mac),
    permanent: (message.body.readUInt16LE(8) & NUD_PERMANENT) !== 0,
  };
}
