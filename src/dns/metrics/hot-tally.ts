// Counts answers of the hot path: one row of numbers a thread, which only that thread writes and the metrics page reads.
import { typeName, typeNames } from '../corefile/values.ts';

/** CoreDNS's limits of the sizes of messages. */
export const sizeBuckets = [
  0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
] as const;

/** Types that CoreDNS counts by name; all others are `other`. */
const countedTypes = [
  ...['A', 'AAAA', 'MX', 'SOA', 'CNAME', 'PTR', 'TXT', 'NS', 'SRV', 'DS', 'DNSKEY', 'RRSIG', 'NSEC', 'NSEC3'],
  ...['HTTPS', 'IXFR', 'AXFR', 'ANY'],
];
const kinds = [...countedTypes, 'other'] as const;
const kindIndex = new Map(countedTypes.map((name, index) => [typeNames[name] ?? -1, index]));
const otherKind = kinds.length - 1;
/** By the number of the type, for those that a byte holds. */
const quickKind = Uint8Array.from({ length: 256 }, (_, type) => kindIndex.get(type) ?? otherKind);

/** As a metric's label `type` has it. */
export const kindOfType = (type: number): string => (kindIndex.has(type) ? typeName(type) : 'other');

const transports = ['udp', 'tcp'] as const;
const [families, rcodes] = [2, 16];
const perTransport = families * rcodes * kinds.length;
const distribution = sizeBuckets.length + 2;
const answersLength = transports.length * perTransport;
const cells = answersLength + transports.length * 2 * distribution + 1;

/** One answer of the hot path. */
export interface HotAnswered {
  readonly transport: 'udp' | 'tcp';
  readonly type: number;
  readonly rcode: number;
  readonly family: 1 | 2;
  /** Octets. */
  readonly size: number;
  readonly answerSize: number;
}

/** Takes what has been counted. */
export interface TallySink {
  answers(of: Pick<HotAnswered, 'transport' | 'rcode' | 'family'> & { readonly kind: string }, count: number): void;
  /** `counts` by {@link sizeBuckets}, the last one of what is larger than all. */
  sizes(transport: 'udp' | 'tcp', what: 'request' | 'response', counts: readonly number[], sum: number): void;
  dropped(count: number): void;
}

export class HotTally {
  readonly memory: SharedArrayBuffer;
  readonly #cells: Float64Array;
  /** What was taken already. */
  readonly #taken = new Float64Array(cells);

  /** Over the memory of another thread's tally, to read it; or a new one. */
  constructor(memory = new SharedArrayBuffer(cells * Float64Array.BYTES_PER_ELEMENT)) {
    this.memory = memory;
    this.#cells = new Float64Array(memory);
  }

  note(transport: 'udp' | 'tcp', family: 1 | 2, type: number, rcode: number, size: number, answerSize: number): void {
    const ofTransport = transport === 'udp' ? 0 : 1;
    const kind = type < 256 ? (quickKind[type] ?? otherKind) : otherKind;
    this.#add(ofTransport * perTransport + ((family - 1) * rcodes + (rcode & 0xf)) * kinds.length + kind, 1);
    this.#addSize(answersLength + 2 * ofTransport * distribution, size);
    this.#addSize(answersLength + (2 * ofTransport + 1) * distribution, answerSize);
  }

  /** A question that was left without an answer, as too many were waiting. */
  noteDropped(): void {
    this.#add(cells - 1, 1);
  }

  #add(index: number, value: number): void {
    this.#cells[index] = (this.#cells[index] ?? 0) + value;
  }

  #addSize(at: number, size: number): void {
    let bucket = 0;
    while (bucket < sizeBuckets.length && size > (sizeBuckets[bucket] ?? 0)) bucket++;
    this.#add(at + bucket, 1);
    this.#add(at + distribution - 1, size);
  }

  /** Gives what has been counted since the last time. */
  take(sink: TallySink): void {
    transports.forEach((transport, ofTransport) => {
      for (let index = 0; index < perTransport; index++) {
        const count = this.#difference(ofTransport * perTransport + index);
        if (count === 0) continue;
        const kind = kinds[index % kinds.length] ?? 'other';
        const rest = Math.floor(index / kinds.length);
        sink.answers({ transport, family: rest < rcodes ? 1 : 2, rcode: rest % rcodes, kind }, count);
      }
      (['request', 'response'] as const).forEach((what, ofWhat) => {
        const at = answersLength + (2 * ofTransport + ofWhat) * distribution;
        const counts = Array.from({ length: distribution - 1 }, (_, bucket) => this.#difference(at + bucket));
        const sum = this.#difference(at + distribution - 1);
        if (sum > 0) sink.sizes(transport, what, counts, sum);
      });
    });
    const dropped = this.#difference(cells - 1);
    if (dropped > 0) sink.dropped(dropped);
  }

  #difference(index: number): number {
    const now = this.#cells[index] ?? 0;
    const count = now - (this.#taken[index] ?? 0);
    this.#taken[index] = now;
    return count;
  }
}
