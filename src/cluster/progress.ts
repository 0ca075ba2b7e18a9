// How far the start of a cluster is: kept by the supervisor, followed by whoever asks.

export type ProgressEvent =
  | { readonly type: 'step'; readonly text: string; readonly ms: number }
  | { readonly type: 'ready'; readonly ms: number }
  | { readonly type: 'failed'; readonly message: string };

/** The events so far, and a way to hear the coming ones. */
export class Progress {
  readonly #begin = performance.now();
  readonly #events: ProgressEvent[] = [];
  readonly #listeners = new Set<(event: ProgressEvent) => void>();

  get events(): readonly ProgressEvent[] {
    return this.#events;
  }

  get isReady(): boolean {
    return this.#events.some(({ type }) => type === 'ready');
  }

  /** Runs a step and tells how long it took. */
  async step<T>(text: string, work: () => T | Promise<T>): Promise<T> {
    const begin = performance.now();
    const result = await work();
    this.#tell({ type: 'step', text, ms: Math.round(performance.now() - begin) });
    return result;
  }

  ready(): void {
    this.#tell({ type: 'ready', ms: Math.round(performance.now() - this.#begin) });
  }

  fail(message: string): void {
    this.#tell({ type: 'failed', message });
  }

  /** Tells the listener what happened already and what happens from now on. Returns the end of it. */
  follow(listener: (event: ProgressEvent) => void): () => void {
    for (const event of this.#events) listener(event);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #tell(event: ProgressEvent): void {
    this.#events.push(event);
    for (const listener of this.#listeners) listener(event);
  }
}
