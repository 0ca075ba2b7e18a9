// A queue of keys to reconcile: each key waits once and runs once at a time; failures come back with back-off.

export interface WorkQueueOptions {
  /** Brings the state of one key to what is wanted; a rejection retries the key with back-off. */
  readonly run: (key: string) => Promise<void>;
  /** How many keys run at the same time (default 4). */
  readonly concurrency?: number;
  /** The wait after the first failure and the longest one, in ms (defaults 10 and 30,000); doubling between. */
  readonly backOff?: { readonly initialMs: number; readonly maxMs: number };
  /** Told of each failure of a key and of how often in a row it has failed. */
  readonly onError?: (key: string, error: unknown, failures: number) => void;
}

export interface WorkQueue {
  /** Runs the key soon; while it runs already, once more afterwards. */
  add(key: string): void;
  /** As add, in so many ms; the earliest of several wins. */
  addAfter(key: string, ms: number): void;
  /** Resolves when nothing waits and nothing runs (keys of addAfter and of back-off do not count). */
  idle(): Promise<void>;
  /** Starts nothing more and resolves when the running keys have ended. */
  stop(): Promise<void>;
}

const longestTimer = 2 ** 31 - 1;

export function createWorkQueue(options: WorkQueueOptions): WorkQueue {
  const { run, concurrency = 4, backOff = { initialMs: 10, maxMs: 30_000 }, onError } = options;
  const waiting = new Set<string>();
  const running = new Set<string>();
  const again = new Set<string>();
  const failures = new Map<string, number>();
  const later = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  let resting: (() => void)[] = [];
  let stopped = false;
  let scheduled = false;

  const work = async (key: string): Promise<void> => {
    running.add(key);
    try {
      await run(key);
      failures.delete(key);
    } catch (error) {
      const count = (failures.get(key) ?? 0) + 1;
      failures.set(key, count);
      onError?.(key, error, count);
      queue.addAfter(key, Math.min(backOff.initialMs * 2 ** (count - 1), backOff.maxMs));
    }
    running.delete(key);
    if (again.delete(key)) waiting.add(key);
    pump();
  };
  const pump = (): void => {
    scheduled = false;
    for (const key of waiting) {
      if (stopped || running.size >= concurrency) break;
      waiting.delete(key);
      void work(key);
    }
    if (running.size > 0 || (waiting.size > 0 && !stopped)) return;
    const done = resting;
    resting = [];
    for (const each of done) each();
  };
  const queue: WorkQueue = {
    add(key) {
      if (stopped) return;
      if (running.has(key)) again.add(key);
      else waiting.add(key);
      if (scheduled) return;
      scheduled = true;
      // After the events that came with this one, so that a burst of them makes one run.
      setImmediate(pump);
    },
    addAfter(key, ms) {
      if (stopped) return;
      const at = performance.now() + Math.max(ms, 0);
      const planned = later.get(key);
      if (planned !== undefined && planned.at <= at) return;
      clearTimeout(planned?.timer);
      const timer = setTimeout(
        () => {
          later.delete(key);
          queue.add(key);
        },
        Math.min(Math.max(ms, 0), longestTimer),
      );
      later.set(key, { at, timer });
    },
    idle: () =>
      new Promise((resolve) => {
        if (waiting.size === 0 && running.size === 0) resolve();
        else resting.push(resolve);
      }),
    async stop() {
      stopped = true;
      for (const { timer } of later.values()) clearTimeout(timer);
      later.clear();
      waiting.clear();
      again.clear();
      await queue.idle();
    },
  };
  return queue;
}
