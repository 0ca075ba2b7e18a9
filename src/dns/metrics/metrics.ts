// The metrics of the DNS server, under CoreDNS's names and labels: dashboards and alerts of others know them.
import { cacheFamilies } from '../cache.ts';
import type { PluginName } from '../chain/reply.ts';
import { rcodeName, typeName, typeNames } from '../corefile/values.ts';
import { forwardMetrics, timeBuckets } from '../forward/forward-metrics.ts';
import { type Cell, Registry } from './registry.ts';

/** An answer of the hot path: always over UDP, from the objects of the cluster, in some millionths of a second. */
export interface HotAnswered {
  readonly type: number;
  readonly rcode: number;
  readonly family: 1 | 2;
  /** Octets. */
  readonly size: number;
  readonly answerSize: number;
}

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
/** CoreDNS's limits of the sizes of messages. */
const sizeBuckets = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000];
/** Types that CoreDNS counts by name; all others are `other`. */
const counted = new Set(
  [
    'A',
    'AAAA',
    'MX',
    'SOA',
    'CNAME',
    'PTR',
    'TXT',
    'NS',
    'SRV',
    'DS',
    'DNSKEY',
    'RRSIG',
    'NSEC',
    'NSEC3',
    'HTTPS',
    'IXFR',
    'AXFR',
    'ANY',
  ].map((name) => typeNames[name]),
);

/** What an answer of the hot path takes; it is not measured one by one, as the clock would take as long. */
const hotSeconds = 0.000_01;

interface Group {
  readonly requests: Cell;
  readonly duration: (value: number) => void;
  readonly requestSize: (value: number) => void;
  readonly responseSize: (value: number) => void;
  readonly responses: Map<string, Cell>;
}

interface HotPlace {
  readonly server: string;
  readonly zone: string;
  readonly kept: Map<number, { readonly group: Group; readonly responses: Cell }>;
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
  /** The same for answers of the hot path, by a number: there are as many of them as the server can give. */
  #hotPlace: HotPlace = { server: '', zone: '', kept: new Map() };
  readonly panics: Cell;
  readonly reloadFailures: Cell;
  readonly hostsEntries: Cell;
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
    this.reloadFailures = counter('coredns_reload_failed_total', 'Counter of Corefiles that were refused.').cell();
    this.hostsEntries = registry
      .gauge('coredns_hosts_entries', 'The combined number of entries in hosts and Corefile.')
      .cell();
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

  /** An answer of the hot path, which may not cost more to count than to give. */
  answeredHot(server: string, zone: string, { type, rcode, family, size, answerSize }: HotAnswered): void {
    if (this.#hotPlace.server !== server || this.#hotPlace.zone !== zone)
      this.#hotPlace = { server, zone, kept: new Map() };
    const key = (type << 5) | (rcode << 1) | (family - 1);
    let kept = this.#hotPlace.kept.get(key);
    if (kept === undefined) {
      const group = this.#group({ server, zone, transport: 'udp', family, type });
      kept = { group, responses: this.#responsesOf(group, server, zone, rcode, 'kubernetes') };
      this.#hotPlace.kept.set(key, kept);
    }
    count(kept.group, kept.responses, size, answerSize, hotSeconds);
  }

  /** How long a change of endpoints took from its cause to the answers, in seconds. */
  programmed(kind: string, seconds: number): void {
    this.#programming.observe(seconds, kind);
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
      const kind = counted.has(type) ? typeName(type) : 'other';
      group = {
        requests: this.#requests.cell(server, zone, '', transport, `${family}`, kind),
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
