// Entry point of cluster DNS; runs in a pod. WEFT_DNS_ZONE and WEFT_DNS_UPSTREAMS (addresses, by commas) configure it.
//
// With WEFT_DNS_ADDRESSES (those of the Service, by commas) it is the server of its node: it runs in the node's network,
// answers there at those addresses and at 169.254.20.10, and for other nodes at WEFT_NODE_ADDRESSES.
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { attach, type NodeAttachment } from '../dns/node/attach.ts';
import { localAddress } from '../dns/node/tables.ts';
import { type Dns, type DnsOptions, startDns } from '../dns/start.ts';
import { inCluster } from '../k8s/connect.ts';
import { createLog, type Log } from '../log/log.ts';
import { asIp } from '../net/address.ts';

/** So long a server goes on to answer what was asked before clients were led elsewhere. */
const lameduckMs = Number(process.env.WEFT_DNS_LAMEDUCK_SECONDS ?? 3) * 1000;

const log = createLog('dns');
const fail = (error: unknown): void => {
  log.fatal({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'ends');
  process.exit(1);
};
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

const listed = (text = ''): string[] => text.split(',').flatMap((part) => part.trim() || []);

/** A socket of IPv6 takes both families; a pod without an address of it needs only the other one. */
function everywhere(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  const hasIpv6 = addresses.some(({ family, internal, scopeid }) => family === 'IPv6' && !internal && scopeid === 0);
  return hasIpv6 ? '::' : '0.0.0.0';
}

type Common = Omit<DnsOptions, 'addresses'>;

/** The server of its node: at the Service's own addresses, which lead to it for as long as it serves. */
async function startOnNode(common: Common, own: readonly string[], log: Log): Promise<[Dns, NodeAttachment]> {
  const inNode = [...own, localAddress].map(asIp);
  const attachment = await attach(inNode, log);
  const dns = await startDns({
    ...common,
    addresses: [localAddress, ...own, ...listed(process.env.WEFT_NODE_ADDRESSES)],
    // Other pods of the node's network may use these ports at its own addresses.
    statusAddress: localAddress,
    metricsAddress: everywhere(),
  });
  attachment.announce(() => dns.isReady());
  return [dns, attachment];
}

try {
  const client = inCluster({ onProblem: (problem) => log.warn({ problem }, 'API') });
  const common: Common = {
    client,
    zone: process.env.WEFT_DNS_ZONE ?? 'cluster.local',
    port: 53,
    upstreams: listed(process.env.WEFT_DNS_UPSTREAMS),
    ...(process.env.WEFT_NODE_NAME !== undefined && { host: process.env.WEFT_NODE_NAME }),
    log,
  };
  const own = listed(process.env.WEFT_DNS_ADDRESSES);
  const [dns, attachment] =
    own.length > 0
      ? await startOnNode(common, own, log)
      : [await startDns({ ...common, addresses: [everywhere()] }), undefined];
  process.once('SIGTERM', () => {
    const end = async (): Promise<void> => {
      log.info({ lameduckMs }, 'clients are led to other servers');
      await attachment?.withdraw();
      await delay(lameduckMs);
      await attachment?.detach();
      await dns.stop();
      process.exit(0);
    };
    void end().catch(fail);
  });
} catch (error) {
  fail(error);
}
