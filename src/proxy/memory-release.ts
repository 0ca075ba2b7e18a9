// Gives memory back that the start and many changes leave behind, when they are over: it stops everything for some 100 ms.
import { releaseMemory } from '../linux/memory.ts';

/** So long after the start nothing refers any more to what was read for it. */
const startMs = 2_000;
/** After so long without any change it is quiet. */
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
  /** The start's own garbage is given back whether it is quiet or not. */
  #isFresh = true;

  constructor(memory: Memory = ownMemory) {
    this.#memory = memory;
  }

  /** The start is over; `isLarge` where it read much. */
  started(isLarge: boolean): void {
    this.#least = isLarge ? 0 : this.#memory.resident();
    this.#lookIn(startMs);
  }

  /** Something changed, of which there will be garbage. */
  changed(): void {
    if (this.#isFresh) return;
    this.#lookIn(quietMs);
  }

  stop(): void {
    this.#isFresh = true;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), ms).unref();
  }

  #look(): void {
    this.#isFresh = false;
    if (this.#memory.resident() < this.#least + leastGrowth) return;
    this.#memory.release();
    this.#least = this.#memory.resident();
  }
}
