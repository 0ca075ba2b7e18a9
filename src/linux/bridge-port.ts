// Ports of a bridge through rtnetlink (linux/if_bridge.h, linux/neighbour.h): their settings, and who is behind them.
import type { Mac } from '../net/address.ts';
import { macBytes } from './links.ts';
import { attribute, flag, type Netlink, nested, u8 } from './netlink.ts';

const RTM_SETLINK = 19;
const RTM_NEWNEIGH = 28;
const AF_BRIDGE = 7;
const IFLA_PROTINFO = 12;
const BRPORT = { hairpin: 4, learning: 8 };
const NDA_LLADDR = 2;
const NUD_NOARP = 0x40;
const NTF_MASTER = 4;

/** Settings of a bridge port. */
export interface PortSettings {
  /** Frames may leave through the port that they came in by (a pod that reaches itself by a Service). */
  readonly hairpin: boolean;
  /** The bridge notes the sources of frames, and finds them there from then on. */
  readonly learning: boolean;
}

/** Sets up a bridge port, by its index. */
export function setPort(nl: Netlink, port: number, { hairpin, learning }: PortSettings): void {
  const body = Buffer.alloc(16);
  body.writeUInt8(AF_BRIDGE, 0);
  body.writeInt32LE(port, 4);
  nl.request({
    type: RTM_SETLINK,
    body,
    attributes: [nested(IFLA_PROTINFO, [u8(BRPORT.hairpin, hairpin ? 1 : 0), u8(BRPORT.learning, learning ? 1 : 0)])],
    what: `setting up the bridge port number ${port}`,
  });
}

/** Notes for good that a hardware address is behind a bridge port (`bridge fdb replace … master static`). */
export function pinMac(nl: Netlink, port: number, mac: Mac): void {
  const body = Buffer.alloc(12);
  body.writeUInt8(AF_BRIDGE, 0);
  body.writeInt32LE(port, 4);
  body.writeUInt16LE(NUD_NOARP, 8);
  body.writeUInt8(NTF_MASTER, 10);
  nl.request({
    type: RTM_NEWNEIGH,
    flags: flag.create | flag.replace,
    body,
    attributes: [attribute(NDA_LLADDR, macBytes(mac))],
    what: `pinning ${mac} to the bridge port number ${port}`,
  });
}
