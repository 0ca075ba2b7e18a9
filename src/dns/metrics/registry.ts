// Counters, gauges and histograms with labels, and their page in Prometheus' text format (version 0.0.4).

/** The values of a family's labels, in the order in which the family names them. */
type LabelValues = readonly string[];

interface Family {
  readonly name: string;
  page(): string[];
}

/** A number that only grows; take its cell once where it is raised often. */
export interface Cell {
  value: number;
}

export class Registry {
  readonly #families: Family[] = [];

  counter(name: string, help: string, labels: readonly string[] = []): Numbers {
    return this.#add(new Numbers(name, 'counter', help, labels));
  }

  gauge(name: string, help: string, labels: readonly string[] = []): Numbers {
    return this.#add(new Numbers(name, 'gauge', help, labels));
  }

  /** `bounds` are the upper limits of its buckets, rising; the last one, +Inf, is added. */
  histogram(name: string, help: string, labels: readonly string[], bounds: readonly number[]): Histogram {
    return this.#add(new Histogram(name, help, labels, bounds));
  }

  page(): string {
    return [...this.#families.flatMap((family) => family.page()), ''].join('\n');
  }

  #add<T extends Family>(family: T): T {
    this.#families.push(family);
    return family;
  }
}

/** A family of counters or gauges. */
export class Numbers implements Family {
  readonly name: string;
  readonly #type: string;
  readonly #help: string;
  readonly #labels: readonly string[];
  readonly #cells = new Map<string, Cell & { readonly labels: LabelValues }>();

  constructor(name: string, type: 'counter' | 'gauge', help: string, labels: readonly string[]) {
    this.name = name;
    this.#type = type;
    this.#help = help;
    this.#labels = labels;
    if (labels.length === 0) this.cell();
  }

  cell(...labels: LabelValues): Cell {
    const key = labels.join('\0');
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      cell = { value: 0, labels };
      this.#cells.set(key, cell);
    }
    return cell;
  }

  increment(...labels: LabelValues): void {
    this.cell(...labels).value++;
  }

  /** Forgets all of its values. */
  clear(): void {
    this.#cells.clear();
  }

  page(): string[] {
    const lines = [...this.#cells.values()].map(
      ({ labels, value }) => `${this.name}${written(this.#labels, labels)} ${value}`,
    );
    return lines.length === 0 ? [] : [...heading(this.name, this.#help, this.#type), ...lines];
  }
}

interface Distribution {
  readonly labels: LabelValues;
  readonly counts: number[];
  sum: number;
}

/** A family of histograms. */
export class Histogram implements Family {
  readonly name: string;
  readonly #help: string;
  readonly #labels: readonly string[];
  readonly #bounds: readonly number[];
  readonly #known = new Map<string, Distribution>();

  constructor(name: string, help: string, labels: readonly string[], bounds: readonly number[]) {
    this.name = name;
    this.#help = help;
    this.#labels = labels;
    this.#bounds = bounds;
  }

  /** The function that takes values for these labels. */
  observer(...labels: LabelValues): (value: number, times?: number) => void {
    const own = this.#distribution(labels);
    const { counts } = own;
    const bounds = this.#bounds;
    return (value, times = 1) => {
      let bucket = 0;
      while (bucket < bounds.length && value > (bounds[bucket] ?? 0)) bucket++;
      counts[bucket] = (counts[bucket] ?? 0) + times;
      own.sum += value * times;
    };
  }

  /** Takes a value that came so many times. */
  observe(value: number, labels: LabelValues, times = 1): void {
    this.observer(...labels)(value, times);
  }

  /** Takes values that somebody has counted already: how many of each bucket, and their sum. */
  add(counts: readonly number[], sum: number, labels: LabelValues): void {
    const own = this.#distribution(labels);
    own.sum += sum;
    for (const [bucket, count] of counts.entries()) own.counts[bucket] = (own.counts[bucket] ?? 0) + count;
  }

  #distribution(labels: LabelValues): Distribution {
    const key = labels.join('\0');
    const found = this.#known.get(key) ?? {
      labels,
      counts: Array.from({ length: this.#bounds.length + 1 }, () => 0),
      sum: 0,
    };
    this.#known.set(key, found);
    return found;
  }

  page(): string[] {
    if (this.#known.size === 0) return [];
    const lines = [...this.#known.values()].flatMap(({ labels, counts, sum }) => {
      let total = 0;
      const buckets = counts.map((count, index) => {
        total += count;
        const bound = this.#bounds[index];
        const names = [...this.#labels, 'le'];
        return `${this.name}_bucket${written(names, [...labels, bound === undefined ? '+Inf' : `${bound}`])} ${total}`;
      });
      const own = written(this.#labels, labels);
      return [...buckets, `${this.name}_sum${own} ${sum}`, `${this.name}_count${own} ${total}`];
    });
    return [...heading(this.name, this.#help, 'histogram'), ...lines];
  }
}

const heading = (name: string, help: string, type: string): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

const written = (names: readonly string[], values: LabelValues): string =>
  names.length === 0
    ? ''
    : `{${names.map((name, index) => `${name}="${(values[index] ?? '').replace(/[\\"\n]/g, (one) => escapes[one] ?? one)}"`).join(',')}}`;
