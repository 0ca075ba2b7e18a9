// What the proxy measures of itself, under kube-proxy's names and with its buckets (kubernetes pkg/proxy/metrics).
import type { Family } from '../../net/address.ts';
import type { ServicePortModel } from '../service-port.ts';
import type { ProxyMode } from '../writer.ts';
import { exponential, Histogram, linear, type Metric, Value } from './exposition.ts';

const policies = ['internal', 'external'] as const;

/** Seconds of 1970 with fractions, as Prometheus has times. */
const inSeconds = (ms: number): number => ms / 1000;

export class ProxyMetrics {
  readonly #families: readonly Family[];
  /** The labels of what there is for each family: always the same objects, which are as texts only once. */
  readonly #each: readonly { readonly ip_family: Family }[];
  readonly #now: () => number;
  readonly #withoutLocal = new Map<string, readonly string[]>();
  readonly #pending = { service: new Set<string>(), endpoint: new Set<string>() };
  readonly #sync;
  readonly #full;
  readonly #partial;
  readonly #programming;
  readonly #conntrack;
  readonly #values;

  /** `families` are those that the node has; `now` is the time in ms since 1970. */
  constructor(families: readonly Family[], now: () => number = Date.now) {
    this.#families = families;
    this.#now = now;
    const each = families.map((family) => ({ ip_family: family }));
    this.#each = each;
    const durations = exponential(0.001, 2, 15);
    const programming = [...linear(0.25, 0.25, 2), ...linear(1, 1, 59), ...linear(60, 5, 12), ...linear(120, 30, 7)];
    const histogram = (name: string, help: string, bounds = durations): Histogram =>
      new Histogram(`kubeproxy_${name}`, help, bounds, each);
    const value = (type: 'counter' | 'gauge', name: string, help: string, initial: readonly Record<string, string>[]) =>
      new Value(type, `kubeproxy_${name}`, help, initial);
    this.#sync = histogram('sync_proxy_rules_duration_seconds', 'SyncProxyRules latency in seconds');
    this.#full = histogram(
      'sync_full_proxy_rules_duration_seconds',
      'SyncProxyRules latency in seconds for full resyncs',
    );
    this.#partial = histogram(
      'sync_partial_proxy_rules_duration_seconds',
      'SyncProxyRules latency in seconds for partial resyncs',
    );
    this.#programming = histogram(
      'network_programming_duration_seconds',
      'In Cluster Network Programming Latency in seconds',
      programming,
    );
    this.#conntrack = histogram(
      'conntrack_reconciler_sync_duration_seconds',
      'ReconcileConntrackFlowsLatency latency in seconds',
    );
    const local = each.flatMap((one) => policies.map((traffic_policy) => ({ ...one, traffic_policy })));
    this.#values = {
      lastSync: value(
        'gauge',
        'sync_proxy_rules_last_timestamp_seconds',
        'The last time proxy rules were successfully synced',
        each,
      ),
      lastQueued: value(
        'gauge',
        'sync_proxy_rules_last_queued_timestamp_seconds',
        'The last time a sync of proxy rules was queued',
        each,
      ),
      endpointPending: value(
        'gauge',
        'sync_proxy_rules_endpoint_changes_pending',
        'Pending proxy rules Endpoint changes',
        each,
      ),
      endpointTotal: value(
        'counter',
        'sync_proxy_rules_endpoint_changes_total',
        'Cumulative proxy rules Endpoint changes',
        each,
      ),
      servicePending: value(
        'gauge',
        'sync_proxy_rules_service_changes_pending',
        'Pending proxy rules Service changes',
        each,
      ),
      serviceTotal: value(
        'counter',
        'sync_proxy_rules_service_changes_total',
        'Cumulative proxy rules Service changes',
        each,
      ),
      noLocal: value(
        'gauge',
        'sync_proxy_rules_no_local_endpoints_total',
        'Number of services with a Local traffic policy and no endpoints',
        local,
      ),
      nftFailures: value(
        'counter',
        'sync_proxy_rules_nftables_sync_failures_total',
        'Cumulative proxy nftables sync failures',
        each,
      ),
      nftCleanUp: value(
        'counter',
        'sync_proxy_rules_nftables_cleanup_failures_total',
        'Cumulative proxy nftables cleanup failures',
        each,
      ),
      iptablesFailures: value(
        'counter',
        'sync_proxy_rules_iptables_restore_failures_total',
        'Cumulative proxy iptables restore failures',
        each,
      ),
      healthz: value('counter', 'proxy_healthz_total', 'Cumulative proxy healthz HTTP status', []),
      livez: value('counter', 'proxy_livez_total', 'Cumulative proxy livez HTTP status', []),
    };
  }

  /** A Service or its endpoints changed; the kernel does not know yet. */
  queued(owner: string, what: 'service' | 'endpoint'): void {
    this.#pending[what].add(owner);
    for (const labels of this.#each) {
      this.#values[`${what}Total`].add(1, labels);
      this.#values.lastQueued.set(inSeconds(this.#now()), labels);
    }
    this.#showPending();
  }

  /** A write ended after so many seconds; `full` where it wrote everything. */
  synced(seconds: number, full: boolean): void {
    this.#pending.service.clear();
    this.#pending.endpoint.clear();
    for (const labels of this.#each) {
      this.#sync.observe(seconds, labels);
      (full ? this.#full : this.#partial).observe(seconds, labels);
      this.#values.lastSync.set(inSeconds(this.#now()), labels);
    }
    this.#showPending();
  }

  /** A write was refused by the kernel. */
  failed(mode: ProxyMode): void {
    const failures = mode === 'nftables' ? this.#values.nftFailures : this.#values.iptablesFailures;
    for (const labels of this.#each) failures.add(1, labels);
  }

  /** What nobody needs any more could not be deleted. */
  cleanUpFailed(mode: ProxyMode): void {
    if (mode === 'nftables') for (const labels of this.#each) this.#values.nftCleanUp.add(1, labels);
  }

  /** An endpoint's change is in the kernel, so many seconds after what triggered it. */
  programmed(seconds: number, family: Family): void {
    this.#programming.observe(seconds, { ip_family: family });
  }

  /** The flows of former endpoints were looked through, which took so many seconds. */
  conntrackReconciled(seconds: number): void {
    for (const labels of this.#each) this.#conntrack.observe(seconds, labels);
  }

  answered(path: 'healthz' | 'livez', code: number): void {
    this.#values[path].add(1, { code: String(code) });
  }

  /** What a Service is now: counts where a policy Local leaves it without an endpoint. */
  decided(owner: string, models: readonly ServicePortModel[]): void {
    const lacking = new Set(
      models.flatMap((model) =>
        policies
          .filter((policy) => model[`${policy}TrafficPolicy`] === 'Local' && model.hasAnyEndpoints)
          .filter(() => model.localEndpoints.length === 0)
          .map((policy) => `${model.family} ${policy}`),
      ),
    );
    if (lacking.size === 0 && !this.#withoutLocal.has(owner)) return;
    if (lacking.size === 0) this.#withoutLocal.delete(owner);
    else this.#withoutLocal.set(owner, [...lacking]);
    const all = [...this.#withoutLocal.values()].flat();
    for (const ip_family of this.#families)
      for (const traffic_policy of policies)
        this.#values.noLocal.set(all.filter((one) => one === `${ip_family} ${traffic_policy}`).length, {
          ip_family,
          traffic_policy,
        });
  }

  #showPending(): void {
    for (const labels of this.#each) {
      this.#values.servicePending.set(this.#pending.service.size, labels);
      this.#values.endpointPending.set(this.#pending.endpoint.size, labels);
    }
  }

  /** The page, and what the process itself uses. */
  text(process: { readonly startedAt: number; readonly cpuSeconds: number; readonly residentBytes: number }): string {
    const own = [
      new Value('gauge', 'process_start_time_seconds', 'Start time of the process since unix epoch in seconds.'),
      new Value('counter', 'process_cpu_seconds_total', 'Total user and system CPU time spent in seconds.'),
      new Value('gauge', 'process_resident_memory_bytes', 'Resident memory size in bytes.'),
    ] as const;
    own[0].set(inSeconds(process.startedAt));
    own[1].set(process.cpuSeconds);
    own[2].set(process.residentBytes);
    const metrics: Metric[] = [
      this.#sync,
      this.#full,
      this.#partial,
      this.#programming,
      this.#conntrack,
      ...Object.values(this.#values),
      ...own,
    ];
    return `${metrics.flatMap((metric) => metric.lines()).join('\n')}\n`;
  }
}
