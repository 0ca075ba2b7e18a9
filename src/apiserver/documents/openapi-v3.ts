// OpenAPI v3, one document a group and version: what kubectl validates, explains and applies by.
import { createHash } from 'node:crypto';
import type { Kind } from '../kinds.ts';
import { isFields } from '../object.ts';
import type { Registry } from '../registry.ts';
import { contentHash, describedDefinitions, type Json, withObjectFields } from './described.ts';

type Definitions = Readonly<Record<string, Json>>;

const pathOf = (group: string, version: string): string =>
  group === '' ? `api/${version}` : `apis/${group}/${version}`;

/** `/openapi/v3`: where the document of each group version is. The hash tells clients when theirs is out of date. */
export function openApiV3Index(registry: Registry): unknown {
  const paths: Record<string, { serverRelativeURL: string }> = {};
  for (const { name, versions } of registry.groups()) {
    for (const version of versions) {
      const path = pathOf(name, version);
      const own = registry.kinds(name, version).map((kind) => [kind.plural, kind.custom?.openApi ?? null]);
      const seed = [contentHash(), own];
      const hash = createHash('sha256').update(JSON.stringify(seed)).digest('hex').slice(0, 32);
      paths[path] = { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` };
    }
  }
  return { paths };
}

/** The document of a group version, named as its path without the slash in front; undefined where there is none. */
export function openApiV3(registry: Registry, path: string): unknown {
  const match = /^(?:api\/([^/]+)|apis\/([^/]+)\/([^/]+))$/.exec(path);
  if (match === null) return undefined;
  const group = match[2] ?? '';
  const version = match[1] ?? match[3] ?? '';
  const kinds = registry.kinds(group, version);
  const reviews = registry.reviews(group, version);
  if (kinds.length + reviews.length === 0) return undefined;
  const schemas: Record<string, unknown> = {};
  const definitions = describedDefinitions();
  for (const name of [...kinds.filter(({ custom }) => custom === undefined), ...reviews].map((one) => one.definition))
    collect(name, schemas, definitions);
  collect(`${meta}.ObjectMeta`, schemas, definitions);
  for (const kind of kinds) if (kind.custom !== undefined) schemas[kind.definition] = customSchema(kind);
  for (const name of ['DeleteOptions', 'Status']) collect(`${meta}.${name}`, schemas, definitions);
  const paths: Json = {};
  for (const kind of kinds) if (!kind.unserved) Object.assign(paths, pathsOf(kind));
  return {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1.36.0' },
    paths,
    components: { schemas },
  };
}

const meta = 'io.k8s.apimachinery.pkg.apis.meta.v1';

/** Adds a definition and all that it refers to. */
function collect(name: string, into: Record<string, unknown>, from: Definitions): void {
  const definition = from[name];
  if (definition === undefined || name in into) return;
  into[name] = definition;
  into[name] = convert(definition, (reference) => collect(reference, into, from));
}

/** A v2 schema as v3 has it: references point elsewhere, and stand in an allOf where something stands beside them. */
function convert(value: unknown, refer: (name: string) => void): unknown {
  if (Array.isArray(value)) return value.map((item) => convert(item, refer));
  if (!isFields(value)) return value;
  const reference = value.$ref;
  if (typeof reference === 'string' && reference.startsWith('#/definitions/')) {
    const name = reference.slice('#/definitions/'.length);
    refer(name);
    const pointer = { $ref: `#/components/schemas/${name}` };
    const { $ref: _, ...beside } = value;
    return Object.keys(beside).length === 0 ? pointer : { ...beside, allOf: [pointer] };
  }
  if (value.format === 'int-or-string')
    return { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' };
  return Object.fromEntries(Object.entries(value).map(([field, inner]) => [field, convert(inner, refer)]));
}

/** A custom resource's schema with the fields that every object has. */
function customSchema(kind: Kind): unknown {
  const own = isFields(kind.custom?.openApi) ? kind.custom.openApi : { type: 'object' };
  return {
    ...withObjectFields(own, { allOf: [{ $ref: `#/components/schemas/${meta}.ObjectMeta` }] }),
    'x-kubernetes-group-version-kind': [gvk(kind)],
  };
}

const gvk = ({ group, version, kind }: Kind): Json => ({ group, version, kind });

const queryParameter = (name: string, type = 'string'): Json => ({
  name,
  in: 'query',
  schema: { type, uniqueItems: true },
});

const writeParameters = ['dryRun', 'fieldManager', 'fieldValidation'].map((name) => queryParameter(name));

function content(kind: Kind): Json {
  return {
    'application/json': { schema: { $ref: `#/components/schemas/${kind.definition}` } },
  };
}

const patchTypes = ['application/apply-patch+yaml', 'application/json-patch+json', 'application/merge-patch+json'];

/** kubectl applies by a strategic merge where it is offered: custom resources do not have one. */
const patchTypesOf = (kind: Kind): string[] =>
  kind.custom === undefined ? [...patchTypes, 'application/strategic-merge-patch+json'] : patchTypes;

function operation(kind: Kind, action: string, more: Json = {}): Json {
  return {
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': gvk(kind),
    responses: { 200: { description: 'OK', content: content(kind) } },
    ...more,
  };
}

/** The paths of a kind's objects, as far as clients look into them. */
function pathsOf(kind: Kind): Json {
  const base = `/${pathOf(kind.group, kind.version)}/${kind.namespaced ? 'namespaces/{namespace}/' : ''}${kind.plural}`;
  const body = { requestBody: { content: content(kind) }, parameters: writeParameters };
  const patchBody = {
    requestBody: {
      content: Object.fromEntries(
        patchTypesOf(kind).map((type) => [type, { schema: { $ref: `#/components/schemas/${meta}.Patch` } }]),
      ),
    },
    parameters: [...writeParameters, queryParameter('force', 'boolean')],
  };
  const paths: Json = {
    [base]: { get: operation(kind, 'list'), post: operation(kind, 'post', body) },
    [`${base}/{name}`]: {
      get: operation(kind, 'get'),
      put: operation(kind, 'put', body),
      patch: operation(kind, 'patch', patchBody),
      delete: operation(kind, 'delete'),
    },
  };
  if (kind.subresources.includes('status'))
    paths[`${base}/{name}/status`] = {
      get: operation(kind, 'get'),
      put: operation(kind, 'put', body),
      patch: operation(kind, 'patch', patchBody),
    };
  return paths;
}
