// A request's body as an object of the wanted kind: decoded, its fields checked, unknown ones dropped.
import type { Call } from './api.ts';
import { apiVersionOf, type Kind } from './kinds.ts';
import { type ApiObject, type Fields, isFields } from './object.ts';
import type { WriteOptions } from './options.ts';
import { addWarnings } from './respond.ts';
import { decodeBody } from './schema/decode.ts';
import { badRequest } from './schema/errors.ts';
import { checkFields } from './schema/fields.ts';
import type { KindSchema } from './schema/types.ts';

/** What a body must be: for most requests the kind of the URL, for some subresources another one. */
export interface Expected {
  readonly apiVersion: string;
  readonly kind: string;
  readonly schema: KindSchema;
}

export const expectedOf = (kind: Kind): Expected => ({
  apiVersion: apiVersionOf(kind),
  kind: kind.kind,
  schema: kind.schema(),
});

/** The body as an object. Throws 400 where it cannot be read or is of another kind. */
export function readObject(expected: Expected, call: Call, body: Buffer, options: WriteOptions): ApiObject {
  const { object, duplicates } = decodeBody(call.request.headers['content-type'], body, expected.schema);
  return checkObject(expected, object, call, options, duplicates);
}

/** Checks the fields of an object that a client made, and drops what its kind does not have. */
export function checkObject(
  expected: Expected,
  object: Fields,
  call: Call,
  options: WriteOptions,
  duplicates: readonly string[] = [],
): ApiObject {
  checkKind(expected, object);
  const { pruned, unknown, typeErrors } = checkFields(object, expected.schema);
  const [first] = typeErrors;
  if (first !== undefined)
    throw badRequest(
      `${expected.kind} in version "${expected.apiVersion.split('/').at(-1)}" cannot be handled as a ${expected.kind}: ${first}`,
    );
  const complaints = [...unknown, ...duplicates];
  if (complaints.length > 0 && options.validation === 'Strict')
    throw badRequest(
      `${expected.kind} in version "${expected.apiVersion.split('/').at(-1)}" cannot be handled as a ${expected.kind}: strict decoding error: ${complaints.join(', ')}`,
    );
  if (options.validation === 'Warn') addWarnings(call.response, complaints);
  return asObject(pruned, expected);
}

/** Throws 400 where a body says that it is something else than what the URL names. */
function checkKind(expected: Expected, object: Fields): void {
  const { apiVersion, kind } = object;
  if (apiVersion !== undefined && apiVersion !== '' && apiVersion !== expected.apiVersion)
    throw badRequest(
      `the API version in the data (${String(apiVersion)}) does not match the expected API version (${expected.apiVersion})`,
    );
  if (kind !== undefined && kind !== '' && kind !== expected.kind)
    throw badRequest(`the kind in the data (${String(kind)}) does not match the expected kind (${expected.kind})`);
}

function asObject(fields: Fields, { apiVersion, kind }: Expected): ApiObject {
  const { metadata } = fields;
  return { ...fields, apiVersion, kind, metadata: isFields(metadata) ? metadata : {} };
}
