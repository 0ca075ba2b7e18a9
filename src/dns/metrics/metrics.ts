// The metrics of the DNS server, under CoreDNS's names and labels: dashboards and alerts of others know them.
import { cacheFamilies } from '../cache.ts';
import type { PluginName } from '../chain/reply.ts';
import { rcodeName } from '../corefile/values.ts';
import { forwardMetrics, timeBuckets } from '../forward/forward-metrics.ts';
import { HotTally, kindOfType, sizeBuckets } from './hot-tally.ts';
import { processMetrics } from './process.ts';
import { type Cell, Registry } from './registry.ts';

/** One answer, as metrics count it. */
type GroupKey = Pick<Answered, 'server' | 'zone' | 'transport' | 'family' | 'type'>;

export interface Answered {
  readonly server: string;
  /** The zone of the server block, with its final dot; `dropped` where none is responsible. */
  readonly zone: string;
  readonly transport: 'udp' | 'tcp';
  /** The family of the client's address. */
  readonly family: 1 | 2;
  readonly type: number;
  readonly rcode: number;
  readonly by: PluginName;
  readonly dnssecOk: boolean;
  /** Octets. */
  readonly size: number;
  readonly answerSize: number;
  readonly seconds: number;
}

/** 1 ms to 17 min, each bound twice the one before (CoreDNS). */
const programmingBuckets = Array.from({ length: 20 }, (_, index) => 0.001 * 2 ** index);
/** What an answer of the hot path takes; it is not measured one by one, as the clock would take as long. */
const hotSeconds = 0.000_01;

interface Group {
  readonly requests: Cell;
  readonly duration: (value: number) => void;
  readonly requestSize: (value: number) => void;
  readonly responseSize: (value: number) => void;
  readonly responses: Map<string, Cell>;
}

function count(group: Group, responses: Cell, size: number, answerSize: number, seconds: number): void {
  group.requests.value++;
  group.duration(seconds);
  group.requestSize(size);
  group.responseSize(answerSize);
  responses.value++;
}

export class DnsMetrics {
  readonly registry = new Registry();
  readonly cache = cacheFamilies(this.registry);
  readonly forward = forwardMetrics(this.registry);
  readonly #requests;
  readonly #duration;
  readonly #requestSize;
  readonly #responseSize;
  readonly #responses;
  readonly #dnssec;
  readonly #plugins;
  readonly #version;
  /** What belongs together is found by one key: an answer costs five additions and one look-up. */
  readonly #groups = new Map<string, Group>();
  /** What the hot path of this thread has answered. */
  readonly hot = new HotTally();
  readonly panics: Cell;
  readonly dropped: Cell;
  readonly reloadFailures: Cell;
  readonly hostsEntries: Cell;
  readonly hostsReadAt: Cell;
  readonly healthFailures: Cell;
  readonly #health;
  readonly #readProcess;
  readonly names: Cell;
  readonly autopath: Cell;
  readonly stale: Cell;
  readonly #programming;
  readonly excludedUpstreams: Cell;

