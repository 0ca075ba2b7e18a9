// Forwarding entries of VXLAN devices (behind which address a hardware address is) through rtnetlink (linux/neighbour.h).
import type { Ip, Mac } from '../net/address.ts';
import { ipBytes, ipFromBytes } from './addresses.ts';
import { formatMac, macBytes } from './links.ts';
import { RTM_DELNEIGH, RTM_NEWNEIGH } from './neighbours.ts';
import { attribute, flag, isGone, type Message, type Netlink, parseAttributes } from './netlink.ts';

const RTM_GETNEIGH = 30;
const AF_BRIDGE = 7;
const NDA = { dst: 1, lladdr: 2 };
const NUD_PERMANENT = 0x80;
/** The entry is the device's own, not that of a bridge above it. */
const NTF_SELF = 2;

export interface ForwardingEntry {
  /** The index of the VXLAN device. */
  readonly link: number;
  readonly mac: Mac;
  /** The address to which frames for it are sent. */
  readonly remote: Ip;
}

function body(link: number): Buffer {
  const bytes = Buffer.alloc(12);
  bytes.writeUInt8(AF_BRIDGE, 0);
  bytes.writeInt32LE(link, 4);
  bytes.writeUInt16LE(NUD_PERMANENT, 8);
  bytes.writeUInt8(NTF_SELF, 10);
  return bytes;
}

const attributes = ({ mac, remote }: ForwardingEntry): Buffer[] => [
  attribute(NDA.dst, ipBytes(remote)),
  attribute(NDA.lladdr, macBytes(mac)),
];

/** Sets the one remote address of a hardware address, for good. */
export function replaceForwarding(nl: Netlink, entry: ForwardingEntry): void {
  nl.request({
    type: RTM_NEWNEIGH,
    flags: flag.create | flag.replace,
    body: body(entry.link),
    attributes: attributes(entry),
    what: `setting the forwarding entry of ${entry.mac} to ${entry.remote}`,
  });
}

/** Deletes an entry. False where there was no such one. */
export function deleteForwarding(nl: Netlink, entry: ForwardingEntry): boolean {
  try {
    const what = `deleting the forwarding entry of ${entry.mac}`;
    nl.request({ type: RTM_DELNEIGH, body: body(entry.link), attributes: attributes(entry), what });
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** The entries of a device that name a remote address. */
export function listForwarding(nl: Netlink, link: number): ForwardingEntry[] {
  const answers = nl.dump({ type: RTM_GETNEIGH, body: body(link), what: 'listing the forwarding entries' });
  return answers.flatMap((message) => parseForwarding(message) ?? []).filter((entry) => entry.link === link);
}

/** The entry of an RTM_NEWNEIGH or RTM_DELNEIGH message; undefined where it is none of a VXLAN device. */
export function parseForwarding(message: Message): ForwardingEntry | undefined {
  if (message.body.readUInt8(0) !== AF_BRIDGE) return undefined;
  const found = parseAttributes(message.body.subarray(12));
  const [remote, mac] = [found.get(NDA.dst), found.get(NDA.lladdr)];
  if ((remote?.length !== 4 && remote?.length !== 16) || mac?.length !== 6) return undefined;
  return { link: message.body.readInt32LE(4), mac: formatMac(mac), remote: ipFromBytes(remote) };
}
