// The proxy modes, and what each has to offer: the one place where a new one is added.
import { type Iptables, openIptables } from '../linux/iptables-run.ts';
import type { Scheduler } from '../linux/ipvs.ts';
import { type Nft, openNft } from '../linux/nft-run.ts';
import type { Cidr } from '../net/address.ts';
import { cleanUpIptables, IptablesWriter } from './iptables/writer.ts';
import { cleanUpIpvs } from './ipvs/clean-up.ts';
import { IpvsWriter } from './ipvs/writer.ts';
import { NftablesWriter } from './nftables/writer.ts';
import type { ProxyNode } from './service-port.ts';
import type { ProxyMode, ServiceWriter } from './writer.ts';

/** What writers are made from. */
export interface ModeContext {
  readonly node: ProxyNode;
  /** The ranges of the pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
  /** The way to nftables; by default that of this process's network namespace. */
  readonly nft?: Nft;
  /** The way to iptables; by default that of the backend which this process's network namespace uses. */
  readonly iptables?: Iptables;
  /** In the mode ipvs: how one of several endpoints is chosen; rr, each in turn, by default. */
  readonly ipvsScheduler?: Scheduler;
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
    open: async ({ node, clusterCidrs, iptables }) =>
      new IptablesWriter({
        iptables: iptables ?? (await openIptables()),
        node,
        clusterCidrs,
        nodePortAddresses: 'all',
      }),
    cleanUp: (_context, kept) => cleanUpIptables(kept),
  },
  ipvs: {
    open: async ({ node, clusterCidrs, iptables, ipvsScheduler = 'rr' }) =>
      new IpvsWriter({ iptables: iptables ?? (await openIptables()), node, clusterCidrs, scheduler: ipvsScheduler }),
    cleanUp: (_context, kept) => cleanUpIpvs(kept),
  },
};

/** The writer of a mode. Throws an Error where it cannot be had here. */
export function openWriter(mode: ProxyMode, context: ModeContext): Promise<ServiceWriter> {
  return modes[mode].open(context);
}

/** Takes away what a mode left in the kernel, but for the chains of iptables that another mode has made its own. */
export function cleanUpMode(mode: ProxyMode, context: ModeContext, kept: ReadonlySet<string>): Promise<void> {
  return modes[mode].cleanUp(context, kept);
}
