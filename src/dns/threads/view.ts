// What an answering thread knows, by the messages that it was told; the hot path over it.
import { HotPath } from '../hot-path.ts';
import { ServiceTable } from '../service-table.ts';
import type { FeedMessage, Switches } from './feed.ts';

const off: Pick<HotPath, 'answer' | 'last'> = { answer: () => 0, last: { qtype: 0, rcode: 0 } };

export class ThreadView {
  #hot = off;
  #switches: Switches | undefined;
  #namespaces: ReadonlySet<string> = new Set();
  #table = new ServiceTable();
  #serial = 0;

  get hot(): Pick<HotPath, 'answer' | 'last'> {
    return this.#hot;
  }

  take(message: FeedMessage): void {
    switch (message.kind) {
      case 'zone':
        this.#serial = message.serial;
        this.#begin(message.zone, message.ttl);
        break;
      case 'services':
        for (const { namespace, name, entry } of message.changes) this.#table.set(namespace, name, entry);
        this.#serial = message.serial;
        break;
      case 'switches':
        this.#switches = message.switches;
        this.#namespaces = new Set(message.switches.completedNamespaces);
        break;
      case 'begin':
        break;
    }
  }

  #begin(zone: string, ttl: number): void {
    const table = new ServiceTable({ byAddress: false });
    this.#table = table;
    this.#switches = undefined;
    const view = this;
    this.#hot = new HotPath({
      view: {
        zone,
        ttl,
        table,
        get serial() {
          return view.#serial;
        },
        // Names of namespaces and pods are none of the hot path's.
        namespaceExists: () => false,
      },
      recursionAvailable: () => this.#switches?.recursionAvailable === true,
      isOn: () => this.#switches?.isOn === true,
      completesIn: (namespace) => this.#namespaces.has(namespace),
      knowsEndpoints: ({ kind }) => kind !== 'address',
    });
  }
}
