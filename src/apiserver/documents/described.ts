// The definitions of the built-in kinds with what each field means, for the OpenAPI documents. They are large and read
// only when a client asks for a document, so they are a file of their own that is not kept in memory.
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import definitions from '../generated/definitions.json' with { type: 'json' };
import { once } from '../kinds.ts';
import { fieldsOf, isFields } from '../object.ts';

export type Json = Record<string, unknown>;

const builtIn: Readonly<Record<string, Json>> = definitions;

/** A bundle has the file beside it (scripts/build.ts). */
const folder = process.env.WEFT_BUNDLED === '1' ? import.meta.dirname : join(import.meta.dirname, '../generated');

const readText = (): string => readFileSync(join(folder, 'descriptions.json'), 'utf8');

/** Changes with every change of what the documents say of built-in kinds. */
export const contentHash = once(() =>
  createHash('sha256').update(JSON.stringify(builtIn)).update(readText()).digest('hex'),
);

/** The definitions by name, each time made anew. */
export function describedDefinitions(): Record<string, Json> {
  const words = fieldsOf(JSON.parse(readText()));
  return Object.fromEntries(
    Object.entries(builtIn).map(([name, one]) => [name, described(one, fieldsOf(words[name]))]),
  );
}

function described(definition: Json, words: Json): Json {
  const { '': own, ...ofFields } = words;
  const properties = isFields(definition.properties) ? definition.properties : undefined;
  return {
    ...(typeof own === 'string' && { description: own }),
    ...definition,
    ...(properties !== undefined && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, field]) => [
          name,
          typeof ofFields[name] === 'string' ? { description: ofFields[name], ...fieldsOf(field) } : field,
        ]),
      ),
    }),
  };
}

/** A custom kind's own schema with the fields that every object has; `metadata` is how the document refers to theirs. */
export function withObjectFields(own: Json, metadata: Json): Json {
  const type = { type: 'string' };
  const properties = isFields(own.properties) ? own.properties : {};
  return { ...own, properties: { apiVersion: type, kind: type, ...properties, metadata } };
}
