// The proxy modes, and what each has to offer: the one place where a new one is added.
import { type Iptables, openIptables } from '../linux/iptables-run.ts';
import { routeLocalnet, writeSysctl } from '../linux/netns.ts';
import { type Nft, openNft } from '../linux/nft-run.ts';
import type { Cidr } from '../net/address.ts';
import { cleanUpIptables } from './iptables/clean-up.ts';
import { IptablesWriter } from './iptables/writer.ts';
import { cleanUpIpvs } from './ipvs/clean-up.ts';
import { IpvsWriter } from './ipvs/writer.ts';
import { NftablesWriter } from './nftables/writer.ts';
import { isLoopback, nodePortsOf } from './node-port-addresses.ts';
import type { ProxyNode } from './service-port.ts';
import type { ProxyMode, ServiceWriter } from './writer.ts';

/** What writers are made from. */
export interface ModeContext {
  readonly node: ProxyNode;
  /** The ranges of the pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
  /** The ranges that the node's addresses for NodePorts were chosen by. */
  readonly nodePortRanges?: readonly Cidr[];
  /** The way to nftables; by default that of this process's network namespace. */
  readonly nft?: Nft;
  /** The way to iptables; by default that of the backend which this process's network namespace uses. */
  readonly iptables?: Iptables;
}

interface Mode {
  /** Throws an Error where this machine has not what the mode needs. */
  open(context: ModeContext): Promise<ServiceWriter>;
  /** Takes away what an earlier life of the agent left of it, but for the chains of iptables that are `kept`. */
  cleanUp(context: ModeContext, kept: ReadonlySet<string>): Promise<void>;
}

const openNftables = async ({ node, clusterCidrs, nft }: ModeContext): Promise<ServiceWriter> =>
  new NftablesWriter({ nft: nft ?? (await openNft()), node, clusterCidrs });

const modes: Readonly<Record<ProxyMode, Mode>> = {
  nftables: {
    open: openNftables,
    cleanUp: async (context) => (await openNftables(context)).cleanUp(),
  },
  iptables: {
    open: async ({ node, clusterCidrs, iptables, nodePortRanges }) =>
      new IptablesWriter({
        iptables: iptables ?? (await openIptables()),
        node,
        clusterCidrs,
        // As kube-proxy does in this mode, on all addresses of the node where none were chosen.
        nodePortAddresses: nodePortRanges === undefined ? 'all' : node.nodePortAddresses,
      }),
    cleanUp: (_context, kept) => cleanUpIptables(kept),
  },
  ipvs: {
    async open({ node: given, clusterCidrs, iptables }) {
      const node = { ...given, nodePortAddresses: nodePortsOf('ipvs', given.nodePortAddresses) };
      return new IpvsWriter({ iptables: iptables ?? (await openIptables()), node, clusterCidrs });
    },
    cleanUp: (_context, kept) => cleanUpIpvs(kept),
  },
};

/** The writer of a mode. Throws an Error where it cannot be had here. */
export function openWriter(mode: ProxyMode, context: ModeContext): Promise<ServiceWriter> {
  return modes[mode].open(context);
}

/**
 * Lets what processes of the node send from 127.0.0.1 leave it, where a mode has NodePorts there; not before its rules
 * are in force, which keep others from 127.0.0.1.
 */
export function openLocalhost(mode: ProxyMode, node: ProxyNode): void {
  if (node.nodePortAddresses.some(isLoopback)) writeSysctl(routeLocalnet, mode === 'ipvs' ? '0' : '1');
}

/** Takes away what a mode left in the kernel, but for the chains of iptables that another mode has made its own. */
export function cleanUpMode(mode: ProxyMode, context: ModeContext, kept: ReadonlySet<string>): Promise<void> {
  return modes[mode].cleanUp(context, kept);
}
