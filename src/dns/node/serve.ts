// The server of a node: at the Service's own addresses, which lead to it for as long as it serves.
import { setTimeout as delay } from 'node:timers/promises';
import { asIp, type Ip } from '../../net/address.ts';
import { type Dns, type DnsOptions, startDns } from '../start.ts';
import { attach } from './attach.ts';
import { localAddress } from './tables.ts';

export interface NodeDnsOptions extends Omit<DnsOptions, 'addresses' | 'statusAddress'> {
  /** The addresses of the Service; clients of this node are led to this server. */
  readonly serviceAddresses: readonly Ip[];
  /** The node's own: where the Service finds this server for clients of other nodes. */
  readonly nodeAddresses: readonly string[];
}

export interface EndTimes {
  /**
   * So long all goes on as before: whoever ends the server has told the cluster, and by then nobody takes it for one of
   * the Service's ready endpoints any more. Else its own clients would be led back to it.
   */
  readonly noticeMs: number;
  /** So long it answers what comes although clients are led to others; default: what the Corefile says. */
  readonly lameduckMs?: number;
}

export interface NodeDns {
  readonly dns: Dns;
  /** Ends without a lost question: clients are led to other servers before it stops to answer. */
  end(times: EndTimes): Promise<void>;
}

const busyMs = 100;
/** So long another server may still have the port: one that is ending, and answers what it was asked. */
const busyPatienceMs = 60_000;

/** Starts the server of the node in whose network this process is. Rejects where it cannot listen. */
export async function serveOnNode(options: NodeDnsOptions): Promise<NodeDns> {
  const { serviceAddresses, nodeAddresses, ...rest } = options;
  const attachment = await attach([...serviceAddresses, asIp(localAddress)], options.log);
  const start = (): Promise<Dns> =>
    startDns({
      ...rest,
      addresses: [localAddress, ...serviceAddresses, ...nodeAddresses],
      // Other pods of the node's network may use these ports at its own addresses.
      statusAddress: localAddress,
    });
  const dns = await patiently(start);
  attachment.announce(() => dns.isReady());
  return {
    dns,
    async end({ noticeMs, lameduckMs = dns.lameduckMs() }) {
      await delay(noticeMs);
      options.log.info({ lameduckMs }, 'clients are led to other servers');
      await attachment.withdraw();
      await delay(lameduckMs);
      await attachment.detach();
      await dns.stop();
    },
  };
}

async function patiently<T>(start: () => Promise<T>): Promise<T> {
  for (const begun = Date.now(); ; ) {
    try {
      return await start();
    } catch (error) {
      const isBusy = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE';
      if (!isBusy || Date.now() - begun > busyPatienceMs) throw error;
      await delay(busyMs);
    }
  }
}
