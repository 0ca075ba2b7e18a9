// What a node's bridge and a pod's attachment look like, as data. Pure: the same input gives the same plan.
import { createHash } from 'node:crypto';
import type { TokenBucket } from '../linux/traffic-control.ts';
import { asCidr, type Cidr, cidrContains, familyOf, type Ip, ipToBigInt, type Mac, rangeOf } from '../net/address.ts';
import { gatewayOf } from './ipam.ts';
import type { Lease } from './lease-store.ts';
import { type Attachment, CniError, errorCode, type Result } from './protocol.ts';
import type { RateLimit } from './wishes.ts';

export const bridgeName = 'weft0';

export interface PlannedAddress {
  readonly address: Ip;
  readonly prefix: number;
}

export interface PlannedRoute {
  readonly to: Cidr;
  readonly via?: Ip;
}

/** A value under /proc/sys/net, with slashes. */
export type Sysctl = readonly [key: string, value: string];

/** The node's side: one bridge that is the gateway of all pods of the node. */
export interface NodePlan {
  readonly bridge: { readonly name: string; readonly mac: Mac; readonly mtu: number };
  readonly addresses: readonly PlannedAddress[];
  readonly sysctls: readonly Sysctl[];
}

/** A pod's side: a veth pair from the bridge into the container's namespace. */
export interface AttachmentPlan {
  readonly host: {
    readonly name: string;
    readonly mtu: number;
    /** What the container may receive. */
    readonly bucket?: TokenBucket;
    /** What the container may send: it passes this block (IFB) on its way in. */
    readonly ifb?: { readonly name: string; readonly bucket: TokenBucket };
  };
  readonly container: {
    readonly netns: string;
    readonly name: string;
    readonly mac: Mac;
    readonly mtu: number;
    readonly addresses: readonly PlannedAddress[];
    readonly routes: readonly PlannedRoute[];
    readonly sysctls: readonly Sysctl[];
  };
}

/**
 * The hardware address that goes with an address: 0a:58 and the last four bytes (0a is locally administered). A
 * neighbour's memory of an address stays right when the address gets another owner.
 */
export function macOf(address: Ip): Mac {
  const low = (ipToBigInt(address) & 0xffffffffn).toString(16).padStart(8, '0');
  return `0a:58:${low.match(/../g)?.join(':') ?? ''}` as Mac;
}

/** The node's end of a pair: found again from the attachment alone, and unique within 15 characters. */
export function hostLinkName({ containerId, ifname }: Attachment): string {
  return `veth${createHash('sha256').update(`${containerId}/${ifname}`).digest('hex').slice(0, 11)}`;
}

/** Under which attachment a pod goes whose own was lost with the store of leases. */
export function adoptedAttachment(hostLink: string, ifname: string): Attachment {
  return { containerId: `adopted-${hostLink}`, ifname };
}

/** The block that what the container sends passes where it is limited: by the same rule. */
export const ifbName = (attachment: Attachment): string => hostLinkName(attachment).replace('veth', 'ifb');

export const isHostLinkName = (name: string): boolean => /^veth[0-9a-f]{11}$/.test(name);

/**
 * The bridge has the first address of each range. It sends no redirects: pods reach one another through the bridge's
 * address, not directly, so that Services and policies see every packet (without br_netfilter a bridge would hide
 * replies between pods of one node from connection tracking).
 */
export function planNode(ranges: readonly Cidr[], mtu: number): NodePlan {
  const [first] = ranges;
  if (first === undefined) throw new RangeError('a node needs at least one range for its pods');
  const ipv6 = ranges.some((range) => familyOf(range) === 'IPv6');
  return {
    bridge: { name: bridgeName, mac: macOf(gatewayOf(first)), mtu },
    addresses: ranges.map((range) => ({ address: gatewayOf(range), prefix: rangeOf(range).prefix })),
    sysctls: [
      ['net/ipv4/ip_forward', '1'],
      // Host ports on 127.0.0.1; a rule keeps pods away from what else listens there.
      [`net/ipv4/conf/${bridgeName}/route_localnet`, '1'],
      ['net/ipv4/conf/all/send_redirects', '0'],
      [`net/ipv4/conf/${bridgeName}/send_redirects`, '0'],
      ...(ipv6
        ? ([
            ['net/ipv6/conf/all/forwarding', '1'],
            [`net/ipv6/conf/${bridgeName}/accept_dad`, '0'],
          ] as const)
        : []),
    ],
  };
}

