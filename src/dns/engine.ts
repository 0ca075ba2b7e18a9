// What answers: the Corefile in force with its plugins, the hot path before it, metrics and the query log beside it.
import { createHash } from 'node:crypto';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { namespaces } from '../k8s/resources.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import { Plan, serverLabel, zoneLabel } from './chain/plan.ts';
import { type Clients, followClients } from './clients.ts';
import { type ConfigFollower, followConfigMap, type ReadConfig } from './config-map.ts';
import { type Content, type ContentOptions, followObjects } from './content.ts';
import { defaultPort, type KubernetesOptions, type ServerBlock } from './corefile/config.ts';
import { FailureLog } from './failure-log.ts';
import { readResolvConf } from './forward/resolv-conf.ts';
import { HotPath } from './hot-path.ts';
import type { Answerer } from './listeners.ts';
import type { HotTally } from './metrics/hot-tally.ts';
import { DnsMetrics } from './metrics/metrics.ts';
import { QueryLog } from './query-log.ts';
import type { DnsServerStatus } from './query-stream.ts';
import type { ZoneView } from './resolve.ts';
import { Responder } from './responder.ts';
import { Sources } from './sources.ts';
import { Feed, type Switches } from './threads/feed.ts';

export interface EngineOptions {
  readonly client: Client;
  /** The Corefile where the cluster has none. */
  readonly corefile: string;
  /** The node whose pods ask; all pods may ask where it is absent. */
  readonly nodeName?: string;
  /** Ranges of the cluster that are none of the private ones. */
  readonly clientRanges?: readonly Cidr[];
  /** The folder where it keeps what it knows for its next start; nowhere where absent. */
  readonly stateFolder?: string;
  readonly log: Log;
  /** Called when a configuration has been put in force. */
  onConfig?(blocks: readonly ServerBlock[]): void;
}

/** Answers from memory: no view and so no hot path while none is in force. */
const off: HotPath['answer'] = () => 0;

export class Engine {
  readonly metrics = new DnsMetrics();
  readonly queryLog = new QueryLog(() => this.feed.changed());
  /** What answering threads have to know. */
  readonly feed: Feed;
  /** What hot paths have counted, by thread. */
  readonly #tallies = new Set([this.metrics.hot]);
  readonly plan: Plan;
  readonly #options: EngineOptions;
  readonly #follower: ConfigFollower;
  #mark: string | undefined;
  #hot: { readonly view: ZoneView; readonly path: HotPath } | undefined;

