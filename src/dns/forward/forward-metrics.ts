// What the forwarding tells the metrics, under CoreDNS's names.
import { rcodeName } from '../corefile/values.ts';
import type { Registry } from '../metrics/registry.ts';

/** 0.25 ms to 8 s, each bound twice the one before (CoreDNS: plugin.TimeBuckets). */
export const timeBuckets = Array.from({ length: 16 }, (_, index) => 0.000_25 * 2 ** index);

export interface ForwardMetrics {
  answered(to: string, rcode: number, seconds: number): void;
  checkFailed(to: string): void;
  connection(to: string, proto: string, reused: boolean): void;
  /** All upstreams are down, and one of them is asked nevertheless. */
  allDown(): void;
  /** A question was refused because too many were on their way. */
  tooMany(): void;
}

export function forwardMetrics(registry: Registry): ForwardMetrics {
  const proxy = 'forward';
  const labels = ['proxy_name', 'to'];
  const duration = registry.histogram(
    'coredns_proxy_request_duration_seconds',
    'Histogram of the time each request took.',
    [...labels, 'rcode'],
    timeBuckets,
  );
  const failures = registry.counter(
    'coredns_proxy_healthcheck_failures_total',
    'Counter of the number of failed healthchecks.',
    labels,
  );
  const hits = registry.counter('coredns_proxy_conn_cache_hits_total', 'Counter of connection cache hits.', [
    ...labels,
    'proto',
  ]);
  const misses = registry.counter('coredns_proxy_conn_cache_misses_total', 'Counter of connection cache misses.', [
    ...labels,
    'proto',
  ]);
  const broken = registry.counter(
    'coredns_forward_healthcheck_broken_total',
    'Counter of when all upstreams are down.',
  );
  const rejects = registry.counter(
    'coredns_forward_max_concurrent_rejects_total',
    'Counter of the number of queries rejected because the concurrent queries were at maximum.',
  );
  return {
    answered: (to, rcode, seconds) => duration.observe(seconds, [proxy, to, rcodeName(rcode)]),
    checkFailed: (to) => failures.increment(proxy, to),
    connection: (to, proto, reused) => (reused ? hits : misses).increment(proxy, to, proto),
    allDown: () => broken.increment(),
    tooMany: () => rejects.increment(),
  };
}
