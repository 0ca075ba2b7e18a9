// A configuration at work: the server blocks with their plugins, which of them answers a question, and its change.
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Log } from '../../log/log.ts';
import { AnswerCache, type CacheFamilies, cacheMetrics, isWithin, isWithinAny } from '../cache.ts';
import {
  type CacheOptions,
  defaultPort,
  type ForwardOptions,
  type KubernetesOptions,
  type ServerBlock,
  type ServerConfig,
} from '../corefile/config.ts';
import { isReverseZone } from '../corefile/kubernetes.ts';
import type { ForwardMetrics } from '../forward/forward-metrics.ts';
import { Forwarder } from '../forward/forwarder.ts';
import { watchForLoops } from '../forward/loop.ts';
import type { ServerTarget, Upstream } from '../forward/upstream.ts';
import type { Name } from '../records.ts';
import type { ZoneView } from '../resolve.ts';
import { BlockServer } from './block.ts';
import { type ConfigFiles, HostsPlugin } from './hosts.ts';
import { type KubernetesContent, KubernetesPlugin } from './kubernetes.ts';
import { type ChainQuestion, type ChainReply, failure, type MaybePromise } from './reply.ts';

/** What the plugins need from outside. */
export interface PlanParts {
  /** The objects of the cluster under the options of `kubernetes`; made once for equal options. */
  contentFor(options: KubernetesOptions): KubernetesContent & { stop(): void };
  /** The servers that a file in the form of resolv.conf names. */
  resolvConf(path: string): readonly ServerTarget[];
  readonly cacheFamilies: CacheFamilies;
  readonly forwardMetrics: ForwardMetrics;
  /** By which this cluster's own probes for loops are known (hexadecimal); undefined while it is not known yet. */
  clusterMark(): string | undefined;
  /** The namespace of the pod with this address; asked where a block has `autopath`. */
  namespaceOf?(address: string): string | undefined;
  readonly log: Log;
}

interface Kept<O, T> {
  readonly options: O;
  readonly value: T;
}

interface Closable {
  stop(): void;
}

/** What a configuration has made, by the options that it was made for. */
interface Live {
  readonly contents: Kept<KubernetesOptions, KubernetesContent & Closable>[];
  readonly forwarders: Kept<readonly unknown[], { readonly forwarder: Forwarder } & Closable>[];
  readonly caches: Kept<readonly unknown[], AnswerCache>[];
  readonly hosts: HostsPlugin[];
}

const noneLive = (): Live => ({ contents: [], forwarders: [], caches: [], hosts: [] });

const deepestLookup = 4;
const listPatienceMs = 5000;

/** `dns://:53`, as metrics name a server. */
export const serverLabel = (port: number): string => `dns://:${port}`;
export const zoneLabel = (zone: Name): string => `${zone}.`;

/**
 * The plugins of the configuration in force. A new configuration takes over what is the same in it: what is in a cache
 * stays there, and objects are not listed again.
 */
export class Plan {
  readonly #parts: PlanParts;
  #blocks: readonly BlockServer[] = [];
  #live = noneLive();
  #direct: ZoneView | undefined;
  #directReverse: readonly Name[] = [];

  constructor(parts: PlanParts) {
    this.#parts = parts;
  }

