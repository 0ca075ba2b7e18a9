// How the API server's core sees an object whose kind it does not need to know.
import type { KubeObject } from '../k8s/object.ts';

export type Fields = Record<string, unknown>;

/** Any object on its way through the server. Objects in storage are shared: copy (structuredClone) before changing one. */
export interface ApiObject extends KubeObject {
  spec?: Fields;
  status?: Fields;
  [field: string]: unknown;
}

/**
 * The object as its kind's own type. Sound for objects that passed field checking and validation (everything in
 * storage has): the shape was checked at the border, which the compiler cannot know.
 */
export function typed<T extends KubeObject>(object: ApiObject): T {
  return object as KubeObject as T;
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The value as a record, or an empty one where it is something else: for reading optional parts. */
export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

/** The value at a path of field names, or undefined where the path ends early. */
export function valueAt(object: unknown, ...path: readonly string[]): unknown {
  let value: unknown = object;
  for (const field of path) {
    if (!isFields(value)) return undefined;
    value = value[field];
  }
  return value;
}

/** The text at a path of field names; empty where there is none. */
export function textAt(object: unknown, ...path: readonly string[]): string {
  const value = valueAt(object, ...path);
  return typeof value === 'string' ? value : '';
}

/** Whether two JSON values are equal; the order of fields does not matter, absent and undefined are the same. */
export function sameJson(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameJson(item, b[i]));
  if (!isFields(a) || !isFields(b)) return false;
  for (const key of Object.keys(a)) if (!sameJson(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (a[key] === undefined && b[key] !== undefined) return false;
  return true;
}
