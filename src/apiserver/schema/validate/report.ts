// Collects what is wrong with an object, field by field, and reads its parts without trusting their presence.
import type { FieldError } from '../errors.ts';
import { type Fields, fieldsOf, isFields } from '../node.ts';

export class Report {
  readonly errors: FieldError[] = [];

  required(path: string, detail = ''): void {
    this.errors.push({ path, type: 'Required', detail });
  }

  invalid(path: string, value: unknown, detail: string): void {
    this.errors.push({ path, type: 'Invalid', value, detail });
  }

  notSupported(path: string, value: unknown, supported: readonly string[]): void {
    this.errors.push({ path, type: 'NotSupported', value, supported });
  }

  duplicate(path: string, value: unknown): void {
    this.errors.push({ path, type: 'Duplicate', value });
  }

  forbidden(path: string, detail: string): void {
    this.errors.push({ path, type: 'Forbidden', detail });
  }

  notFound(path: string, value: unknown): void {
    this.errors.push({ path, type: 'NotFound', value });
  }

  /** `limit` in bytes. */
  tooLong(path: string, limit: number): void {
    this.errors.push({ path, type: 'TooLong', detail: `may not be more than ${limit} bytes` });
  }

  tooMany(path: string, count: number, limit: number): void {
    this.errors.push({ path, type: 'TooMany', value: count, detail: `must have at most ${limit} items` });
  }

  /** One Invalid for each message of a check such as {@link dnsLabel}. */
  allInvalid(path: string, value: unknown, messages: readonly string[]): void {
    for (const message of messages) this.invalid(path, value, message);
  }

  /** A value that must be one of a few; an empty one is Required where `required`. */
  oneOf(path: string, value: unknown, supported: readonly string[], need: 'required' | 'optional' = 'optional'): void {
    if (value === undefined || value === '') {
      if (need === 'required') this.required(path);
    } else if (typeof value !== 'string' || !supported.includes(value)) {
      this.notSupported(path, value, supported);
    }
  }

  /** A number that must not be negative, where it is given. */
  notNegative(path: string, value: unknown): void {
    if (typeof value === 'number' && value < 0) this.invalid(path, value, 'must be greater than or equal to 0');
  }
}

export const immutable = 'field is immutable';

export function text(object: Fields, field: string): string {
  const value = object[field];
  return typeof value === 'string' ? value : '';
}

export function number(object: Fields, field: string): number | undefined {
  const value = object[field];
  return typeof value === 'number' ? value : undefined;
}

/** The object in a field; an empty one where there is none. */
export function at(object: Fields, ...path: readonly string[]): Fields {
  return path.reduce((part, field) => fieldsOf(part[field]), object);
}

export function objects(object: Fields, field: string): Fields[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter(isFields) : [];
}

export function texts(object: Fields, field: string): string[] {
  const value = object[field];
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}
