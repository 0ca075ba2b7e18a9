// Answers of upstreams, kept for as long as they may be; asked again before they expire, and given beyond it (RFC 8767).
import type { CacheLimits, CacheOptions } from './corefile/config.ts';
import type { UpstreamAnswer } from './forward/answer.ts';
import type { Outcome } from './forward/forwarder.ts';
import { type Asked, keyOf } from './forward/question.ts';
import type { Registry } from './metrics/registry.ts';
import { type Name, rcode, type as typeCode } from './records.ts';

/** An answer that was kept, or has just come. */
export interface CachedAnswer {
  readonly answer: UpstreamAnswer;
  /** What is left of a record's TTL. */
  readonly ttl: (original: number) => number;
  /** It expired: upstream has not been asked, or gives nothing. */
  readonly stale: boolean;
  /** It was there already. */
  readonly cached: boolean;
  readonly from: string;
}

export type CacheOutcome = CachedAnswer | Extract<Outcome, { answer: undefined }>;

interface Kept {
  readonly answer: UpstreamAnswer;
  readonly from: string;
  readonly storedAt: number;
  readonly lifeMs: number;
  /** Questions without a pause, and when the last one was. */
  hits: number;
  hitAt: number;
  refreshing: boolean;
}

/** RFC 8767: what is stale is given for 30 s. */
const staleTtl = 30;
const maximumTtl = 2 ** 31 - 1;

export interface CacheMetrics {
  request(): void;
  hit(kind: 'success' | 'denial'): void;
  miss(): void;
  prefetch(): void;
  stale(): void;
  dropped(count: number): void;
  evicted(kind: 'success' | 'denial'): void;
  entries(kind: 'success' | 'denial', count: number): void;
}

export class AnswerCache {
  readonly #options: CacheOptions;
  readonly #metrics: CacheMetrics;
  readonly #now: () => number;
  readonly #kept = { success: new Map<string, Kept>(), denial: new Map<string, Kept>() };

  constructor(options: CacheOptions, metrics: CacheMetrics, now: () => number = () => performance.now()) {
    this.#options = options;
    this.#metrics = metrics;
    this.#now = now;
  }

  /** The answer to a question, at once where it is kept; `ask` asks upstream. */
  get(asked: Asked, ask: () => Promise<Outcome>): CacheOutcome | Promise<CacheOutcome> {
    if (!this.#isFor(asked.name)) return ask().then(fresh);
    const key = keyOf(asked);
    this.#metrics.request();
    const found = this.#find(key);
    if (found === undefined) {
      this.#metrics.miss();
      return this.#refresh(key, asked, ask).then(fresh);
    }
    const { kept, kind } = found;
    const age = this.#now() - kept.storedAt;
    if (age < kept.lifeMs) {
      this.#metrics.hit(kind);
      if (this.#wantsPrefetch(kept, age)) this.#refreshBehind(kept, key, asked, ask);
      return this.#given(kept, age);
    }
    const { serveStale } = this.#options;
    if (serveStale === undefined || age >= kept.lifeMs + serveStale.forMs) {
      this.#metrics.miss();
      return this.#refresh(key, asked, ask).then(fresh);
    }
    if (serveStale.mode === 'verify')
      return this.#refresh(key, asked, ask).then((outcome) =>
        outcome.answer !== undefined && outcome.answer.rcode !== rcode.serverFailure
          ? fresh(outcome)
          : this.#stale(kept, kind),
      );
    this.#refreshBehind(kept, key, asked, ask);
    return this.#stale(kept, kind);
  }

  #stale(kept: Kept, kind: 'success' | 'denial'): CachedAnswer {
    this.#metrics.stale();
    this.#metrics.hit(kind);
    return {
      answer: kept.answer,
      from: kept.from,
      stale: true,
      cached: true,
      ttl: (original) => Math.min(original, staleTtl),
    };
  }

  get size(): number {
    return this.#kept.success.size + this.#kept.denial.size;
  }