  /** Puts a configuration in the place of the one before, between two questions. */
  async apply(config: ServerConfig, files: ConfigFiles): Promise<void> {
    const before = this.#live;
    const after = noneLive();
    const blocks = config.blocks.map((block) => this.#build(block, files, after));
    await Promise.all(after.hosts.map((hosts) => hosts.start()));
    // While other objects are listed for the first time, the configuration before answers on.
    const known = new Set(before.contents.map(({ value }) => value));
    const fresh = after.contents.flatMap(({ value }) => (known.has(value) ? [] : [value.synced]));
    if (known.size > 0 && fresh.length > 0 && this.synced)
      await Promise.race([Promise.all(fresh), delay(listPatienceMs, undefined, { ref: false })]);
    this.#blocks = blocks;
    this.#live = after;
    this.#direct = this.#findDirect();
    this.#directReverse = this.#findDirectReverse();
    const kept = new Set<Closable>([...after.forwarders, ...after.contents].map(({ value }) => value));
    for (const hosts of before.hosts) hosts.stop();
    for (const { value } of [...before.forwarders, ...before.contents]) if (!kept.has(value)) value.stop();
  }

  get ports(): readonly number[] {
    return [...new Set(this.#blocks.map(({ parts }) => parts.block.port))];
  }

  get blocks(): readonly ServerBlock[] {
    return this.#blocks.map(({ parts }) => parts.block);
  }

  /** When a file of hosts was read last, in s since 1970; 0 where there is none. */
  get hostsReadAt(): number {
    return Math.max(0, ...this.#live.hosts.map(({ readAt }) => readAt));
  }

  get hostsEntries(): number {
    return this.#live.hosts.reduce((sum, hosts) => sum + hosts.size, 0);
  }

  /** Every upstream of the configuration, each once. */
  get upstreams(): readonly Upstream[] {
    return [...new Set(this.#live.forwarders.flatMap(({ value }) => value.forwarder.upstreams))];
  }

  /** Whether all lists of the cluster's objects are complete. */
  get synced(): boolean {
    return this.#live.contents.every(({ value }) => value.isSynced());
  }

  /**
   * The zone that the plugin kubernetes alone answers for on the first port, with nothing before it that could answer
   * otherwise or wants to see each question: answers may be given from what was written in advance.
   */
  get direct(): ZoneView | undefined {
    return this.#direct;
  }

  /** The reverse zones of which the same is true for names that belong to an address of the cluster. */
  get directReverse(): readonly Name[] {
    return this.#directReverse;
  }

  /** Whether the block of that zone asks others for names that are not its own. */
  get directForwards(): boolean {
    const view = this.#direct;
    return view !== undefined && (this.blockFor(view.zone, defaultPort)?.server.parts.forwarders.length ?? 0) > 0;
  }

  /** Whether the block of that zone completes names for clients. */
  get directCompletes(): boolean {
    const view = this.#direct;
    return view !== undefined && (this.blockFor(view.zone, defaultPort)?.server.parts.block.autopath ?? false);
  }

  /** The block that is responsible for a name, and its zone. */
  blockFor(name: Name, port: number): { server: BlockServer; zone: Name } | undefined {
    let best: { server: BlockServer; zone: Name } | undefined;
    for (const server of this.#blocks) {
      if (server.parts.block.port !== port) continue;
      for (const zone of server.parts.block.zones)
        if (isWithin(name, zone) && (best === undefined || zone.length > best.zone.length)) best = { server, zone };
    }
    return best;
  }

  close(): void {
    for (const hosts of this.#live.hosts) hosts.stop();
    for (const { value } of [...this.#live.forwarders, ...this.#live.contents]) value.stop();
  }

  #build(block: ServerBlock, files: ConfigFiles, after: Live): BlockServer {
    const { kubernetes, cache, hosts } = block;
    const own = hosts === undefined ? undefined : new HostsPlugin(hosts, block.zones, files);
    if (own !== undefined) after.hosts.push(own);
    const content = kubernetes === undefined ? undefined : this.#contentFor(kubernetes, after.contents);
    return new BlockServer({
      block,
      forwarders: block.forwards.map((options) => this.#forwarderFor(options, block.loop, after.forwarders)),
      ...(own !== undefined && { hosts: own }),
      ...(kubernetes !== undefined &&
        content !== undefined && { kubernetes: new KubernetesPlugin(kubernetes, content) }),
      ...(cache !== undefined && { cache: this.#cacheFor(cache, block, after.caches) }),
      clusterMark: () => this.#parts.clusterMark(),
      namespaceOf: (address) => this.#parts.namespaceOf?.(address),
      lookup: (name, question) => this.#lookup(name, question, block.port),
    });
  }

  #contentFor(options: KubernetesOptions, after: Live['contents']): KubernetesContent {
    const value =
      [...after, ...this.#live.contents].find((kept) => isSameContent(kept.options, options))?.value ??
      this.#parts.contentFor(options);
    after.push({ options, value });
    return value;
  }

  #forwarderFor(options: ForwardOptions, loop: boolean, after: Live['forwarders']): Forwarder {
    const targets = options.to.flatMap((to) => (to.kind === 'file' ? this.#parts.resolvConf(to.path) : [to]));
    const key = [{ ...options, line: 0 }, targets, loop] as const;
    const known = this.#live.forwarders.find((kept) => isDeepStrictEqual(kept.options, key))?.value;
    const value = known ?? this.#startForwarder(options, targets, loop);
    after.push({ options: key, value });
    return value.forwarder;
  }

  #startForwarder(options: ForwardOptions, targets: readonly ServerTarget[], loop: boolean) {
    const forwarder = new Forwarder(options, targets, this.#parts.forwardMetrics);
    const end = loop ? watchForLoops(forwarder, () => this.#parts.clusterMark(), this.#parts.log) : () => {};
    return {
      forwarder,
      stop(): void {
        end();
        forwarder.close();
      },
    };
  }

  #cacheFor(options: CacheOptions, block: ServerBlock, after: Live['caches']): AnswerCache {
    // What an upstream has said may not outlive it: the upstreams and the rules belong to what is the same.
    const key = [{ ...options, line: 0 }, block.zones, block.port, ...block.forwards.map(({ to }) => to)] as const;
    const same = (kept: Kept<readonly unknown[], AnswerCache>): boolean => isDeepStrictEqual(kept.options, key);
    const value =
      this.#live.caches.find(same)?.value ??
      new AnswerCache(
        options,
        cacheMetrics(this.#parts.cacheFamilies, serverLabel(block.port), block.zones.map(zoneLabel).join(' ')),
      );
    after.push({ options: key, value });
    return value;
  }

  /** Asks this server itself. Aliases that lead round in a circle through upstreams end after some steps. */
  #lookup(name: Name, question: ChainQuestion, port: number): MaybePromise<ChainReply> {
    const found = this.blockFor(name, port);
    if (found === undefined || question.depth >= deepestLookup) return failure('', 0, `nobody answers for ${name}`);
    return found.server.answer({ ...question, name, depth: question.depth + 1 });
  }

  #findDirectReverse(): readonly Name[] {
    if (this.#direct === undefined) return [];
    const main = this.blockFor(this.#direct.zone, defaultPort);
    const kubernetes = main?.server.parts.kubernetes;
    // Lines of hosts are names of addresses too.
    if (main === undefined || kubernetes === undefined || main.server.parts.hosts !== undefined) return [];
    const others = this.#blocks.flatMap(({ parts: { block } }) => (block.port === defaultPort ? block.zones : []));
    return kubernetes.options.zones.filter((zone) => {
      const found = this.blockFor(zone, defaultPort);
      const isOwn = isReverseZone(zone) && found?.server === main.server && found.zone === main.zone;
      return isOwn && !others.some((other) => other !== zone && isWithin(other, zone));
    });
  }

  #findDirect(): ZoneView | undefined {
    const kubernetes = this.#blocks.find(({ parts }) => parts.block.port === defaultPort && parts.kubernetes)?.parts
      .kubernetes;
    if (kubernetes === undefined) return undefined;
    const { view } = kubernetes.content;
    const server = this.blockFor(view.zone, defaultPort)?.server;
    const block = server?.parts.block;
    if (server === undefined || block === undefined || server.parts.kubernetes !== kubernetes) return undefined;
    const others = this.#blocks.some(
      (one) =>
        one !== server &&
        one.parts.block.port === defaultPort &&
        one.parts.block.zones.some((zone) => zone !== view.zone && isWithin(zone, view.zone)),
    );
    const { hosts } = server.parts;
    const hostsAnswers = hosts !== undefined && (hosts.concerns(view.zone) || !hosts.lets(view.zone));
    const falls = kubernetes.options.fallthrough;
    const fallsThrough =
      falls !== undefined && (isWithinAny(view.zone, falls) || falls.some((zone) => isWithin(zone, view.zone)));
    const looksAtEach = block.rewrites.length > 0 || block.logs.length > 0 || block.any;
    return others || hostsAnswers || fallsThrough || looksAtEach || !block.loadbalance ? undefined : view;
  }
}

/** Whether the same objects give the same names: all but what the plugin looks at itself is the same. */
function isSameContent(a: KubernetesOptions, b: KubernetesOptions): boolean {
  const relevant = ({ line: _, fallthrough: __, zones, ...rest }: KubernetesOptions) => ({ ...rest, zone: zones[0] });
  return isDeepStrictEqual(relevant(a), relevant(b));
}
