// Entry point of cluster DNS; runs in a pod. WEFT_DNS_ZONE and WEFT_DNS_UPSTREAMS (addresses, by commas) configure it.
import { networkInterfaces } from 'node:os';
import { startDns } from '../dns/start.ts';
import { inCluster } from '../k8s/connect.ts';
import { createLog } from '../log/log.ts';

const log = createLog('dns');
const fail = (error: unknown): void => {
  log.fatal({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) }, 'ends');
  process.exit(1);
};
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

/** A socket of IPv6 takes both families; a pod without an address of it needs only the other one. */
function hasIpv6(): boolean {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.some(({ family, internal, scopeid }) => family === 'IPv6' && !internal && scopeid === 0);
}

try {
  const upstreams = (process.env.WEFT_DNS_UPSTREAMS ?? '').split(',').flatMap((part) => part.trim() || []);
  const client = inCluster({ onProblem: (problem) => log.warn({ problem }, 'API') });
  const dns = await startDns({
    client,
    zone: process.env.WEFT_DNS_ZONE ?? 'cluster.local',
    address: hasIpv6() ? '::' : '0.0.0.0',
    port: 53,
    upstreams,
    healthPort: 8080,
    readyPort: 8181,
    log,
  });
  process.on('SIGTERM', () => void dns.stop().finally(() => process.exit(0)));
} catch (error) {
  fail(error);
}
