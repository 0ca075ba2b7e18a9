// Deleting pods' links: on other threads, and those that are asked for at about the same time in one step of the kernel.
import { deleteLinks, findLink } from '../linux/links.ts';
import { Netlink } from '../linux/netlink.ts';

/** Interface groups of links on their way out: from this number on (`weft` in letters), one for each batch in turn. */
const firstGroup = 0x77656600;
const groups = 256;
/** So many batches at a time: each holds one of libuv's four threads for some 20 ms. */
const mostBatches = 3;

interface Removal {
  readonly link: number;
  readonly gone: PromiseWithResolvers<void>;
}

export class LinkRemoval {
  readonly #lookup = Netlink.open();
  /** Sockets for one batch each, not in use. */
  readonly #sockets = Array.from({ length: mostBatches }, () => Netlink.open());
  readonly #removals = new Map<number, Removal>();
  readonly #batches = new Set<Promise<void>>();
  #waiting: Removal[] = [];
  #batch = 0;

  /** Deletes the links that have these names now; resolves as soon as nobody can see them, at once where there are none. */
  async remove(...names: readonly string[]): Promise<void> {
    const links = names.flatMap((name) => findLink(this.#lookup, name)?.index ?? []);
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

  /** To be called when the kernel announces that an interface is gone (RTM_DELLINK). */
  deleted(link: number): void {
    const removal = this.#removals.get(link);
    this.#removals.delete(link);
    removal?.gone.resolve();
  }

  /** Waits for what is under way, and ends. */
  async stop(): Promise<void> {
    while (this.#batches.size > 0) await Promise.all(this.#batches);
    for (const socket of [this.#lookup, ...this.#sockets]) socket.close();
  }

  #next(): void {
    if (this.#waiting.length === 0 || this.#batches.size >= mostBatches) return;
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