  #isFor(name: Name): boolean {
    const { zones } = this.#options;
    return zones.length === 0 || isWithinAny(name, zones);
  }

  #find(key: string): { kept: Kept; kind: 'success' | 'denial' } | undefined {
    const success = this.#kept.success.get(key);
    if (success !== undefined) return { kept: success, kind: 'success' };
    const denial = this.#kept.denial.get(key);
    return denial === undefined ? undefined : { kept: denial, kind: 'denial' };
  }

  #given(kept: Kept, ageMs: number): CachedAnswer {
    const seconds = Math.floor(ageMs / 1000);
    const least = Math.ceil((kept.lifeMs - ageMs) / 1000);
    // An answer that is kept longer than its own TTL says (MINTTL) still has what is left of its life.
    const ttl = this.#options.keepTtl
      ? (original: number) => original
      : (original: number) =>
          original > seconds ? Math.min(original - seconds, Math.max(least, 0)) : Math.max(least, 0);
    return { answer: kept.answer, from: kept.from, stale: false, cached: true, ttl };
  }

  #wantsPrefetch(kept: Kept, age: number): boolean {
    const { prefetch } = this.#options;
    if (prefetch === undefined) return false;
    const now = this.#now();
    kept.hits = now - kept.hitAt < prefetch.pauseMs ? kept.hits + 1 : 1;
    kept.hitAt = now;
    const left = kept.lifeMs - age;
    return kept.hits >= prefetch.amount && left <= Math.max(1000, (kept.lifeMs * prefetch.percentage) / 100);
  }

  #refreshBehind(kept: Kept, key: string, asked: Asked, ask: () => Promise<Outcome>): void {
    if (kept.refreshing) return;
    kept.refreshing = true;
    this.#metrics.prefetch();
    void this.#refresh(key, asked, ask).finally(() => {
      kept.refreshing = false;
    });
  }

  async #refresh(key: string, asked: Asked, ask: () => Promise<Outcome>): Promise<Outcome> {
    const outcome = await ask();
    if (outcome.answer?.dropped !== undefined) this.#metrics.dropped(outcome.answer.dropped);
    if (outcome.answer !== undefined) this.#keep(key, asked, outcome.answer, outcome.from);
    return outcome;
  }

  #keep(key: string, asked: Asked, answer: UpstreamAnswer, from: string): void {
    if (answer.truncated) return;
    const kind = kindOf(answer);
    const lifeMs = this.#lifeMs(answer, kind);
    const disabled = kind === 'success' ? this.#options.disableSuccess : this.#options.disableDenial;
    if (kind === undefined || lifeMs <= 0 || isWithinAny(asked.name, disabled)) return;
    // A failure never takes the place of an answer that may still be given.
    if (answer.rcode === rcode.serverFailure && this.#isStillOfUse(key)) return;
    const other = kind === 'success' ? 'denial' : 'success';
    this.#kept[other].delete(key);
    const map = this.#kept[kind];
    const before = map.get(key);
    map.delete(key);
    const limits = this.#options[kind];
    const oldest = map.size >= limits.capacity ? map.keys().next().value : undefined;
    if (oldest !== undefined) {
      map.delete(oldest);
      this.#metrics.evicted(kind);
    }
    const storedAt = this.#now();
    const [hits, hitAt] = [before?.hits ?? 0, before?.hitAt ?? storedAt];
    map.set(key, { answer, from, storedAt, lifeMs, hits, hitAt, refreshing: false });
    this.#metrics.entries('success', this.#kept.success.size);
    this.#metrics.entries('denial', this.#kept.denial.size);
  }

  #isStillOfUse(key: string): boolean {
    const found = this.#find(key);
    if (found === undefined || found.kept.answer.rcode === rcode.serverFailure) return false;
    return this.#now() - found.kept.storedAt < found.kept.lifeMs + (this.#options.serveStale?.forMs ?? 0);
  }

  #lifeMs(answer: UpstreamAnswer, kind: 'success' | 'denial' | undefined): number {
    if (kind === undefined) return 0;
    if (answer.rcode === rcode.serverFailure) return this.#options.servfailMs;
    const limits: CacheLimits = this.#options[kind];
    return (
      Math.min(limits.maxTtl, Math.max(limits.minTtl, kind === 'denial' ? negativeTtl(answer) : leastTtl(answer))) *
      1000
    );
  }
}

