// Tells when someone else changed nftables in a network namespace, and which tables.
import { type Message, parseAttributes, readText } from './netlink.ts';
import { type MonitorEvent, monitorNetlink, netfilterProtocol, nftablesGroup } from './netlink-monitor.ts';
import type { NetnsRef } from './netns.ts';
import { isOwnProcess } from './own-processes.ts';

// linux/netfilter/nf_tables.h. The announcements of a transaction end with a message that names the process that made
// it (NFT_MSG_NEWGEN); all others have the name of their table as their first attribute. A struct nfgenmsg of 4 bytes,
// whose first one is the family, comes before the attributes.
const nftables = 10;
const newGeneration = 15;
const processIdAttribute = 2;
const tableAttribute = 1;
const familyNames: Readonly<Record<number, string>> = {
  1: 'inet',
  2: 'ip',
  3: 'arp',
  5: 'netdev',
  7: 'bridge',
  10: 'ip6',
};

/** The tables that a foreign transaction wrote to, as `ip filter`; undefined when some may have been missed. */
export type ForeignWrite = ReadonlySet<string> | undefined;

/**
 * Calls the listener after each transaction of another process (children of this one are not others) in a namespace
 * (this process's own where none is given), or when it may have missed some. Costs nothing while nothing happens.
 * Returns the end of it.
 */
export function monitorNftables(listener: (written: ForeignWrite) => void, netns?: NetnsRef): () => void {
  const collect = transactions(isOwnProcess, listener);
  const where = netns === undefined ? {} : { netns };
  return monitorNetlink({ protocol: netfilterProtocol, groups: [nftablesGroup], ...where }, collect);
}

/** Puts messages together to transactions, which may come in several parts. */
export function transactions(
  isOwn: (processId: number) => boolean,
  listener: (written: ForeignWrite) => void,
): (event: MonitorEvent) => void {
  let written = new Set<string>();
  // Of a transaction whose end was lost, what comes before the next end says nothing of that one.
  let isTorn = false;
  return (event) => {
    if (event.type === 'overrun') {
      if (!event.unheard) {
        written = new Set();
        isTorn = true;
      }
      return listener(undefined);
    }
    for (const message of event.messages) {
      if (message.type >> 8 !== nftables) continue;
      if ((message.type & 0xff) !== newGeneration) {
        written.add(tableOf(message));
        continue;
      }
      const maker = parseAttributes(message.body.subarray(4)).get(processIdAttribute)?.readUInt32BE(0);
      const tables = isTorn ? undefined : written;
      written = new Set();
      isTorn = false;
      if (maker === undefined || !isOwn(maker)) listener(tables);
    }
  };
}

function tableOf({ body }: Message): string {
  const name = readText(parseAttributes(body.subarray(4)).get(tableAttribute));
  return `${familyNames[body.readUInt8(0)] ?? '?'} ${name ?? '?'}`;
}
