// Traffic control through rtnetlink (linux/pkt_sched.h, linux/pkt_cls.h): a token bucket, and sending what comes in
// by an interface through another one first.
import { attribute, flag, type Netlink, nested, parseAttributes, readText, text, u32 } from './netlink.ts';

const RTM_NEWQDISC = 36;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const TCA = { kind: 1, options: 2 };
const TBF = { parameters: 1, rate64: 4, burst: 6 };
const U32 = { classId: 1, selector: 5, action: 7 };
const ACT = { kind: 1, options: 2 };
const MIRRED_PARAMETERS = 2;

const rootParent = 0xffffffff;
const ingressParent = 0xfffffff1;
const ingressHandle = 0xffff0000;
const tokenBucketHandle = 0x00010000;
const linkLayerEthernet = 1;
/** Steals the packet and sends it out by another interface (linux/tc_act/tc_mirred.h, linux/pkt_cls.h). */
const egressRedirect = 1;
const actionStolen = 4;

function header(link: number, handle: number, parent: number, info = 0): Buffer {
  const body = Buffer.alloc(20);
  body.writeInt32LE(link, 4);
  body.writeUInt32LE(handle, 8);
  body.writeUInt32LE(parent, 12);
  body.writeUInt32LE(info, 16);
  return body;
}

/** A token bucket: bytes per second, bytes at once, and how many bytes wait before packets are dropped. */
export interface TokenBucket {
  readonly rate: number;
  readonly burst: number;
  readonly limit: number;
}

/** Lets an interface send no faster than the bucket allows. Throws NetlinkError (ENOENT where the kernel has no tbf). */
export function setTokenBucket(nl: Netlink, link: number, bucket: TokenBucket): void {
  const parameters = Buffer.alloc(36);
  parameters.writeUInt8(linkLayerEthernet, 1);
  parameters.writeUInt32LE(Math.min(bucket.rate, 0xffffffff), 8);
  parameters.writeUInt32LE(bucket.limit, 24);
  const rate64 = Buffer.alloc(8);
  rate64.writeBigUInt64LE(BigInt(bucket.rate));
  nl.request({
    type: RTM_NEWQDISC,
    flags: flag.create | flag.replace,
    body: header(link, tokenBucketHandle, rootParent),
    attributes: [
      text(TCA.kind, 'tbf'),
      nested(TCA.options, [
        attribute(TBF.parameters, parameters),
        u32(TBF.burst, bucket.burst),
        ...(bucket.rate > 0xffffffff ? [attribute(TBF.rate64, rate64)] : []),
      ]),
    ],
    what: `limiting the rate of the interface number ${link}`,
  });
}

/** The rate of the token bucket of an interface in bytes per second; undefined where it has none. */
export function tokenBucketRate(nl: Netlink, link: number): number | undefined {
  const answers = nl.dump({ type: RTM_GETQDISC, body: header(link, 0, 0), what: 'listing queueing disciplines' });
  for (const { body } of answers) {
    const found = parseAttributes(body.subarray(20));
    if (body.readInt32LE(4) !== link || readText(found.get(TCA.kind)) !== 'tbf') continue;
    const options = parseAttributes(found.get(TCA.options) ?? Buffer.alloc(0));
    const rate64 = options.get(TBF.rate64)?.readBigUInt64LE();
    return rate64 === undefined ? options.get(TBF.parameters)?.readUInt32LE(8) : Number(rate64);
  }
  return undefined;
}

/** Lets everything that comes in by an interface go out by another one (which, as an ifb, hands it back). */
export function redirectIngress(nl: Netlink, from: number, to: number): void {
  nl.request({
    type: RTM_NEWQDISC,
    flags: flag.create | flag.replace,
    body: header(from, ingressHandle, ingressParent),
    attributes: [text(TCA.kind, 'ingress')],
    what: `preparing the interface number ${from} for redirection`,
  });
  const mirred = Buffer.alloc(28);
  mirred.writeInt32LE(actionStolen, 8);
  mirred.writeInt32LE(egressRedirect, 20);
  mirred.writeUInt32LE(to, 24);
  // One key whose mask is zero: every packet; the first byte says that the filter decides (TC_U32_TERMINAL).
  const selector = Buffer.alloc(32);
  selector.writeUInt8(1, 0);
  selector.writeUInt8(1, 2);
  const protocolAll = 0x0300;
  nl.request({
    type: RTM_NEWTFILTER,
    flags: flag.create | flag.exclusive,
    body: header(from, 0, ingressHandle, (1 << 16) | protocolAll),
    attributes: [
      text(TCA.kind, 'u32'),
      nested(TCA.options, [
        u32(U32.classId, ingressHandle | 1),
        attribute(U32.selector, selector),
        nested(U32.action, [
          nested(1, [text(ACT.kind, 'mirred'), nested(ACT.options, [attribute(MIRRED_PARAMETERS, mirred)])]),
        ]),
      ]),
    ],
    what: `redirecting what comes in by the interface number ${from}`,
  });
}
