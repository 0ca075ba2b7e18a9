// Address pools as users write them (IPAddressPool), read into typed data; what is wrong with them. Pure.
import type { IPAddressPool } from '../k8s/load-balancer.ts';
import { keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Ip } from '../net/address.ts';
import { formatSpan, parseSpan, type Span, spanContains, spansOverlap } from '../net/span.ts';
import { type Problem, readSelectors, type Selector } from './reading.ts';

export interface Pool {
  /** `namespace/name`. */
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spans: readonly Span[];
  readonly autoAssign: boolean;
  readonly avoidBuggy: boolean;
  /** Pools with a lower one are tried first; Infinity where none is given. */
  readonly priority: number;
  /** Whether the pool is for some Services alone. */
  readonly pinned: boolean;
  /** Nobody gets a new address of it: its object cannot be followed, and never could. */
  readonly closed: boolean;
  /** Whether a Service may have addresses of the pool. */
  readonly allows: (service: Service, namespaceLabels: Readonly<Record<string, string>>) => boolean;
}

export interface PoolReading {
  readonly pool: Pool;
  readonly problems: readonly Problem[];
}

/** A pool; what of it cannot be read is left out and told. */
export function readPool(object: IPAddressPool): PoolReading {
  const problems: Problem[] = [];
  const { namespace = '', name = '', labels = {} } = object.metadata;
  const { addresses = [], autoAssign = true, avoidBuggyIPs = false, serviceAllocation } = object.spec ?? {};
  const spans = addresses.flatMap((text, index): Span[] => {
    const span = parseSpan(text);
    if (typeof span !== 'string') return [span];
    problems.push({ field: `spec.addresses[${index}]`, reason: `'${text}' ${span}` });
    return [];
  });
  if (addresses.length === 0) problems.push({ field: 'spec.addresses', reason: 'is empty' });
  for (const [index, span] of spans.entries())
    if (spans.slice(0, index).some((other) => spansOverlap(span, other)))
      problems.push({ field: 'spec.addresses', reason: `${formatSpan(span)} overlaps with another range of the pool` });
  const where = 'spec.serviceAllocation';
  const { namespaces = [], priority = 0 } = serviceAllocation ?? {};
  if (!Number.isInteger(priority) || priority < 0)
    problems.push({ field: `${where}.priority`, reason: `${priority} must be a whole number from 0` });
  const inNamespace = readSelectors(serviceAllocation?.namespaceSelectors, `${where}.namespaceSelectors`, problems);
  const ofService = readSelectors(serviceAllocation?.serviceSelectors, `${where}.serviceSelectors`, problems);
  return {
    pool: {
      key: keyOf({ namespace, name }),
      namespace,
      name,
      labels,
      spans,
      autoAssign,
      avoidBuggy: avoidBuggyIPs,
      priority: priority > 0 ? priority : Number.POSITIVE_INFINITY,
      pinned: namespaces.length > 0 || inNamespace !== undefined || ofService !== undefined,
      closed: false,
      allows: allowance(namespaces, inNamespace, ofService),
    },
    problems,
  };
}

/** Namespaces by name or by label, and Services by label; what is not given excludes nobody (as MetalLB has it). */
function allowance(
  namespaces: readonly string[],
  inNamespace: Selector | undefined,
  ofService: Selector | undefined,
): Pool['allows'] {
  const anyNamespace = namespaces.length === 0 && inNamespace === undefined;
  return ({ metadata }, namespaceLabels) =>
    (anyNamespace || namespaces.includes(metadata.namespace ?? '') || inNamespace?.(namespaceLabels) === true) &&
    (ofService === undefined || ofService(metadata.labels));
}

export function poolContains(pool: Pool, address: Ip): boolean {
  return pool.spans.some((span) => spanContains(span, address));
}

interface Dated {
  readonly object: IPAddressPool;
  readonly reading: PoolReading;
}

/** Tells a pool that came later than another one with which it overlaps: each address belongs to one pool. */
function overlap(pool: Pool, earlier: readonly Pool[]): Problem[] {
  return earlier.flatMap((other) =>
    pool.spans
      .filter((span) => other.spans.some((taken) => spansOverlap(span, taken)))
      .map((span) => ({ field: 'spec.addresses', reason: `${formatSpan(span)} overlaps with the pool ${other.key}` })),
  );
}

/** What the pools are, and for each object that cannot be followed what is wrong with it. */
export interface PoolsReading {
  readonly pools: readonly Pool[];
  readonly problems: ReadonlyMap<string, readonly Problem[]>;
}

/**
 * All pools, the oldest first. Of an object that cannot be followed the last good reading goes on (`good` remembers it
 * by uid and is changed); where there is none, its readable addresses are kept for the Services that have them, and
 * nobody gets a new one.
 */
export function readPools(objects: readonly IPAddressPool[], good: Map<string, Pool>): PoolsReading {
  const dated = objects
    .map((object): Dated => ({ object, reading: readPool(object) }))
    .sort((a, b) => (ageKey(a.object) < ageKey(b.object) ? -1 : 1));
  const problems = new Map<string, readonly Problem[]>();
  const pools: Pool[] = [];
  for (const { object, reading } of dated) {
    const uid = object.metadata.uid ?? reading.pool.key;
    const wrong = reading.problems.length > 0 ? reading.problems : overlap(reading.pool, pools);
    if (wrong.length === 0) good.set(uid, reading.pool);
    else problems.set(reading.pool.key, wrong);
    const last = good.get(uid);
    const stillGood = last !== undefined && overlap(last, pools).length === 0;
    pools.push(stillGood ? last : closed(reading.pool, pools));
  }
  const present = new Set(objects.map(({ metadata }) => metadata.uid ?? keyOf({ metadata })));
  for (const uid of [...good.keys()]) if (!present.has(uid)) good.delete(uid);
  return { pools, problems };
}

const ageKey = ({ metadata }: IPAddressPool): string =>
  `${metadata.creationTimestamp ?? ''} ${metadata.namespace}/${metadata.name}`;

/** A pool of which nobody gets a new address. */
function closed(pool: Pool, earlier: readonly Pool[]): Pool {
  const spans = pool.spans.filter(
    (span, index) =>
      ![...earlier.flatMap((other) => other.spans), ...pool.spans.slice(0, index)].some((taken) =>
        spansOverlap(span, taken),
      ),
  );
  return { ...pool, spans, closed: true };
}
