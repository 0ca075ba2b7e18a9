// Gives memory back that the start and many changes leave behind, when they are over: it stops everything for some 100 ms.
import { releaseMemory } from '../linux/memory.ts';

/** After so long without any change it is quiet, and nothing refers any more to what was read for the start. */
const quietAfterStartMs = 2_000;
/** So long the start's own garbage waits for a quiet moment: changes that come in the pause reach the kernel later. */
const longestAfterStartMs = 60_000;
/** After so long without any change those that were are over. */
const quietMs = 20_000;
/** It must be worth it. */
const leastGrowth = 40e6;

export interface Memory {
  release(): void;
  /** Bytes that the process has in memory. */
  resident(): number;
}

const ownMemory: Memory = { release: releaseMemory, resident: () => process.memoryUsage.rss() };

export class MemoryRelease {
  readonly #memory: Memory;
  #timer: NodeJS.Timeout | undefined;
  /** How much there was after the last release; it grew from there. */
  #least = 0;
  /** While the start's own garbage is there: when it is given back, quiet or not, by `performance.now()`. */
  #latest: number | undefined;
  #isStarted = false;

  constructor(memory: Memory = ownMemory) {
    this.#memory = memory;
  }

  /** The start is over; `isLarge` where it read much. */
  started(isLarge: boolean): void {
    this.#least = isLarge ? 0 : this.#memory.resident();
    this.#isStarted = true;
    this.#latest = performance.now() + longestAfterStartMs;
    this.#lookIn(quietAfterStartMs);
  }

  /** Something changed, of which there will be garbage. */
  changed(): void {
    if (!this.#isStarted) return;
    if (this.#latest === undefined) this.#lookIn(quietMs);
    else this.#lookIn(Math.min(quietAfterStartMs, Math.max(0, this.#latest - performance.now())));
  }

  stop(): void {
    this.#isStarted = false;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#latest = undefined;
    if (this.#memory.resident() < this.#least + leastGrowth) return;
    this.#memory.release();
    this.#least = this.#memory.resident();
  }
}
