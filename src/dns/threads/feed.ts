// What answering threads have to know: the Services and a few switches, told as they change, in order, by messages.
import { isDeepStrictEqual } from 'node:util';
import type { ZoneView } from '../resolve.ts';
import type { ServiceEntry } from '../service-entry.ts';
import type { ServiceChange } from '../service-table.ts';

/** A message to a thread. */
export type FeedMessage =
  /** From now on it is this zone; nothing is known of it yet, and all is off until the switches are told. */
  | { readonly kind: 'zone'; readonly zone: string; readonly ttl: number; readonly serial: number }
  | { readonly kind: 'services'; readonly changes: readonly ServiceChange[]; readonly serial: number }
  | { readonly kind: 'switches'; readonly switches: Switches }
  /** All that is known has been told: it may begin to read its sockets. */
  | { readonly kind: 'begin' };

export interface Switches {
  /** While false, all is left to the main thread. */
  readonly isOn: boolean;
  readonly recursionAvailable: boolean;
  /** Namespaces in which names that do not exist may be completed. */
  readonly completedNamespaces: readonly string[];
}

/** So many Services go into one message. */
const batch = 500;

/** Endpoints of a Service with an address have names that are hardly ever asked for: their questions are handed over. */
const trimmed = (entry: ServiceEntry): ServiceEntry =>
  entry.kind === 'address' && entry.endpoints.length > 0 ? { ...entry, endpoints: [] } : entry;

/** Tells followers what changes: all that changes within one turn of the event loop together. */
export class Feed {
  readonly #followers = new Set<(message: FeedMessage) => void>();
  readonly #switches: () => Switches;
  #view: ZoneView | undefined;
  #unfollow = (): void => {};
  #changes = new Map<string, ServiceChange>();
  #isDue = false;
  #told: Switches | undefined;

  /** `switches` are asked for again whenever {@link changed} is called. */
  constructor(switches: () => Switches) {
    this.#switches = switches;
  }

  /** From now on this is the view that is answered from. */
  setView(view: ZoneView): void {
    if (this.#view === view) return;
    this.#unfollow();
    this.#view = view;
    this.#changes.clear();
    this.#told = undefined;
    this.#unfollow = view.table.follow((change) => {
      if (this.#followers.size === 0) return;
      this.#changes.set(`${change.namespace}/${change.name}`, change);
      this.changed();
    });
    for (const follower of this.#followers) this.#tellAll(view, follower);
    this.changed();
  }

  /** Something that the switches depend on may have changed: they are told in this turn of the event loop. */
  changed(): void {
    if (this.#isDue || this.#followers.size === 0) return;
    this.#isDue = true;
    setImmediate(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  /** Tells all that is known, then what changes, until the returned function is called. */
  follow(follower: (message: FeedMessage) => void): () => void {
    this.#flush();
    if (this.#view !== undefined) this.#tellAll(this.#view, follower);
    follower({ kind: 'switches', switches: this.#told ?? this.#switches() });
    follower({ kind: 'begin' });
    this.#followers.add(follower);
    return () => this.#followers.delete(follower);
  }

  #tellAll(view: ZoneView, follower: (message: FeedMessage) => void): void {
    const { zone, ttl, serial } = view;
    follower({ kind: 'zone', zone, ttl, serial });
    const entries = view.table.entries();
    for (let at = 0; at < entries.length; at += batch) {
      const changes = entries
        .slice(at, at + batch)
        .map((entry) => ({ namespace: entry.namespace, name: entry.name, entry: trimmed(entry) }));
      follower({ kind: 'services', changes, serial });
    }
  }

  #flush(): void {
    if (this.#changes.size > 0 && this.#view !== undefined) {
      const changes = [...this.#changes.values()].map(({ entry, ...named }) =>
        entry === undefined ? named : { ...named, entry: trimmed(entry) },
      );
      this.#changes.clear();
      for (const follower of this.#followers) follower({ kind: 'services', changes, serial: this.#view.serial });
    }
    const switches = this.#switches();
    if (isDeepStrictEqual(switches, this.#told)) return;
    this.#told = switches;
    for (const follower of this.#followers) follower({ kind: 'switches', switches });
  }
}