  constructor(options: EngineOptions) {
    const { client, log } = options;
    this.#options = options;
    this.plan = new Plan({
      contentFor: (kubernetes) => this.#follow(kubernetes),
      resolvConf: (path) => readResolvConf(path),
      cacheFamilies: this.metrics.cache,
      forwardMetrics: this.metrics.forward,
      clusterMark: () => this.#mark,
      namespaceOf: (address) => this.#clients?.namespaceOf(address),
      log,
    });
    this.feed = new Feed(() => this.#switches());
    this.#failures = new FailureLog(log);
    void this.#findMark();
    this.#follower = followConfigMap({
      client,
      recorder: createRecorder(client, 'weft-dns'),
      log,
      environment: process.env,
      otherwise: options.corefile,
      ...(options.stateFolder !== undefined && { stateFile: join(options.stateFolder, 'corefile.json') }),
      apply: (read) => this.#apply(read),
      onRefused: () => {
        this.metrics.reloadFailures.value++;
      },
    });
  }

  /** Resolves when the first configuration is in force. */
  get configured(): Promise<void> {
    return this.#follower.first;
  }

  /** What answers on one port of the Corefile. */
  answerer(port: number): Answerer {
    const engine = this;
    const { metrics, queryLog, plan } = this;
    const { log } = this.#options;
    const responder = new Responder({
      plan,
      port,
      metrics,
      queryLog,
      print: (line) => log.info({ part: 'log' }, line),
      onServerFailure: (name, type, reason) => this.#failures.add(name, type, reason),
      onNobody: (name, type, reason) => this.#failures.add(name, type, reason, 'NXDOMAIN'),
      onFailure: (error, name) =>
        log.error(
          { name, error: error instanceof Error ? error.stack : String(error) },
          'a question could not be answered',
        ),
    });
    return {
      responder,
      sources: new Sources(this.#options.clientRanges),
      get hot() {
        return (port === defaultPort ? engine.#hot?.path : undefined) ?? noHotPath;
      },
      tally: metrics.hot,
    };
  }

  status(): DnsServerStatus {
    return {
      corefile: this.#corefileHash,
      synced: this.plan.synced,
      services: this.#hot?.view.table.size ?? 0,
      upstreams: this.plan.upstreams.map(({ text, down, suspect, excluded }) => ({
        address: text,
        state: excluded ? 'left out' : down ? 'down' : suspect ? 'in doubt' : 'well',
      })),
    };
  }

  /** How many threads are to answer on the first port, by the Corefile; 0: the main thread. */
  get threads(): number {
    const blocks = this.plan.blocks.filter(({ port }) => port === defaultPort);
    return Math.max(0, ...blocks.map(({ multisocket }) => threadsFor(multisocket)));
  }

  /** Counts what another thread answers, until the returned function is called. */
  count(tally: HotTally): () => void {
    this.#tallies.add(tally);
    return () => {
      this.#countHot();
      this.#tallies.delete(tally);
    };
  }

  /** For how long a server that ends goes on to answer, by the Corefile, in ms. */
  get lameduckMs(): number {
    return Math.max(0, ...this.plan.blocks.map(({ health }) => health?.lameduckMs ?? 0));
  }

  /** The page for Prometheus. */
  metricsPage(): string {
    this.#countHot();
    this.metrics.hostsEntries.value = this.plan.hostsEntries;
    this.metrics.stale.value = this.#content?.isStale() === true ? 1 : 0;
    this.metrics.names.value = this.#hot?.view.table.size ?? 0;
    this.metrics.excludedUpstreams.value = this.plan.upstreams.filter(({ excluded }) => excluded).length;
    this.metrics.hostsReadAt.value = this.plan.hostsReadAt;
    return this.metrics.page();
  }

  close(): void {
    this.#follower.stop();
    this.#failures.stop();
    this.#clients?.stop();
    this.plan.close();
  }

  readonly #failures: FailureLog;
  #hotZone = '.';
  #corefileHash = '';
  #content: Content | undefined;
  #clients: Clients | undefined;

  /** Pods are followed from the first Corefile on that completes names for them. */
  #followClients(blocks: readonly ServerBlock[]): void {
    const { client, nodeName } = this.#options;
    if (blocks.some(({ autopath }) => autopath))
      this.#clients ??= followClients(client, nodeName, () => this.feed.changed());
    else {
      this.#clients?.stop();
      this.#clients = undefined;
    }
  }

  async #apply({ config, files, text }: ReadConfig): Promise<void> {
    this.#followClients(config.blocks);
    await this.plan.apply(config, files);
    await this.#content?.remembered;
    const { direct } = this.plan;
    if (direct !== undefined && this.#hot?.view !== direct) this.#hot = { view: direct, path: this.#hotPath(direct) };
    if (direct !== undefined) this.feed.setView(direct);
    this.feed.changed();
    // What was answered until now was answered under the zone before.
    this.#countHot();
    if (direct !== undefined) this.#hotZone = zoneLabel(this.plan.blockFor(direct.zone, defaultPort)?.zone ?? '');
    this.#corefileHash = hashOfCorefile(text);
    this.metrics.inForce(config.blocks.flatMap(pluginsOf), this.#corefileHash);
    this.#options.onConfig?.(config.blocks);
  }

  #hotPath(view: ZoneView): HotPath {
    return new HotPath({
      view,
      recursionAvailable: () => this.plan.directForwards,
      isOn: () => this.#isOn(view),
      reverseZones: () => this.plan.directReverse,
      completesIn: (namespace) => this.plan.directCompletes && this.#clients?.hasNamespace(namespace) === true,
    });
  }

  /** Whether answers of this view are the hot path's now. */
  #isOn(view: ZoneView | undefined): boolean {
    return view !== undefined && this.plan.direct === view && this.plan.synced && !this.queryLog.active;
  }

  #switches(): Switches {
    return {
      isOn: this.#isOn(this.#hot?.view),
      recursionAvailable: this.plan.directForwards,
      completedNamespaces: this.plan.directCompletes ? (this.#clients?.namespaces() ?? []) : [],
    };
  }

  #countHot(): void {
    for (const tally of this.#tallies) this.metrics.addHot(tally, serverLabel(defaultPort), this.#hotZone);
  }

  #follow(options: KubernetesOptions): Content {
    const { stateFolder } = this.#options;
    const plain = contentOptions(options);
    const hash = createHash('sha256').update(JSON.stringify(plain)).digest('hex').slice(0, 16);
    const content = followObjects(this.#options.client, {
      ...plain,
      onProgrammed: (kind, seconds) => this.metrics.programmed(kind, seconds),
      ...(stateFolder !== undefined && { snapshot: join(stateFolder, `services-${hash}.jsonl`) }),
    });
    this.#content = content;
    const { zone } = content.view;
    void content.synced.then(() => {
      this.feed.changed();
      this.#options.log.info({ zone, names: content.view.table.size }, 'all Services are known');
    });
    void content.remembered.then(() => this.feed.changed());
    return content;
  }

  /** The mark of probes for loops: what every server of this cluster knows, and no other cluster's. */
  async #findMark(): Promise<void> {
    try {
      const { metadata } = await this.#options.client.get(namespaces, { name: 'kube-system' });
      this.#mark = createHash('sha256').update(metadata.uid).digest('hex').slice(0, 16);
    } catch {
      // The API is away, or the namespace is not there: loops are looked for later.
      setTimeout(() => void this.#findMark(), 5000).unref();
    }
  }
}

