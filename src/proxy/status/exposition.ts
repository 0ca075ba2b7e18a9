// Counters, gauges and histograms with labels, and their text for Prometheus (exposition format 0.0.4). Pure.

type Labels = Readonly<Record<string, string>>;

/** Something that has lines on the page. */
export interface Metric {
  lines(): string[];
}

const escaped = (value: string): string =>
  value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');

function labelled(name: string, labels: Labels): string {
  return withLabels(name, pairsOf(labels));
}

const withLabels = (name: string, pairs: string): string => (pairs === '' ? name : `${name}{${pairs}}`);

const heading = (name: string, help: string, type: string): string[] => [
  `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`,
  `# TYPE ${name} ${type}`,
];

/** Labels as they are on the page, kept for those that are used again and again: a text is made of them ever so often. */
const pairs = new WeakMap<Labels, string>();

function pairsOf(labels: Labels): string {
  let text = pairs.get(labels);
  if (text === undefined) {
    text = Object.entries(labels)
      .map(([key, value]) => `${key}="${escaped(value)}"`)
      .join(',');
    pairs.set(labels, text);
  }
  return text;
}

/** A number for each combination of labels: a counter, which only grows, or a gauge. */
export class Value implements Metric {
  readonly #name: string;
  readonly #help: string;
  readonly #type: 'counter' | 'gauge';
  readonly #values = new Map<string, number>();

  /** `initial` are the combinations of labels that are on the page from the start. */
  constructor(type: 'counter' | 'gauge', name: string, help: string, initial: readonly Labels[] = [{}]) {
    this.#type = type;
    this.#name = name;
    this.#help = help;
    for (const labels of initial) this.#values.set(pairsOf(labels), 0);
  }

  add(by = 1, labels: Labels = {}): void {
    const key = pairsOf(labels);
    this.#values.set(key, (this.#values.get(key) ?? 0) + by);
  }

  set(value: number, labels: Labels = {}): void {
    this.#values.set(pairsOf(labels), value);
  }

  lines(): string[] {
    return [
      ...heading(this.#name, this.#help, this.#type),
      ...[...this.#values].map(([labels, value]) => `${withLabels(this.#name, labels)} ${value}`),
    ];
  }
}

interface Distribution {
  readonly labels: Labels;
  /** How many observations are in each bucket, those above the last one behind. */
  readonly counts: number[];
  sum: number;
}

/** How often a value was within each bound. */
export class Histogram implements Metric {
  readonly #name: string;
  readonly #help: string;
  readonly #bounds: readonly number[];
  readonly #seen = new Map<string, Distribution>();

  /** `bounds` are the upper bounds of the buckets, in order; a last one without a bound comes to them. */
  constructor(name: string, help: string, bounds: readonly number[], initial: readonly Labels[] = [{}]) {
    this.#name = name;
    this.#help = help;
    this.#bounds = bounds;
    for (const labels of initial) this.#of(labels);
  }

  observe(value: number, labels: Labels = {}): void {
    const distribution = this.#of(labels);
    const found = this.#bounds.findIndex((bound) => value <= bound);
    const index = found < 0 ? this.#bounds.length : found;
    distribution.counts[index] = (distribution.counts[index] ?? 0) + 1;
    distribution.sum += value;
  }

  #of(labels: Labels): Distribution {
    const key = pairsOf(labels);
    let distribution = this.#seen.get(key);
    if (distribution === undefined) {
      distribution = { labels, counts: Array<number>(this.#bounds.length + 1).fill(0), sum: 0 };
      this.#seen.set(key, distribution);
    }
    return distribution;
  }

  lines(): string[] {
    const lines = heading(this.#name, this.#help, 'histogram');
    for (const { labels, counts, sum } of this.#seen.values()) {
      let below = 0;
      for (const [index, count] of counts.entries()) {
        below += count;
        const le = String(this.#bounds[index] ?? '+Inf');
        lines.push(`${labelled(`${this.#name}_bucket`, { ...labels, le })} ${below}`);
      }
      lines.push(
        `${labelled(`${this.#name}_sum`, labels)} ${sum}`,
        `${labelled(`${this.#name}_count`, labels)} ${below}`,
      );
    }
    return lines;
  }
}

/** So many bounds, each `factor` times the one before. */
export const exponential = (first: number, factor: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => first * factor ** index);

/** So many bounds, each `step` more than the one before. */
export const linear = (first: number, step: number, count: number): number[] =>
  Array.from({ length: count }, (_, index) => first + step * index);
