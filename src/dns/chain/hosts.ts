// The plugin hosts: names with addresses of a file in the form of hosts(5), and of the Corefile itself.
import { readFile } from 'node:fs/promises';
import { familyOf, type Ip } from '../../net/address.ts';
import { isWithinAny } from '../cache.ts';
import type { HostsEntry, HostsOptions } from '../corefile/config.ts';
import { readHostsFile } from '../corefile/hosts.ts';
import { type DnsRecord, type Name, type RecordData, rcode, type } from '../records.ts';
import { reverseName } from '../service-entry.ts';
import type { Reply } from '../wire.ts';
import { emptyReply } from './reply.ts';

/** Where a file of the Corefile's own folder is: another key of its ConfigMap. */
const folder = '/etc/coredns/';

/** The content of files that a Corefile names: other keys of its ConfigMap, as where they are mounted beside it. */
export interface ConfigFiles {
  get(name: string): string | undefined;
}

/** Where the keys of the ConfigMap coredns-custom are, below that folder. */
export const customFolder = 'custom/';

/** The key of the ConfigMaps that a path stands for (`custom/KEY` is the second one's), or undefined for another file. */
export function configFileKey(path: string): string | undefined {
  const name = path.startsWith(folder) ? path.slice(folder.length) : path;
  const key = name.startsWith(customFolder) ? name.slice(customFolder.length) : name;
  return key.includes('/') ? undefined : name;
}

export class HostsPlugin {
  readonly options: HostsOptions;
  readonly #zones: readonly Name[];
  readonly #files: ConfigFiles;
  #addresses = new Map<Name, Ip[]>();
  #names = new Map<Name, Name[]>();
  #timer: NodeJS.Timeout | undefined;
  /** When the file was read last, in s since 1970. */
  readAt = 0;

  constructor(options: HostsOptions, blockZones: readonly Name[], files: ConfigFiles) {
    this.options = options;
    this.#zones = options.zones.length > 0 ? options.zones : blockZones;
    this.#files = files;
    this.#index([]);
  }

  /** Reads a file that is another key of the ConfigMap; files of the machine are none of it. */
  readKeys(): void {
    const key = configFileKey(this.options.file);
    this.#index(readHostsFile((key === undefined ? undefined : this.#files.get(key)) ?? ''));
  }

  /** Reads the file, and again in the interval of the options. A file that is not there has no entries. */
  async start(): Promise<void> {
    const key = configFileKey(this.options.file);
    const text = key === undefined ? await readFile(this.options.file, 'utf8').catch(() => '') : this.#files.get(key);
    this.#index(readHostsFile(text ?? ''));
    this.readAt = Date.now() / 1000;
    if (key !== undefined || this.options.reloadMs === 0) return;
    this.#timer = setTimeout(() => void this.start(), this.options.reloadMs);
    this.#timer.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  get size(): number {
    return this.#addresses.size;
  }

  /** Whether it has something to say to names at or below this one. */
  concerns(zone: Name): boolean {
    return [...this.#addresses.keys()].some((name) => isWithinAny(name, [zone]));
  }

  /** Whether names of a zone that it does not know are left to others. */
  lets(zone: Name): boolean {
    const { fallthrough } = this.options;
    return !isWithinAny(zone, this.#zones) || (fallthrough !== undefined && isWithinAny(zone, fallthrough));
  }

  /** The answer; undefined where the name is none of its own, or falls through. */
  answer(name: Name, qtype: number): Reply | undefined {
    const known = this.#records(name);
    if (known === undefined) return this.#unknown(name, qtype);
    const found = known.filter((data) => type[data.type] === qtype);
    return {
      ...emptyReply(rcode.noError),
      authoritative: true,
      answers: found.map((data): DnsRecord => ({ name, ttl: this.options.ttl, data })),
    };
  }

  #records(name: Name): RecordData[] | undefined {
    const names = this.options.reverse ? this.#names.get(name) : undefined;
    if (names !== undefined) return names.map((target) => ({ type: 'PTR', target }));
    if (!isWithinAny(name, this.#zones)) return undefined;
    const wildcard = name.replace(/^[^.]+/, '*');
    const ips = this.#addresses.get(name) ?? this.#addresses.get(wildcard);
    return ips?.map((ip) => ({ type: familyOf(ip) === 'IPv4' ? 'A' : 'AAAA', ip }));
  }

  /** CoreDNS has no SOA to give here, and so no NXDOMAIN: without `fallthrough` the name is a failure. */
  #unknown(name: Name, qtype: number): Reply | undefined {
    if (qtype === type.PTR || !isWithinAny(name, this.#zones)) return undefined;
    if (this.options.fallthrough !== undefined && isWithinAny(name, this.options.fallthrough)) return undefined;
    return emptyReply(rcode.serverFailure, { code: 0, text: 'hosts has no such name, and no fallthrough' });
  }

  /** The lines of the Corefile take precedence over the file's. */
  #index(file: readonly HostsEntry[]): void {
    const addresses = new Map<Name, Ip[]>();
    const names = new Map<Name, Name[]>();
    const inline = new Set(this.options.entries.flatMap((entry) => entry.names));
    const add = <T>(map: Map<Name, T[]>, key: Name, value: T): void => {
      const list = map.get(key) ?? [];
      if (!list.includes(value)) list.push(value);
      map.set(key, list);
    };
    for (const [index, entry] of [...this.options.entries, ...file].entries())
      for (const name of entry.names) {
        if (index >= this.options.entries.length && inline.has(name)) continue;
        if (!isWithinAny(name, this.#zones)) continue;
        add(addresses, name, entry.address);
        if (!name.startsWith('*')) add(names, reverseName(entry.address), name);
      }
    this.#addresses = addresses;
    this.#names = names;
  }
}
