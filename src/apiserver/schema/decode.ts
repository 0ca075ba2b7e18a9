// Request bodies to objects: JSON, YAML and Kubernetes' protobuf. What is not to be read is a 400, worded as upstream's.
import { createRequire } from 'node:module';
import { badRequest, unsupportedMediaType } from './errors.ts';
import { scanJson } from './json-scan.ts';
import { decodeProtobuf } from './protobuf.ts';
import { type Fields, isFields, type KindSchema } from './types.ts';

export interface DecodedBody {
  readonly object: Fields;
  /** Paths of fields that are given twice: `spec.containers[0].image`, or the YAML parser's words. */
  readonly duplicates: string[];
}

/** Media types that {@link decodeBody} reads. */
const readableTypes = ['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf'] as const;

const jsonTypes = new Set([
  '',
  'application/json',
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
]);
const yamlTypes = new Set(['application/yaml', 'application/apply-patch+yaml', 'text/yaml', 'application/x-yaml']);

/**
 * The object of a body. An absent content type is JSON. Throws 400 for what cannot be read and 415 for other media
 * types. The object is not yet checked against the schema; `schema` is undefined for options and reviews.
 */
export function decodeBody(contentType: string | undefined, body: Buffer, _schema?: KindSchema): DecodedBody {
  const media = (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
  if (media === 'application/vnd.kubernetes.protobuf') return { object: decodeProtobuf(body), duplicates: [] };
  const text = body.toString('utf8');
  const { value, duplicates } = jsonTypes.has(media)
    ? decodeJson(text)
    : yamlTypes.has(media)
      ? decodeYaml(text)
      : refuse(media);
  if (!isFields(value)) {
    throw badRequest(
      `couldn't get version/kind; json parse error: json: cannot unmarshal ${jsonTypeName(value)} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`,
    );
  }
  return { object: value, duplicates };
}

function refuse(media: string): never {
  throw unsupportedMediaType(
    `the body of the request was in an unknown format - accepted media types include: ${readableTypes.join(', ')} (got ${media})`,
  );
}

/** Any JSON text, such as a JSON patch (a list), with the same checks. */
function decodeJson(text: string): { value: unknown; duplicates: string[] } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badRequest(
      `the object provided is unrecognized (must be of a type that is served here): couldn't get version/kind; json parse error: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
  const scan = scanJson(text);
  if (scan.tooDeep) throw badRequest('json parse error: exceeded max depth');
  if (scan.proto) throw badRequest('unable to decode: the field name "__proto__" is not supported');
  return { value, duplicates: scan.duplicates.map((path) => `duplicate field "${path}"`) };
}

/** Any YAML text (one document). Most of what is sent as YAML is JSON, which is read without loading a YAML parser. */
function decodeYaml(text: string): { value: unknown; duplicates: string[] } {
  if (/^\s*[{[]/.test(text)) {
    try {
      JSON.parse(text);
      return decodeJson(text);
    } catch {
      // Flow YAML that is no JSON: the parser below reads it.
    }
  }
  const yaml = createRequire(import.meta.url)('yaml') as typeof import('yaml');
  const document = yaml.parseDocument(text, { merge: true });
  const duplicates: string[] = [];
  for (const error of document.errors) {
    if (error.code !== 'DUPLICATE_KEY')
      throw badRequest(`error converting YAML to JSON: yaml: ${firstLine(error.message)}`);
    duplicates.push(`yaml: unmarshal errors: line ${error.linePos?.[0]?.line ?? 0}: key already set in map`);
  }
  let value: unknown;
  try {
    // Through JSON text: dates and special numbers become what JSON has for them, and the checks are the same.
    value = decodeJson(JSON.stringify(document.toJS({ maxAliasCount: 100 }) ?? null)).value;
  } catch (error) {
    throw badRequest(`error converting YAML to JSON: yaml: ${firstLine(error instanceof Error ? error.message : '')}`);
  }
  return { value, duplicates };
}

const firstLine = (text: string): string => text.split('\n', 1)[0]?.replace(/:$/, '') ?? '';

/** How Go's JSON decoder names the type of a value. */
export function jsonTypeName(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  if (value === null) return 'null';
  if (typeof value === 'boolean') return 'bool';
  return typeof value;
}
