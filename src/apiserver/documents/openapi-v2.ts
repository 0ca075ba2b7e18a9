// OpenAPI v2 in the protobuf form of gnostic (openapiv2/OpenAPIv2.proto), which older versions of kubectl read for
// client-side validation, `explain` and to learn whether dry run is offered.
import type { Kind } from '../kinds.ts';
import { isFields } from '../object.ts';
import type { Registry } from '../registry.ts';
import { describedDefinitions, type Json, withObjectFields } from './described.ts';

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A field of wire type 2: text, or a message that is encoded already. */
function bytes(field: number, value: string | Buffer): Buffer {
  const data = typeof value === 'string' ? Buffer.from(value, 'utf8') : value;
  return Buffer.concat([varint(field * 8 + 2), varint(data.length), data]);
}

const flag = (field: number, value: boolean): Buffer =>
  value ? Buffer.concat([varint(field * 8), varint(1)]) : Buffer.alloc(0);

/** NamedAny with the value as YAML, of which JSON is a part. */
const namedAny = (field: number, name: string, value: unknown): Buffer =>
  bytes(field, Buffer.concat([bytes(1, name), bytes(2, bytes(2, JSON.stringify(value)))]));

const extensions = (field: number, schema: Json): Buffer[] =>
  Object.entries(schema)
    .filter(([name]) => name.startsWith('x-kubernetes-'))
    .map(([name, value]) => namedAny(field, name, value));

/** A Schema message. */
function schemaMessage(schema: Json): Buffer {
  const parts: Buffer[] = [];
  const text = (field: number, name: string): void => {
    const value = schema[name];
    if (typeof value === 'string' && value !== '') parts.push(bytes(field, value));
  };
  text(1, '$ref');
  text(2, 'format');
  text(4, 'description');
  if (Array.isArray(schema.required)) for (const name of schema.required) parts.push(bytes(19, String(name)));
  const { additionalProperties, type, items, properties } = schema;
  if (isFields(additionalProperties)) parts.push(bytes(21, bytes(1, schemaMessage(additionalProperties))));
  else if (additionalProperties === true) parts.push(bytes(21, flag(2, true)));
  if (typeof type === 'string') parts.push(bytes(22, bytes(1, type)));
  if (isFields(items)) parts.push(bytes(23, bytes(1, schemaMessage(items))));
  if (isFields(properties)) parts.push(bytes(25, namedSchemas(Object.entries(properties))));
  parts.push(...extensions(31, schema));
  return Buffer.concat(parts);
}

function namedSchemas(entries: readonly (readonly [string, unknown])[]): Buffer {
  return Buffer.concat(
    entries.map(([name, value]) =>
      bytes(1, Buffer.concat([bytes(1, name), bytes(2, schemaMessage(isFields(value) ? value : {}))])),
    ),
  );
}

/** A custom kind as v2 has it: v2 cannot say nullable or any-of, so structure is kept and the rest is left open. */
function customDefinition(kind: Kind): Json {
  const own = isFields(kind.custom?.openApi) ? simplified(kind.custom.openApi) : { type: 'object' };
  return {
    ...withObjectFields(own, { $ref: '#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta' }),
    'x-kubernetes-group-version-kind': [{ group: kind.group, version: kind.version, kind: kind.kind }],
  };
}

function simplified(schema: Json): Json {
  if (schema.nullable === true || schema['x-kubernetes-int-or-string'] === true) return {};
  if (schema['x-kubernetes-preserve-unknown-fields'] === true)
    return typeof schema.type === 'string' ? { type: schema.type } : {};
  const result: Json = { ...schema };
  if (isFields(schema.properties))
    result.properties = Object.fromEntries(
      Object.entries(schema.properties).map(([name, value]) => [name, isFields(value) ? simplified(value) : {}]),
    );
  if (isFields(schema.items)) result.items = simplified(schema.items);
  if (isFields(schema.additionalProperties)) result.additionalProperties = simplified(schema.additionalProperties);
  return result;
}

const queryParameter = (name: string): Buffer =>
  bytes(8, bytes(1, bytes(2, bytes(3, Buffer.concat([bytes(2, 'query'), bytes(4, name), bytes(6, 'string')])))));

/** The PATCH operation of a kind: that it takes dryRun tells kubectl that the server offers it. */
function pathMessage(kind: Kind): Buffer {
  const base = kind.group === '' ? `/api/${kind.version}` : `/apis/${kind.group}/${kind.version}`;
  const path = `${base}/${kind.namespaced ? 'namespaces/{namespace}/' : ''}${kind.plural}/{name}`;
  const gvk = { group: kind.group, version: kind.version, kind: kind.kind };
  const operation = Buffer.concat([
    ...['dryRun', 'fieldManager', 'fieldValidation'].map(queryParameter),
    namedAny(13, 'x-kubernetes-action', 'patch'),
    namedAny(13, 'x-kubernetes-group-version-kind', gvk),
  ]);
  return bytes(2, Buffer.concat([bytes(1, path), bytes(2, bytes(8, operation))]));
}

function definitionsOf(kinds: readonly Kind[]): [string, Json][] {
  const custom = kinds.filter(({ custom: own }) => own !== undefined);
  return [
    ...Object.entries(describedDefinitions()),
    ...custom.map((kind): [string, Json] => [kind.definition, customDefinition(kind)]),
  ];
}

const allKinds = (registry: Registry): Kind[] =>
  registry
    .groups()
    .flatMap(({ name, versions }) => versions.flatMap((one) => registry.kinds(name, one)))
    .filter(({ unserved }) => !unserved);

/** The document. Its media type has a dot where clients ask with an `@`: Go's parser of media types wants it so. */
export function openApiV2(registry: Registry): { type: string; body: Buffer } {
  const kinds = allKinds(registry);
  return {
    type: 'application/com.github.proto-openapi.spec.v2.v1.0+protobuf',
    body: Buffer.concat([
      bytes(1, '2.0'),
      bytes(2, Buffer.concat([bytes(1, 'Kubernetes'), bytes(2, 'v1.36.0')])),
      bytes(8, Buffer.concat(kinds.map(pathMessage))),
      bytes(9, namedSchemas(definitionsOf(kinds))),
    ]),
  };
}

/** The same for clients that read JSON: the definitions; the paths are those that discovery tells. */
export const openApiV2Json = (registry: Registry): unknown => ({
  swagger: '2.0',
  info: { title: 'Kubernetes', version: 'v1.36.0' },
  paths: {},
  definitions: Object.fromEntries(definitionsOf(allKinds(registry))),
});
