// Deleting pods' links, those that are asked for at about the same time in one step of the kernel.
import { deleteLinks, findLink } from '../linux/links.ts';
import type { Netlink } from '../linux/netlink.ts';

/** The interface group of links on their way out (`weft` in letters). */
const removalGroup = 0x77656674;
/** How long a deletion waits for others to join it, in ms: a fraction of what the kernel needs for one. */
const joinMs = 3;

export class LinkRemoval {
  readonly #nl: Netlink;
  #waiting: { readonly links: Set<number>; readonly done: PromiseWithResolvers<void> } | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(nl: Netlink) {
    this.#nl = nl;
  }

  /** Deletes the link that has this name now; resolves when it is gone, at once where there is none. */
  remove(name: string): Promise<void> {
    const link = findLink(this.#nl, name)?.index;
    if (link === undefined) return Promise.resolve();
    this.#waiting ??= { links: new Set(), done: Promise.withResolvers() };
    this.#waiting.links.add(link);
    this.#timer ??= setTimeout(() => this.flush(), joinMs);
    return this.#waiting.done.promise;
  }

  /** Deletes what waits, now. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (waiting === undefined) return;
    try {
      deleteLinks(this.#nl, [...waiting.links], removalGroup);
      waiting.done.resolve();
    } catch (error) {
      waiting.done.reject(error);
    }
  }
}
