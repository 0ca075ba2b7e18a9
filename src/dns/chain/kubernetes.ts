// The plugin kubernetes: names of the cluster, under each zone of the Corefile; what is not known may fall through.

import { isWithin, isWithinAny } from '../cache.ts';
import type { KubernetesOptions } from '../corefile/config.ts';
import { isReverseZone } from '../corefile/kubernetes.ts';
import { type DnsRecord, type Name, type RecordData, rcode } from '../records.ts';
import { type Resolution, resolve, type ZoneView } from '../resolve.ts';

/** The objects of the cluster as a zone; its name is the first zone of the options. */
export interface KubernetesContent {
  readonly view: ZoneView;
  /** Resolves after the first complete lists. */
  readonly synced: Promise<void>;
  isSynced(): boolean;
}

/** `next`: another plugin may know the name. `unsynced`: it cannot be said yet whether it exists. */
export type KubernetesAnswer = Resolution | 'next' | 'unsynced';

export class KubernetesPlugin {
  readonly options: KubernetesOptions;
  readonly content: KubernetesContent;
  readonly #forwardZones: readonly Name[];
  readonly #reverseZones: readonly Name[];

  constructor(options: KubernetesOptions, content: KubernetesContent) {
    this.options = options;
    this.content = content;
    // The longest first: it is the one that a name belongs to.
    const byLength = [...options.zones].sort((a, b) => b.length - a.length);
    this.#forwardZones = byLength.filter((zone) => !isReverseZone(zone));
    this.#reverseZones = byLength.filter(isReverseZone);
  }

  answer(name: Name, type: number): KubernetesAnswer {
    const zone = this.#forwardZones.find((one) => isWithin(name, one));
    if (zone !== undefined) return this.#inZone(zone, name, type);
    const reverse = this.#reverseZones.find((one) => isWithin(name, one));
    return reverse === undefined ? 'next' : this.#reverse(reverse, name, type);
  }

  #inZone(zone: Name, name: Name, type: number): KubernetesAnswer {
    const { view } = this.content;
    if (!this.content.isSynced()) return 'unsynced';
    const found =
      zone === view.zone
        ? resolve(view, name, type)
        : renamed(resolve(view, moved(name, zone, view.zone), type), view.zone, zone);
    if (found === undefined) return 'next';
    return found.rcode === rcode.noSuchName && this.#fallsThrough(name) ? 'next' : found;
  }

  #reverse(zone: Name, name: Name, type: number): KubernetesAnswer {
    const { view } = this.content;
    if (!this.content.isSynced()) return this.#fallsThrough(name) ? 'next' : 'unsynced';
    const found = resolve(view, name, type);
    if (found !== undefined) return found;
    if (this.#fallsThrough(name)) return 'next';
    const soa = resolve(view, view.zone, 6)?.answers.map((record) => ({ ...record, name: zone })) ?? [];
    return { rcode: rcode.noSuchName, answers: [], authorities: soa, additionals: [] };
  }

  #fallsThrough(name: Name): boolean {
    return this.options.fallthrough !== undefined && isWithinAny(name, this.options.fallthrough);
  }
}

const moved = (name: Name, from: Name, to: Name): Name =>
  name === from ? to : name.endsWith(`.${from}`) ? `${name.slice(0, -from.length)}${to}` : name;

/** The same answer under another zone. */
function renamed(found: Resolution | undefined, from: Name, to: Name): Resolution | undefined {
  if (found === undefined) return undefined;
  const change = (list: readonly DnsRecord[]): DnsRecord[] =>
    list.map((record) => mapRecordNames(record, (name) => moved(name, from, to)));
  return {
    ...found,
    answers: change(found.answers),
    authorities: change(found.authorities),
    additionals: change(found.additionals),
  };
}

/** A record with all of its names changed, its owner's and those that it leads to. */
export function mapRecordNames(
  record: DnsRecord,
  change: (name: Name) => Name,
  changeData: (name: Name) => Name = change,
): DnsRecord {
  return { ...record, name: change(record.name), data: mapData(record.data, changeData) };
}

function mapData(data: RecordData, change: (name: Name) => Name): RecordData {
  switch (data.type) {
    case 'CNAME':
    case 'PTR':
    case 'NS':
    case 'SRV':
      return { ...data, target: change(data.target) };
    case 'SOA':
      return { ...data, mname: change(data.mname), rname: change(data.rname) };
    default:
      return data;
  }
}
