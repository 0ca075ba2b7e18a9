// The hot path: a plain question about a Service is answered from its octets, without a message being read or written.
import { familyOf } from '../net/address.ts';
import { classInternet, type Name, rcode, type } from './records.ts';
import {
  type AnswerPlace,
  questionOf,
  type RenderedAnswer,
  render,
  renderAddresses,
  writeRendered,
} from './rendered.ts';
import { resolve, type ZoneView } from './resolve.ts';
import type { ServiceEntry } from './service-entry.ts';
import type { ServiceSlot } from './service-table.ts';
import { encodeName, udpSize } from './wire.ts';

export interface HotPathOptions {
  readonly view: ZoneView;
  /** Whether names of other zones are asked elsewhere; said in each answer (RA). */
  readonly recursionAvailable: () => boolean;
  /** While false, nothing is answered here: the lists are not complete, or each query is to be looked at. */
  readonly isOn: () => boolean;
  /** Whether names that do not exist in this namespace may be completed for who asks. */
  readonly completesIn?: (namespace: string) => boolean;
  /** Zones such as in-addr.arpa whose names are answered where they belong to an address of the table; default none. */
  readonly reverseZones?: () => readonly Name[];
  /** Whether the table has the endpoints of such a Service; default all. Names of others are left to the responder. */
  readonly knowsEndpoints?: (entry: ServiceEntry) => boolean;
}

const headerLength = 12;
const longestName = 255;
const smallestUdp = 512;
const largestTcp = 65_535;
/** Names right below a Service that are kept for it, at most; there are as many as it has endpoints. */
const largestKept = 4096;
const svcLabel = Buffer.from('\x03svc');
/** How many labels the reverse name of an address has. */
const labelsOfReverse = { IPv4: 6, IPv6: 34 } as const;
/** What else there is right below the zone. */
const otherKinds = ['\x03pod', '\x0bdns-version'];

/** What the last question was; for counting. */
export interface HotQuestion {
  qtype: number;
  rcode: number;
}

/**
 * Answers in place. Everything that is unusual in any way (several questions, other classes, signatures, names outside
 * of the zone, aliases) is left to the responder, which knows the whole protocol.
 */