/** Throws CniError where the lease has an address outside of the node's ranges. */
export function planAttachment(lease: Lease, ranges: readonly Cidr[], mtu: number): AttachmentPlan {
  const held = lease.addresses.map((address) => {
    const range = ranges.find((candidate) => cidrContains(candidate, address));
    if (range === undefined)
      throw new CniError(
        errorCode.tryAgainLater,
        `the address ${address} of ${lease.attachment.containerId} is outside of the node's ranges ${ranges.join(', ')}`,
      );
    return { address, range };
  });
  const [first] = held;
  if (first === undefined) throw new CniError(errorCode.noAddress, 'the lease has no address');
  const name = lease.attachment.ifname;
  const ipv6 = held.some(({ address }) => familyOf(address) === 'IPv6');
  const { mac = macOf(first.address), bandwidth } = lease.settings;
  const { ingress, egress } = bandwidth;
  return {
    host: {
      name: hostLinkName(lease.attachment),
      mtu,
      ...(ingress && { bucket: tokenBucket(ingress, mtu) }),
      ...(egress && { ifb: { name: ifbName(lease.attachment), bucket: tokenBucket(egress, mtu) } }),
    },
    container: {
      netns: lease.netns,
      name,
      mac,
      mtu,
      addresses: held.map(({ address, range }) => ({ address, prefix: rangeOf(range).prefix })),
      routes: held.flatMap(({ range }) => gatewayRoutes(range)),
      sysctls: ipv6
        ? [
            [`net/ipv6/conf/${name}/accept_dad`, '0'],
            [`net/ipv6/conf/${name}/accept_ra`, '0'],
            // Nothing keeps a node from telling one pod that another one is on the same link (IPv4: send_redirects).
            [`net/ipv6/conf/${name}/accept_redirects`, '0'],
          ]
        : [],
    },
  };
}

/** How long a packet waits for its turn at most before the next one is dropped, in seconds (as the reference plugin). */
const longestWait = 0.025;
/** What runtimes send that know of no burst (containerd): the greatest number that the field can have. */
const anyBurst = 0xffffffff;

/**
 * The token bucket of a limit. The burst is at least two packets, and where the runtime does not care 20 ms of the
 * rate, but not less than two segments of 64 KB (with the burst that containerd sends nothing under 512 MB is limited).
 */
function tokenBucket({ rate, burst }: RateLimit, mtu: number): TokenBucket {
  const bytes = Math.max(1, Math.floor(rate / 8));
  const wished = burst >= anyBurst ? Math.max(131_072, bytes / 50) : burst / 8;
  const most = Math.floor(Math.min(Math.max(wished, 2 * mtu), 0xffffffff));
  return { rate: bytes, burst: most, limit: Math.floor(Math.min(bytes * longestWait + most, 0xffffffff)) };
}

/** The gateway alone is on the link, everything else is behind it. */
function gatewayRoutes(range: Cidr): PlannedRoute[] {
  const gateway = gatewayOf(range);
  const [bits, all] = familyOf(range) === 'IPv4' ? [32, '0.0.0.0/0'] : [128, '::/0'];
  return [{ to: asCidr(`${gateway}/${bits}`) }, { to: asCidr(all), via: gateway }];
}

/**
 * What ADD answers; a result of plugins that came before in the chain is kept, and ours added behind it. `dns` is what
 * the runtime wishes the container to have.
 */
export function resultOf(plan: AttachmentPlan, node: NodePlan, previous?: Result, dns = previous?.dns): Result {
  const { host, container } = plan;
  const interfaces = [
    ...(previous?.interfaces ?? []),
    { name: node.bridge.name, mac: node.bridge.mac, mtu: node.bridge.mtu },
    { name: host.name, mtu: host.mtu },
    { name: container.name, mac: container.mac, mtu: container.mtu, sandbox: container.netns },
  ];
  const defaults = container.routes.filter(({ via }) => via !== undefined);
  return {
    interfaces,
    ips: [
      ...(previous?.ips ?? []),
      ...container.addresses.map(({ address, prefix }) => ({
        address: `${address}/${prefix}`,
        ...gatewayField(defaults, address),
        interface: interfaces.length - 1,
      })),
    ],
    routes: [
      ...(previous?.routes ?? []),
      ...defaults.map(({ to, via }) => ({ dst: to, ...(via === undefined ? {} : { gw: via }) })),
    ],
    ...(dns === undefined ? {} : { dns }),
  };
}

function gatewayField(defaults: readonly PlannedRoute[], address: Ip): { gateway?: Ip } {
  const via = defaults.find(({ to }) => familyOf(to) === familyOf(address))?.via;
  return via === undefined ? {} : { gateway: via };
}
