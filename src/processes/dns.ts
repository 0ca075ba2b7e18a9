// Entry point of cluster DNS; runs in a pod. WEFT_DNS_ZONE and WEFT_DNS_UPSTREAMS (addresses, by commas) configure it.
//
// With WEFT_DNS_ADDRESSES (those of the Service, by commas) it is the server of its node: it runs in the node's network,
// answers there at those addresses and at 169.254.20.10, and for other nodes at WEFT_NODE_ADDRESSES.
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { serveOnNode } from '../dns/node/serve.ts';
import { type DnsOptions, startDns } from '../dns/start.ts';
import { inCluster } from '../k8s/connect.ts';
import { createLog } from '../log/log.ts';
import { asCidr, asIp, type Ip } from '../net/address.ts';

/** So long a server goes on to answer what was asked before clients were led elsewhere; the Corefile says it otherwise. */
/** So long it takes until everybody in the cluster knows that a pod is ending. */
const noticeMs = 2000;
const lameduckSeconds = process.env.WEFT_DNS_LAMEDUCK_SECONDS;
const lameduckMs = lameduckSeconds === undefined ? undefined : Number(lameduckSeconds) * 1000;

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

async function startOnNode(common: Common, serviceAddresses: readonly Ip[]): Promise<() => Promise<void>> {
  const nodeAddresses = listed(process.env.WEFT_NODE_ADDRESSES);
  const server = await serveOnNode({ ...common, serviceAddresses, nodeAddresses, metricsAddress: everywhere() });
  return () => server.end({ noticeMs, ...(lameduckMs !== undefined && { lameduckMs }) });
}

/** Whoever ends it has taken it out of the Service by then; some clients do not know yet. */
async function startInPod(common: Common): Promise<() => Promise<void>> {
  const dns = await startDns({ ...common, addresses: [everywhere()] });
  return async () => {
    await delay(lameduckMs ?? dns.lameduckMs());
    await dns.stop();
  };
}

try {
  const client = inCluster({ onProblem: (problem) => log.warn({ problem }, 'API') });
  const common = {
    client,
    zone: process.env.WEFT_DNS_ZONE ?? 'cluster.local',
    port: 53,
    upstreams: listed(process.env.WEFT_DNS_UPSTREAMS),
    ...(process.env.WEFT_NODE_NAME !== undefined && {
      nodeName: process.env.WEFT_NODE_NAME,
    }),
    clientRanges: listed(process.env.WEFT_DNS_CLIENTS).map(asCidr),
    stateFolder: '/var/lib/weft-dns',
    log,
  };
  const serviceAddresses = listed(process.env.WEFT_DNS_ADDRESSES).map(asIp);
  const end = serviceAddresses.length > 0 ? await startOnNode(common, serviceAddresses) : await startInPod(common);
  process.once('SIGTERM', () => void end().then(() => process.exit(0), fail));
} catch (error) {
  fail(error);
}