export class HotPath {
  readonly #options: HotPathOptions;
  /** The zone's labels as they travel, without the end. */
  readonly #zone: Buffer;
  readonly #zoneLabels: number;
  readonly #lower = Buffer.alloc(longestName + 1);
  readonly #starts = new Uint8Array(128);
  #labels = 0;
  readonly #place: AnswerPlace = {
    memory: this.#lower,
    query: 0,
    questionEnd: 0,
    out: this.#lower,
    at: 0,
    limit: 0,
    edns: false,
    recursionAvailable: false,
    serial: 0,
  };
  /** By where the zone begins in the name. */
  readonly #missing: RenderedAnswer[] = [];
  readonly #empty: RenderedAnswer[] = [];
  /** Answers to reverse names, for as long as the table is what it was. */
  readonly #reverse = new Map<string, RenderedAnswer>();
  #reverseVersion = -1;
  /** What was asked last, and how it was answered. */
  readonly last: HotQuestion = { qtype: 0, rcode: 0 };

  constructor(options: HotPathOptions) {
    this.#options = options;
    const { zone } = options.view;
    this.#zone = encodeName(zone).subarray(0, -1);
    this.#zoneLabels = zone.split('.').length;
  }

  /**
   * Answers the query of `length` octets at `start` of `memory` into `out` at `at`, where there is room for 1,232 octets
   * (for TCP: 65,535). The length of the answer, or 0 where this is not for the hot path.
   */
  answer(memory: Buffer, start: number, length: number, out: Buffer, at: number, transport: 'udp' | 'tcp'): number {
    if (length < headerLength + 5 || !isPlain(memory, start)) return 0;
    const nameEnd = this.#readName(memory, start + headerLength, start + length);
    if (nameEnd === 0 || nameEnd + 4 > start + length) return 0;
    const edns = ednsSize(memory, nameEnd + 4, start + length, memory[start + 11] ?? 0);
    if (edns < 0 || (memory[nameEnd + 2] ?? 0) !== 0 || memory[nameEnd + 3] !== classInternet) return 0;
    const qtype = ((memory[nameEnd] ?? 0) << 8) | (memory[nameEnd + 1] ?? 0);
    // Transfers, and types that are no types of records.
    if (qtype === type.OPT || (qtype >= 249 && qtype <= 254)) return 0;
    if (!this.#options.isOn()) return 0;
    const found = this.#find(nameEnd - start - headerLength - 1, qtype);
    if (found === undefined) return 0;
    this.last.qtype = qtype;
    this.last.rcode = found.rcode;
    const place = this.#place;
    place.memory = memory;
    place.query = start;
    place.questionEnd = nameEnd + 4;
    place.out = out;
    place.at = at;
    place.limit = transport === 'tcp' ? largestTcp : Math.max(smallestUdp, Math.min(edns, udpSize));
    place.edns = edns > 0;
    place.recursionAvailable = this.#options.recursionAvailable();
    place.serial = this.#options.view.serial;
    return writeRendered(found, place);
  }

  /** Copies a name in lower case, and notes where its labels start; where it ends, or 0 where it is no plain name. */
  #readName(memory: Buffer, from: number, end: number): number {
    const lower = this.#lower;
    let at = from;
    let labels = 0;
    for (;;) {
      const size = memory[at];
      if (size === undefined || size > 63 || at - from + size + 1 > longestName || at + 1 + size > end) return 0;
      lower[at - from] = size;
      if (size === 0) break;
      this.#starts[labels++] = at - from;
      const last = at + size;
      for (at++; at <= last; at++) {
        const octet = memory[at] ?? 0;
        lower[at - from] = octet >= 0x41 && octet <= 0x5a ? octet | 0x20 : octet;
      }
    }
    this.#labels = labels;
    return at + 1;
  }

  /** The answer to the name in `#lower` (of that length, without its end), if it is one of the zone's Services. */
  #find(length: number, qtype: number): RenderedAnswer | undefined {
    const labels = this.#labels - this.#zoneLabels;
    if (labels < 1) return undefined;
    const starts = this.#starts;
    const lower = this.#lower;
    const zoneAt = starts[labels] ?? 0;
    if (!hasAt(lower, zoneAt, this.#zone)) return this.#ofAddress(length, qtype);
    const kindAt = starts[labels - 1] ?? 0;
    if (zoneAt - kindAt !== svcLabel.length || !hasAt(lower, kindAt, svcLabel))
      return otherKinds.includes(lower.toString('latin1', kindAt, zoneAt))
        ? undefined
        : this.#negative(zoneAt, rcode.noSuchName);
    if (labels < 3) return undefined;
    const serviceAt = starts[labels - 3] ?? 0;
    const slot = this.#options.view.table.slot(lower.toString('latin1', serviceAt, kindAt));
    if (slot === undefined)
      return this.#isCompleted(labels, kindAt) ? undefined : this.#negative(zoneAt, rcode.noSuchName);
    if (serviceAt === 0 && slot.entry.kind !== 'alias') {
      if (qtype === type.A) return this.#addresses(slot, 'ipv4', zoneAt);
      if (qtype === type.AAAA) return this.#addresses(slot, 'ipv6', zoneAt);
    }
    // One label below a Service is an endpoint, two are a port.
    if (labels === 4 && this.#options.knowsEndpoints?.(slot.entry) === false) return undefined;
    const key = lower.toString('latin1', 0, serviceAt) + qtype;
    const kept = slot.others?.get(key);
    if (kept !== undefined) return kept;
    const fresh = this.#render(length, qtype);
    if (fresh === undefined) return undefined;
    if (fresh.answers.length === 0) return this.#negative(zoneAt, fresh.rcode);
    slot.others ??= new Map();
    if (slot.others.size < largestKept) slot.others.set(key, fresh);
    return fresh;
  }

  /** The answer to the name in `#lower` where it is that of an address of the table. */
  #ofAddress(length: number, qtype: number): RenderedAnswer | undefined {
    const { view, reverseZones } = this.#options;
    if (this.#labels !== labelsOfReverse.IPv4 && this.#labels !== labelsOfReverse.IPv6) return undefined;
    if (this.#reverseVersion !== view.table.version) {
      this.#reverse.clear();
      this.#reverseVersion = view.table.version;
    }
    const key = this.#lower.toString('latin1', 0, length) + qtype;
    const kept = this.#reverse.get(key);
    if (kept !== undefined) return kept;
    const name = this.#lower.subarray(0, length + 1);
    const text = dotted(name);
    const zones = reverseZones?.() ?? [];
    if (text === undefined || !zones.some((zone) => text.endsWith(`.${zone}`))) return undefined;
    const found = resolve(view, text, qtype);
    const fresh = found === undefined ? undefined : render(questionOf(name, qtype), found);
    if (fresh !== undefined && this.#reverse.size < largestKept) this.#reverse.set(key, fresh);
    return fresh;
  }

  /** The addresses of a Service, of one family. */
  #addresses(slot: ServiceSlot, family: 'ipv4' | 'ipv6', zoneAt: number): RenderedAnswer {
    const kept = slot[family];
    if (kept !== undefined) return kept;
    const { entry } = slot;
    const all = entry.kind === 'headless' ? entry.endpoints.map(({ ip }) => ip) : entry.ips;
    const own = all.filter((ip) => familyOf(ip) === (family === 'ipv4' ? 'IPv4' : 'IPv6'));
    if (own.length === 0) return this.#negative(zoneAt, rcode.noError);
    const fresh = renderAddresses(own.length > 1 ? [...new Set(own)] : own, this.#options.view.ttl);
    slot[family] = fresh;
    return fresh;
  }

  /** Whether the name may be one of a search list: `a.b` in a namespace that asks. */
  #isCompleted(labels: number, kindAt: number): boolean {
    if (labels < 4 || this.#options.completesIn === undefined) return false;
    return this.#options.completesIn(this.#lower.toString('latin1', (this.#starts[labels - 2] ?? 0) + 1, kindAt));
  }

  /**
   * That a name does not exist, or has nothing of that type: the same octets for all names with the zone at the same
   * place, for only the zone's own name in them points to it.
   */
  #negative(zoneAt: number, code: number): RenderedAnswer {
    const all = code === rcode.noError ? this.#empty : this.#missing;
    const kept = all[zoneAt];
    if (kept !== undefined) return kept;
    const { view } = this.#options;
    const nowhere = Buffer.concat([labelsOf(zoneAt), this.#zone, Buffer.from([0])]);
    const found = resolve(view, `${'x'.repeat(64)}.${view.zone}`, type.A);
    const fresh = found === undefined ? undefined : render(questionOf(nowhere, type.A), { ...found, rcode: code });
    if (fresh === undefined) throw new Error(`no answer for names that do not exist in ${view.zone}`);
    all[zoneAt] = fresh;
    return fresh;
  }

  #render(length: number, qtype: number): RenderedAnswer | undefined {
    const name = this.#lower.subarray(0, length + 1);
    const text = dotted(name);
    const found = text === undefined ? undefined : resolve(this.#options.view, text, qtype);
    return found === undefined ? undefined : render(questionOf(name, qtype), found);
  }
}

/** A query with one question and nothing else but maybe OPT; its operation is QUERY. */
function isPlain(memory: Buffer, at: number): boolean {
  return (
    ((memory[at + 2] ?? 0xff) & 0xfa) === 0 &&
    memory[at + 4] === 0 &&
    memory[at + 5] === 1 &&
    memory[at + 6] === 0 &&
    memory[at + 7] === 0 &&
    memory[at + 8] === 0 &&
    memory[at + 9] === 0 &&
    memory[at + 10] === 0
  );
}

/** Whether the octets are in the memory at that place. */
function hasAt(memory: Buffer, at: number, octets: Buffer): boolean {
  for (let index = 0; index < octets.length; index++) if (memory[at + index] !== octets[index]) return false;
  return true;
}

/** How large an answer the client takes by OPT; 0 where it has none, -1 where what follows is something else. */
function ednsSize(memory: Buffer, at: number, end: number, additionals: number): number {
  if (additionals === 0) return at === end ? 0 : -1;
  if (additionals !== 1 || at + 11 > end || memory[at] !== 0) return -1;
  if (memory[at + 1] !== 0 || memory[at + 2] !== type.OPT) return -1;
  // The version is 0, and the options, which are not looked at, fill the rest.
  if (memory[at + 6] !== 0 || at + 11 + (((memory[at + 9] ?? 0) << 8) | (memory[at + 10] ?? 0)) !== end) return -1;
  return Math.max(1, ((memory[at + 3] ?? 0) << 8) | (memory[at + 4] ?? 0));
}

/** A name of host labels in the notation of names; undefined for one that the table cannot have. */
function dotted(name: Buffer): string | undefined {
  const labels: string[] = [];
  for (let at = 0; (name[at] ?? 0) !== 0; at += (name[at] ?? 0) + 1)
    labels.push(name.toString('latin1', at + 1, at + 1 + (name[at] ?? 0)));
  return labels.some((label) => /[.\\]/.test(label)) ? undefined : labels.join('.');
}

/** Labels of together that many octets; none of them is one that answers are compressed to. */
function labelsOf(length: number): Buffer {
  const octets = Buffer.alloc(length, 'x');
  for (let at = 0; at < length; ) {
    const rest = length - at;
    const size = rest <= 64 ? rest : rest === 65 ? 63 : 64;
    octets[at] = size - 1;
    at += size;
  }
  return octets;
}
