// What the forwarding tells the metrics, under CoreDNS's names.
import { rcodeName } from '../corefile/values.ts';
import type { Registry } from '../metrics/registry.ts';

/** 0.25 ms to 8 s, each bound twice the one before (CoreDNS: plugin.TimeBuckets). */
export const timeBuckets = Array.from({ length: 16 }, (_, index) => 0.000_25 * 2 ** index);

export interface ForwardMetrics {
  /** A question goes to an upstream. */
  asked(to: string): void;
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
  // CoreDNS before 1.12 had these names; many dashboards and alerts still ask for them.
  const formerly = {
    requests: registry.counter('coredns_forward_requests_total', 'Counter of requests made per upstream.', ['to']),
    responses: registry.counter('coredns_forward_responses_total', 'Counter of responses received per upstream.', [
      'to',
      'rcode',
    ]),
    duration: registry.histogram(
      'coredns_forward_request_duration_seconds',
      'Histogram of the time each request took.',
      ['to', 'rcode'],
      timeBuckets,
    ),
    failures: registry.counter(
      'coredns_forward_healthcheck_failures_total',
      'Counter of the number of failed healthchecks.',
      ['to'],
    ),
  };
  const broken = registry.counter(
    'coredns_forward_healthcheck_broken_total',
    'Counter of when all upstreams are down.',
  );
  const rejects = registry.counter(
    'coredns_forward_max_concurrent_rejects_total',
    'Counter of the number of queries rejected because the concurrent queries were at maximum.',
  );
  return {
    asked: (to) => formerly.requests.increment(to),
    answered(to, rcode, seconds) {
      const code = rcodeName(rcode);
      duration.observe(seconds, [proxy, to, code]);
      formerly.responses.increment(to, code);
      formerly.duration.observe(seconds, [to, code]);
    },
    checkFailed(to) {
      failures.increment(proxy, to);
      formerly.failures.increment(to);
    },
    connection: (to, proto, reused) => (reused ? hits : misses).increment(proxy, to, proto),
    allDown: () => broken.increment(),
    tooMany: () => rejects.increment(),
  };
}
