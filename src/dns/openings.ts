// What a Corefile has opened besides the first port: further ports of DNS, status pages. Open for as long as it is wanted.
import type { Log } from '../log/log.ts';

/** How to open something that can be closed again. */
export type Opening = () => Promise<{ close(): Promise<void> }>;

/** Another server that is ending may still have a port. */
const againMs = 2000;

/** Follows what is wanted, by name; what cannot be opened is reported and tried again. */
export class Openings {
  readonly #log: Log;
  readonly #open = new Map<string, { close(): Promise<void> }>();
  #last: Promise<void> = Promise.resolve();
  #again: NodeJS.Timeout | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  /** Opens what is wanted and closes all else; resolves when that is done. */
  follow(wanted: ReadonlyMap<string, Opening>): Promise<void> {
    clearTimeout(this.#again);
    this.#last = this.#last.then(async () => {
      for (const [name, opened] of this.#open)
        if (!wanted.has(name)) {
          this.#open.delete(name);
          await opened.close();
        }
      for (const [name, open] of wanted) if (!this.#open.has(name)) await this.#try(name, open);
      if (this.#open.size < wanted.size) {
        clearTimeout(this.#again);
        this.#again = setTimeout(() => void this.follow(wanted), againMs);
        this.#again.unref();
      }
    });
    return this.#last;
  }

  close(): Promise<void> {
    return this.follow(new Map());
  }

  async #try(name: string, open: Opening): Promise<void> {
    try {
      this.#open.set(name, await open());
    } catch (error) {
      this.#log.error({ error: error instanceof Error ? error.message : String(error) }, `${name} cannot be opened`);
    }
  }
}