/** More threads than that bring nothing: the kernel takes longer to give a datagram than they to answer it. */
const mostThreads = 64;
/** So many at most where the Corefile does not say how many. */
const mostByProcessors = 8;

const threadsFor = (multisocket: ServerBlock['multisocket']): number =>
  multisocket === undefined
    ? 0
    : Math.min(mostThreads, multisocket.sockets ?? Math.min(mostByProcessors, availableParallelism()));

const noHotPath: Pick<HotPath, 'answer' | 'last'> = { answer: off, last: { qtype: 0, rcode: 0 } };

const contentOptions = (options: KubernetesOptions): ContentOptions => ({
  zone: options.zones[0] ?? '',
  ttl: options.ttl,
  pods: options.pods,
  endpoints: options.endpoints,
  endpointPodNames: options.endpointPodNames,
  ignoreEmptyServices: options.ignoreEmptyServices,
  ...(options.namespaces !== undefined && { namespaces: options.namespaces }),
  ...(options.namespaceLabels !== undefined && { namespaceLabels: options.namespaceLabels }),
  ...(options.labels !== undefined && { labels: options.labels }),
});

/** By which a Corefile is told from others. */
export const hashOfCorefile = (text: string): string => createHash('sha512').update(text).digest('hex');

/** The plugins of a block by name. */
export function pluginNames(block: ServerBlock): string[] {
  const { forwards, rewrites, logs } = block;
  const given: Readonly<Record<string, unknown>> = {
    errors: block.errors,
    log: logs.length > 0,
    health: block.health,
    ready: block.ready,
    prometheus: block.prometheus,
    any: block.any,
    chaos: block.chaos,
    loadbalance: block.loadbalance,
    cache: block.cache,
    rewrite: rewrites.length > 0,
    autopath: block.autopath,
    multisocket: block.multisocket,
    hosts: block.hosts,
    kubernetes: block.kubernetes,
    loop: block.loop,
    forward: forwards.length > 0,
    whoami: block.whoami,
  };
  return Object.entries(given).flatMap(([name, value]) => (value === undefined || value === false ? [] : [name]));
}

/** As the metric of the plugins that are enabled has them. */
const pluginsOf = (block: ServerBlock): { server: string; zone: string; name: string }[] =>
  block.zones.flatMap((zone) =>
    pluginNames(block).map((name) => ({ server: serverLabel(block.port), zone: zoneLabel(zone), name })),
  );
