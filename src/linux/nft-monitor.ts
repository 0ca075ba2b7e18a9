// Tells when someone else changed nftables in this process's network namespace.
import { parseAttributes } from './netlink.ts';
import { type MonitorEvent, monitorNetlink, netfilterProtocol, nftablesGroup } from './netlink-monitor.ts';

// linux/netfilter/nf_tables.h: the last message of each transaction (NFNL_SUBSYS_NFTABLES, NFT_MSG_NEWGEN), and in it
// the process that made it. A struct nfgenmsg of 4 bytes comes before the attributes.
const newGeneration = (10 << 8) | 15;
const processId = 2;

/**
 * Calls the listener after each transaction of another process (also of a child of this one), or when it may have
 * missed some. Costs nothing while nothing happens. Returns the end of it.
 */
export function monitorNftables(listener: () => void): () => void {
  return monitorNetlink({ protocol: netfilterProtocol, groups: [nftablesGroup] }, (event) => {
    if (event.type === 'overrun' || event.messages.some(isForeign)) listener();
  });
}

function isForeign({ type, body }: (MonitorEvent & { type: 'messages' })['messages'][number]): boolean {
  if (type !== newGeneration) return false;
  const made = parseAttributes(body.subarray(4)).get(processId);
  return made === undefined || made.readUInt32BE(0) !== process.pid;
}