  constructor() {
    const { registry } = this;
    const place = ['server', 'zone', 'view'];
    const counter = (name: string, help: string, labels: readonly string[] = []) =>
      registry.counter(name, help, labels);
    this.#requests = counter(
      'coredns_dns_requests_total',
      'Counter of DNS requests made per zone, protocol and family.',
      [...place, 'proto', 'family', 'type'],
    );
    this.#duration = registry.histogram(
      'coredns_dns_request_duration_seconds',
      'Histogram of the time (in seconds) each request took per zone.',
      place,
      timeBuckets,
    );
    this.#requestSize = registry.histogram(
      'coredns_dns_request_size_bytes',
      'Size of the request in bytes.',
      [...place, 'proto'],
      sizeBuckets,
    );
    this.#responseSize = registry.histogram(
      'coredns_dns_response_size_bytes',
      'Size of the returned response in bytes.',
      [...place, 'proto'],
      sizeBuckets,
    );
    this.#responses = counter('coredns_dns_responses_total', 'Counter of response status codes.', [
      ...place,
      'rcode',
      'plugin',
    ]);
    this.#dnssec = counter(
      'coredns_dns_do_requests_total',
      'Counter of DNS requests with the DO bit set per zone.',
      place,
    );
    this.#plugins = registry.gauge('coredns_plugin_enabled', 'Whether a plugin is enabled for a server and zone.', [
      ...place,
      'name',
    ]);
    this.#version = registry.gauge('coredns_reload_version_info', 'A hash of the Corefile in force.', [
      'hash',
      'value',
    ]);
    registry
      .gauge('coredns_build_info', 'The server.', ['version', 'revision', 'goversion'])
      .cell('weft', '', '').value = 1;
    this.panics = counter('coredns_panics_total', 'Counter of answers that failed by an error of the server.').cell();
    this.dropped = counter(
      'weft_dns_dropped_total',
      'Counter of requests left without an answer, as too many were waiting.',
    ).cell();
    this.reloadFailures = counter('coredns_reload_failed_total', 'Counter of Corefiles that were refused.').cell();
    this.hostsEntries = registry
      .gauge('coredns_hosts_entries', 'The combined number of entries in hosts and Corefile.')
      .cell();
    this.hostsReadAt = registry
      .gauge('coredns_hosts_reload_timestamp_seconds', 'The timestamp of the last reload of hosts file.')
      .cell();
    this.#health = registry.histogram(
      'coredns_health_request_duration_seconds',
      'Histogram of the time (in seconds) each request to /health of the server itself took.',
      [],
      timeBuckets,
    );
    this.#health.observer();
    this.healthFailures = registry
      .counter('coredns_health_request_failures_total', 'The number of times the health check failed.')
      .cell();
    this.#readProcess = processMetrics(registry);
    this.names = registry.gauge('weft_dns_names', 'How many Services have names.').cell();
    this.excludedUpstreams = registry
      .gauge('weft_dns_upstreams_excluded', 'How many DNS upstreams lead back to this cluster and are left out.')
      .cell();
    this.autopath = counter('coredns_autopath_success_total', 'Counter of requests that did autopath.', [
      'server',
    ]).cell('dns://:53');
    this.#programming = registry.histogram(
      'coredns_kubernetes_dns_programming_duration_seconds',
      'Histogram of the time (in seconds) it took to program a dns instance.',
      ['service_kind'],
      programmingBuckets,
    );
    this.stale = registry
      .gauge('weft_dns_stale', 'Whether answers are from a saved state, before the first list.')
      .cell();
  }

  /** The page for Prometheus. */
  page(): string {
    this.#readProcess();
    return this.registry.page();
  }

  /** How long the server took to answer itself at /health, in seconds. */
  healthAnswered(seconds: number): void {
    this.#health.observe(seconds, []);
  }

  answered(one: Answered): void {
    const group = this.#group(one);
    count(
      group,
      this.#responsesOf(group, one.server, one.zone, one.rcode, one.by),
      one.size,
      one.answerSize,
      one.seconds,
    );
    if (one.dnssecOk) this.#dnssec.increment(one.server, one.zone, '');
  }

  /** Takes over what a hot path has counted, as answers of that server for that zone. */
  addHot(tally: HotTally, server: string, zone: string): void {
    tally.take({
      answers: ({ transport, family, rcode, kind }, times) => {
        this.#requests.cell(server, zone, '', transport, `${family}`, kind).value += times;
        this.#responses.cell(server, zone, '', rcodeName(rcode), 'kubernetes').value += times;
        this.#duration.observe(hotSeconds, [server, zone, ''], times);
      },
      sizes: (transport, what, counts, sum) =>
        (what === 'request' ? this.#requestSize : this.#responseSize).add(counts, sum, [server, zone, '', transport]),
      dropped: (times) => {
        this.dropped.value += times;
      },
    });
  }

  /** How long a change of endpoints took from its cause to the answers, in seconds. */
  programmed(kind: string, seconds: number): void {
    this.#programming.observe(seconds, [kind]);
  }

  /** Which plugins are in force, and the hash of the Corefile that says so. */
  inForce(plugins: readonly { server: string; zone: string; name: string }[], hash: string): void {
    this.#plugins.clear();
    for (const { server, zone, name } of plugins) this.#plugins.cell(server, zone, '', name).value = 1;
    this.#version.clear();
    this.#version.cell('sha512', hash).value = 1;
  }

  #responsesOf(group: Group, server: string, zone: string, rcode: number, by: PluginName): Cell {
    const key = `${rcode} ${by}`;
    let responses = group.responses.get(key);
    if (responses === undefined) {
      responses = this.#responses.cell(server, zone, '', rcodeName(rcode), by);
      group.responses.set(key, responses);
    }
    return responses;
  }

  #group({ server, zone, transport, family, type }: GroupKey): Group {
    const key = `${type} ${transport} ${family} ${server} ${zone}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = {
        requests: this.#requests.cell(server, zone, '', transport, `${family}`, kindOfType(type)),
        duration: this.#duration.observer(server, zone, ''),
        requestSize: this.#requestSize.observer(server, zone, '', transport),
        responseSize: this.#responseSize.observer(server, zone, '', transport),
        responses: new Map(),
      };
      this.#groups.set(key, group);
    }
    return group;
  }
}