const fresh = (outcome: Outcome): CacheOutcome =>
  outcome.answer === undefined ? outcome : { ...outcome, stale: false, cached: false, ttl: (original) => original };

function kindOf({ rcode: code, answers }: UpstreamAnswer): 'success' | 'denial' | undefined {
  if (code === rcode.noError) return answers > 0 ? 'success' : 'denial';
  return code === rcode.noSuchName || code === rcode.serverFailure ? 'denial' : undefined;
}

const leastTtl = ({ places }: UpstreamAnswer): number =>
  places.reduce((least, { ttl }) => Math.min(least, ttl), maximumTtl);

/** RFC 2308: the smaller one of SOA's TTL and its last field. Without an SOA nothing says how long: not kept long. */
function negativeTtl({ places }: UpstreamAnswer): number {
  const soa = places.find(({ type, data }) => type === typeCode.SOA && data.length >= 20);
  return soa === undefined ? 0 : Math.min(soa.ttl, soa.data.readUInt32BE(soa.data.length - 4));
}

export const isWithin = (name: Name, zone: Name): boolean => zone === '' || name === zone || name.endsWith(`.${zone}`);

export const isWithinAny = (name: Name, zones: readonly Name[]): boolean => zones.some((zone) => isWithin(name, zone));

/** The metrics of the cache of one server block. */
export function cacheMetrics(registry: CacheFamilies, server: string, zones: string): CacheMetrics {
  const label = [server, zones] as const;
  // Rates need a zero to begin with.
  for (const kind of ['success', 'denial'] as const)
    for (const family of [registry.hits, registry.evictions]) family.cell(server, kind, zones);
  const { requests, misses, prefetches, stale, drops } = registry;
  for (const family of [requests, misses, prefetches, stale, drops]) family.cell(...label);
  return {
    request: () => registry.requests.increment(...label),
    hit: (kind) => registry.hits.increment(server, kind, zones),
    miss: () => registry.misses.increment(...label),
    prefetch: () => registry.prefetches.increment(...label),
    stale: () => registry.stale.increment(...label),
    dropped: (count) => {
      registry.drops.cell(...label).value += count;
    },
    evicted: (kind) => registry.evictions.increment(server, kind, zones),
    entries: (kind, count) => {
      registry.entries.cell(server, kind, zones).value = count;
    },
  };
}

export type CacheFamilies = ReturnType<typeof cacheFamilies>;

/** CoreDNS's families of its cache. */
export function cacheFamilies(registry: Registry) {
  const labels = ['server', 'zones'];
  const kinds = ['server', 'type', 'zones'];
  const counter = (name: string, help: string, own: readonly string[]) =>
    registry.counter(`coredns_cache_${name}`, help, own);
  return {
    entries: registry.gauge('coredns_cache_entries', 'The number of elements in the cache.', kinds),
    requests: counter('requests_total', 'The count of cache requests.', labels),
    hits: counter('hits_total', 'The count of cache hits.', kinds),
    misses: counter('misses_total', 'The count of cache misses.', labels),
    prefetches: counter('prefetch_total', 'The number of times the cache has prefetched a cached item.', labels),
    stale: counter('served_stale_total', 'The number of requests served from stale cache entries.', labels),
    drops: counter(
      'drops_total',
      'The number of responses that are not cached, because they answer something else than was asked.',
      labels,
    ),
    evictions: counter('evictions_total', 'The count of cache evictions.', kinds),
  };
}
