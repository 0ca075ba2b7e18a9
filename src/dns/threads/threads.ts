// Starts and ends the threads that answer over UDP (`multisocket` of the Corefile); without them the main thread answers.
import { closeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { openSignal, raiseSignal } from '../../linux/readiness.ts';
import type { Log } from '../../log/log.ts';
import type { Cidr } from '../../net/address.ts';
import { HotTally } from '../metrics/hot-tally.ts';
import type { UdpListener } from '../udp-listener.ts';
import type { Feed } from './feed.ts';
import { isEndingAt, stateLength, type ThreadData, type ToMain, waitingAt } from './protocol.ts';

export interface ThreadsOptions {
  /** Whose sockets are read. */
  readonly listeners: readonly Pick<UdpListener, 'family' | 'sockets' | 'read' | 'pause' | 'answerHanded'>[];
  readonly feed: Pick<Feed, 'follow'>;
  readonly clientRanges: readonly Cidr[];
  /** Told what a thread counts in; it calls the function that is returned when the thread has ended. */
  count(tally: HotTally): () => void;
  readonly log: Log;
}

/** A thread that has failed is started again so much later. */
const againMs = 5000;
// A bundle has the thread in a file beside it.
const program = new URL(
  process.env.WEFT_BUNDLED === undefined ? './answering-thread.ts' : './dns-thread.mjs',
  import.meta.url,
);

/**
 * As many threads as wanted, each with a socket of its own at each address. When their number changes, new ones read
 * before the old ones end; the sockets stay, so that nothing is lost.
 */
export class AnsweringThreads {
  readonly #options: ThreadsOptions;
  #running: AnsweringThread[] = [];
  #wanted = 0;
  #last: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | undefined;

  constructor(options: ThreadsOptions) {
    this.#options = options;
  }

  /** Sees to it that so many threads answer; 0: the main thread does. */
  follow(count: number): Promise<void> {
    if (count === this.#wanted) return this.#last;
    this.#wanted = count;
    this.#last = this.#last.then(() => this.#change(count));
    return this.#last;
  }

  /** Ends all; nobody reads the sockets then. */
  async close(): Promise<void> {
    clearTimeout(this.#again);
    await this.#last;
    await Promise.all(this.#running.splice(0).map((thread) => thread.end()));
  }

  async #change(count: number): Promise<void> {
    const { listeners, log } = this.#options;
    const before = this.#running;
    try {
      this.#running = await this.#start(count);
      if (count === 0) await Promise.all(listeners.map((listener) => listener.read()));
      else for (const listener of listeners) listener.pause();
      log.info({ threads: count }, 'threads answer');
    } catch (error) {
      this.#running = [];
      await this.#failed(error);
    }
    await Promise.all(before.map((thread) => thread.end()));
  }

  async #start(count: number): Promise<AnsweringThread[]> {
    const { listeners } = this.#options;
    const threads = Array.from({ length: count }, (_, turn) => {
      const sockets = listeners.flatMap((listener) =>
        // There may be more sockets than threads, from when there were more threads: sockets are never closed.
        listener
          .sockets(count)
          .flatMap((fd, index) => (index % count === turn ? [{ fd, family: listener.family }] : [])),
      );
      return new AnsweringThread(this.#options, sockets, (error) => void this.#failed(error));
    });
    try {
      await Promise.all(threads.map((thread) => thread.begun));
    } catch (error) {
      await Promise.all(threads.map((thread) => thread.end()));
      throw error;
    }
    return threads;
  }

  /** The main thread answers in the place of all until they are started anew. */
  async #failed(error: unknown): Promise<void> {
    const { listeners, log } = this.#options;
    log.error({ error: error instanceof Error ? error.stack : String(error) }, 'an answering thread has failed');
    await Promise.all(listeners.map((listener) => listener.read()));
    const count = this.#wanted;
    clearTimeout(this.#again);
    this.#again = setTimeout(() => {
      this.#last = this.#last.then(() => this.#change(count));
    }, againMs);
    this.#again.unref();
  }
}

/** One thread, from its start to its end. */
class AnsweringThread {
  /** Resolves when it reads its sockets; rejects where it cannot be started. */
  readonly begun: Promise<void>;
  readonly #worker: Worker;
  readonly #state = new Int32Array(new SharedArrayBuffer(stateLength * Int32Array.BYTES_PER_ELEMENT));
  readonly #signal = openSignal();
  readonly #exited: Promise<void>;
  #isEnding = false;
  #isOver = false;

  constructor(options: ThreadsOptions, sockets: ThreadData['sockets'], onFailure: (error: unknown) => void) {
    const tally = new HotTally();
    const counted = options.count(tally);
    const workerData: ThreadData = {
      sockets,
      signal: this.#signal,
      state: this.#state.buffer,
      tally: tally.memory,
      clientRanges: options.clientRanges,
    };
    this.#worker = new Worker(program, {
      workerData,
      name: 'weft-dns',
      // Descriptors are not opened by its own modules.
      trackUnmanagedFds: false,
      execArgv: ['--disable-warning=ExperimentalWarning'],
      // What it makes is gone at once: a small new generation is emptied faster than a large one.
      resourceLimits: { maxYoungGenerationSizeMb: 1 },
    });
    const began = Promise.withResolvers<void>();
    let hasBegun = false;
    this.begun = began.promise;
    const listenerOf = new Map(options.listeners.flatMap((one) => one.sockets(1).map((fd) => [fd, one])));
    this.#worker.on('message', (message: ToMain) => {
      if (message.kind === 'begun') {
        hasBegun = true;
        return began.resolve();
      }
      Atomics.sub(this.#state, waitingAt, message.queries.length);
      for (const query of message.queries) listenerOf.get(query.fd)?.answerHanded(query);
    });
    const unfollow = options.feed.follow((message) => {
      this.#worker.postMessage(message);
      raiseSignal(this.#signal);
    });
    this.#exited = new Promise((resolve) => {
      this.#worker.once('exit', (code) => {
        process.off('exit', this.#wakeToEnd);
        unfollow();
        counted();
        this.#isOver = true;
        closeSync(this.#signal);
        const failure = this.#failure ?? new Error(`the thread has ended with code ${code}`);
        began.reject(failure);
        if (hasBegun && !this.#isEnding) onFailure(failure);
        resolve();
      });
    });
    this.#worker.on('error', (error) => {
      this.#failure = error;
    });
    // A process that ends waits for its threads.
    process.on('exit', this.#wakeToEnd);
  }

  #failure: unknown;

  /** Ends it; what it has read is answered. */
  async end(): Promise<void> {
    this.#isEnding = true;
    this.#wakeToEnd();
    await this.#exited;
  }

  readonly #wakeToEnd = (): void => {
    // The number of a descriptor that is closed may be another one's.
    if (this.#isOver) return;
    Atomics.store(this.#state, isEndingAt, 1);
    raiseSignal(this.#signal);
  };
}
