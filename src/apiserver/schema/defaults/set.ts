// Filling in a field that was left out.
import { type Fields, isFields } from '../node.ts';

/** Sets a field that is absent. */
export function preset(object: Fields, field: string, value: unknown): void {
  if (object[field] === undefined) object[field] = value;
}

/** Sets a field that is absent or has the zero value, for fields that Go cannot tell apart (no pointers). */
export function presetZero(object: Fields, field: string, value: unknown): void {
  const given = object[field];
  if (given === undefined || given === '' || given === 0) object[field] = value;
}

/** The object in a field, made where it is absent. */
export function child(object: Fields, field: string): Fields {
  const given = object[field];
  if (isFields(given)) return given;
  const made: Fields = {};
  object[field] = made;
  return made;
}

/** The object in a field, or undefined. */
export function part(object: Fields, field: string): Fields | undefined {
  const given = object[field];
  return isFields(given) ? given : undefined;
}

/** The objects in a list field. */
export function parts(object: Fields, field: string): Fields[] {
  const given = object[field];
  return Array.isArray(given) ? given.filter(isFields) : [];
}
