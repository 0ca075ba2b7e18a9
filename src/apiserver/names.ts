// Names that the server makes: generateName's suffixes, and unique ids.
import { randomInt } from 'node:crypto';
import type { ApiObject } from './object.ts';
import { badRequest } from './schema/errors.ts';

/** Without vowels and look-alikes, so that no words appear (apimachinery, pkg/util/rand). */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

export function randomName(length: number): string {
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');
}

/** Gives an object its name from `metadata.generateName` where it has none. Throws 400 where it has neither. */
export function fillName(object: ApiObject): void {
  const { metadata } = object;
  if (metadata.name) return;
  // The base is cut so that the whole fits into a label (63 characters).
  if (metadata.generateName) metadata.name = `${metadata.generateName.slice(0, 58)}${randomName(5)}`;
}

/** Throws 400 where the name in the body is not the one in the URL. */
export function checkName(object: ApiObject, name: string): void {
  const { metadata } = object;
  if (!metadata.name) throw badRequest('name must be provided');
  if (metadata.name !== name)
    throw badRequest(`the name of the object (${metadata.name}) does not match the name on the URL (${name})`);
}
