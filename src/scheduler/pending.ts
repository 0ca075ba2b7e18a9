// The pods that wait for a node: in which order they are tried, and when those that failed are tried again.
import type { Pod } from '../k8s/types.generated.ts';

export interface Pending {
  /** A pod is there to be placed, or its spec has changed: it is tried soon. */
  add(key: string, pod: Pod): void;
  /** The try in hand failed: the pod waits until something changes in the cluster. */
  failed(key: string): void;
  /** Something changed that may let pods in: those that wait are tried again, after their back-off. */
  retryAll(): void;
  remove(key: string): void;
  stop(): void;
}

interface Entry {
  readonly priority: number;
  readonly created: string;
  readonly order: number;
  failures: number;
  /** When the last try failed, by performance.now(). */
  failedAt: number;
  state: 'ready' | 'failed' | 'backing-off';
}

/** Upstream begins with 1 s; the first retry here comes sooner, as a cluster that starts up changes quickly. */
const backOff = { initialMs: 100, maxMs: 10_000 };
/** Without any event, waiting pods are tried again after so long, in ms (upstream: 5 minutes). */
const flushAfter = 300_000;

/** `schedule` is called with one key at a time; higher priority first, then the older pod. */
export function createPending(schedule: (key: string) => void): Pending {
  const entries = new Map<string, Entry>();
  let pumping = false;
  let timer: NodeJS.Timeout | undefined;
  let wakeAt = Number.POSITIVE_INFINITY;
  let orders = 0;
  let stopped = false;

  const pump = (): void => {
    pumping = false;
    if (stopped) return;
    const ready = [...entries].filter(([, entry]) => entry.state === 'ready').sort(([, a], [, b]) => compare(a, b));
    for (const [key, entry] of ready) {
      if (entries.get(key) !== entry) continue;
      entry.state = 'failed';
      entry.failedAt = performance.now();
      schedule(key);
    }
  };
  const pumpSoon = (): void => {
    if (pumping || stopped) return;
    pumping = true;
    setImmediate(pump);
  };
  const wake = (): void => {
    timer = undefined;
    wakeAt = Number.POSITIVE_INFINITY;
    retry(performance.now());
  };
  const wakeIn = (ms: number): void => {
    const at = performance.now() + ms;
    if (stopped || at >= wakeAt) return;
    clearTimeout(timer);
    wakeAt = at;
    timer = setTimeout(wake, Math.ceil(ms));
    timer.unref();
  };
  /** Makes those ready whose back-off is over, and wakes for the next. */
  const retry = (now: number): void => {
    for (const entry of entries.values()) {
      if (entry.state === 'failed' && entry.failures > 0) {
        const left = entry.failedAt + flushAfter - now;
        if (left > 0) wakeIn(left);
        else entry.state = 'backing-off';
      }
      if (entry.state !== 'backing-off') continue;
      const left = entry.failedAt + waitOf(entry.failures) - now;
      if (left <= 0) entry.state = 'ready';
      else wakeIn(left);
    }
    if ([...entries.values()].some(({ state }) => state === 'ready')) pumpSoon();
  };

  return {
    add(key, pod) {
      const before = entries.get(key);
      entries.set(key, {
        priority: pod.spec?.priority ?? 0,
        created: pod.metadata.creationTimestamp ?? '',
        order: before?.order ?? orders++,
        failures: before?.failures ?? 0,
        failedAt: 0,
        state: 'ready',
      });
      pumpSoon();
    },
    failed(key) {
      const entry = entries.get(key);
      if (entry === undefined) return;
      entry.failures++;
      entry.failedAt = performance.now();
      entry.state = 'failed';
      wakeIn(flushAfter);
    },
    retryAll() {
      for (const entry of entries.values())
        if (entry.state === 'failed' && entry.failures > 0) entry.state = 'backing-off';
      retry(performance.now());
    },
    remove: (key) => void entries.delete(key),
    stop() {
      stopped = true;
      clearTimeout(timer);
      entries.clear();
    },
  };
}

function compare(a: Entry, b: Entry): number {
  return b.priority - a.priority || (a.created < b.created ? -1 : a.created > b.created ? 1 : a.order - b.order);
}

/** The wait after so many failures, in ms. */
function waitOf(failures: number): number {
  return Math.min(backOff.initialMs * 2 ** Math.max(0, failures - 1), backOff.maxMs);
}
