// Reading JSON that others wrote: each value in its form, and everything that is wrong noted with its path. Pure.
import { isRecord } from '../k8s/json.ts';
import { type Port, parsePort } from '../net/address.ts';

/** A JSON object of unknown shape; what does not have the right form is noted with its path. */
export class Fields {
  readonly #value: unknown;
  readonly #path: string;
  readonly #problems: string[];

  constructor(value: unknown, path: string, problems: string[]) {
    this.#value = value ?? undefined;
    this.#path = path;
    this.#problems = problems;
  }

  value(name: string): unknown {
    if (this.#value === undefined) return undefined;
    if (!isRecord(this.#value)) {
      this.#note(this.#path, 'is not an object', this.#value);
      return undefined;
    }
    return lookUp(this.#value, name) ?? undefined;
  }

  problem(name: string, what: string): void {
    this.#note(`${this.#path}.${name}`, what, isRecord(this.#value) ? lookUp(this.#value, name) : undefined);
  }

  #note(path: string, what: string, value: unknown): void {
    const text = `${path} ${what}${value === undefined ? '' : ` (${JSON.stringify(value)})`}`;
    if (!this.#problems.includes(text)) this.#problems.push(text);
  }

  text(name: string): string | undefined {
    const value = this.value(name);
    if (value === undefined || typeof value === 'string') return value;
    this.problem(name, 'is not a text');
    return undefined;
  }

  /** A whole number that is not negative; 0 where there is none. */
  count(name: string): number {
    const value = this.value(name) ?? 0;
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
    this.problem(name, 'is not a whole number');
    return 0;
  }

  port(name: string): Port | undefined {
    const value = this.value(name);
    const port = typeof value === 'number' ? parsePort(value) : undefined;
    if (port === undefined) this.problem(name, 'must be a port from 1 to 65535');
    return port;
  }

  object(name: string): Fields {
    return new Fields(this.value(name), `${this.#path}.${name}`, this.#problems);
  }

  list(name: string): Fields[] {
    return this.object(name).items();
  }

  /** The items of a list. */
  items(): Fields[] {
    const value = this.#value ?? [];
    if (Array.isArray(value))
      return value.map((item, index) => new Fields(item, `${this.#path}[${index}]`, this.#problems));
    this.#note(this.#path, 'is not a list', value);
    return [];
  }

  texts(name: string): string[] {
    const value = this.value(name) ?? [];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    this.problem(name, 'is not a list of texts');
    return [];
  }
}

/** A name in any case, as Go's decoder takes it: containerd sends `HostPort` where the specification has `hostPort`. */
function lookUp(object: Readonly<Record<string, unknown>>, name: string): unknown {
  if (object[name] !== undefined) return object[name];
  const folded = name.toLowerCase();
  const found = Object.keys(object).find((key) => key.toLowerCase() === folded);
  return found === undefined ? undefined : object[found];
}
