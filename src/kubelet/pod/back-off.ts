// Growing pauses between attempts, by key. Rules: client-go util/flowcontrol/backoff.go.

export interface BackOffOptions {
  readonly initialMs: number;
  readonly maxMs: number;
}

export interface BackOff {
  /** Milliseconds to wait still, counted from the failure at `since`; 0 where it may be tried now. */
  remaining(key: string, since: number, now: number): number;
  /** Notes an attempt: the next pause is twice as long, up to the longest. */
  next(key: string, since: number, now: number): void;
  /** The present pause of the key in milliseconds; 0 where it has none. */
  pause(key: string): number;
  reset(key: string): void;
}

export function createBackOff({ initialMs, maxMs }: BackOffOptions): BackOff {
  const entries = new Map<string, { pause: number; updatedAt: number }>();
  // What has gone well for twice the longest pause starts anew.
  const expired = (since: number, updatedAt: number): boolean => since - updatedAt > 2 * maxMs;
  return {
    remaining(key, since, now) {
      const entry = entries.get(key);
      if (entry === undefined || expired(since, entry.updatedAt)) return 0;
      return Math.max(0, since + entry.pause - now);
    },
    next(key, since, now) {
      const entry = entries.get(key);
      const pause =
        entry === undefined || expired(since, entry.updatedAt) ? initialMs : Math.min(entry.pause * 2, maxMs);
      entries.set(key, { pause, updatedAt: now });
      for (const [other, { updatedAt }] of entries) if (expired(now, updatedAt)) entries.delete(other);
    },
    pause: (key) => entries.get(key)?.pause ?? 0,
    reset: (key) => void entries.delete(key),
  };
}
