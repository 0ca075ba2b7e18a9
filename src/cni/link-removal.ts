// Deleting pods' links: on other threads, and those that are asked for at about the same time in one step of the kernel.
import { deleteLinks, linkIndex } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';

/** Interface groups of links on their way out: from this number on (`weft` in letters), one for each batch in turn. */
const firstGroup = 0x77656600;
const groups = 256;
/** So many batches at a time: each holds a thread of libuv's pool for some 20 ms, and one is left for the disk. */
const mostBatches = Math.max(1, Number(process.env.UV_THREADPOOL_SIZE ?? 4) - 1);

interface Removal {
  readonly link: number;
  readonly gone: PromiseWithResolvers<void>;
}

export class LinkRemoval {
  /** Sockets for one batch each, not in use. */
  readonly #sockets = Array.from({ length: mostBatches }, () => Netlink.open());
  readonly #removals = new Map<number, Removal>();
  readonly #batches = new Set<Promise<void>>();
  #waiting: Removal[] = [];
  /** Those of the latest batch that can still be seen. */
  #visible: ReadonlySet<number> = new Set();
  #batch = 0;

  /** Deletes the links that have these names now; resolves as soon as nobody can see them, at once where there are none. */
  async remove(...names: readonly string[]): Promise<void> {
    const links = names.flatMap((name) => linkIndex(name) ?? []);
    await Promise.all(links.map((link) => this.#removeLink(link)));
  }

  #removeLink(link: number): Promise<void> {
    const present = this.#removals.get(link);
    if (present !== undefined) return present.gone.promise;
    const removal = { link, gone: Promise.withResolvers<void>() };
    this.#removals.set(link, removal);
    this.#waiting.push(removal);
    // Those of the same turn of the event loop join.
    setImmediate(() => this.#next());
    return removal.gone.promise;
  }

  /** Whether a link is on its way out. */
  isLeaving(link: number): boolean {
    return this.#removals.has(link);
  }

  /** To be called when the kernel announces that an interface is gone (RTM_DELLINK). */
  deleted(link: number): void {
    const removal = this.#removals.get(link);
    this.#removals.delete(link);
    removal?.gone.resolve();
    this.#next();
  }

  /** Waits for what is under way, and ends. */
  async stop(): Promise<void> {
    while (this.#batches.size > 0) await Promise.all(this.#batches);
    for (const socket of this.#sockets) socket.close();
  }

  /**
   * Until the links of a batch are gone from sight the kernel keeps others out (RTNL): those that come then are the next
   * batch. What it does afterwards, for much longer, goes on beside it.
   */
  #next(): void {
    if (this.#waiting.length === 0 || this.#batches.size >= mostBatches) return;
    if ([...this.#visible].some((link) => this.#removals.has(link))) return;
    this.#visible = new Set(this.#waiting.map(({ link }) => link));
    const batch = this.#run(this.#waiting.splice(0)).finally(() => {
      this.#batches.delete(batch);
      this.#next();
    });
    this.#batches.add(batch);
  }

  async #run(removals: readonly Removal[]): Promise<void> {
    const socket = this.#idleSocket();
    try {
      const links = removals.map(({ link }) => link);
      this.#batch = (this.#batch + 1) % groups;
      await deleteLinks(socket, links, firstGroup + this.#batch);
      for (const link of links) this.deleted(link);
    } catch (error) {
      for (const { link, gone } of removals) {
        this.#removals.delete(link);
        gone.reject(error);
      }
    } finally {
      this.#sockets.push(socket);
    }
  }

  #idleSocket(): Netlink {
    const socket = this.#sockets.pop();
    if (socket === undefined) throw new Error('all sockets for deleting links are in use');
    return socket;
  }
}
