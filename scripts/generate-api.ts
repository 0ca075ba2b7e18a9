// Generates what the project needs of the Kubernetes API from its published facts:
//   src/k8s/types.generated.ts              TypeScript types of the kinds that Weft serves
//   src/apiserver/generated/definitions.json  their OpenAPI v2 definitions (fields, defaults, merge and apply keys)
//   src/apiserver/generated/protobuf.json     their protobuf field numbers
// Usage: scripts/node scripts/generate-api.ts FOLDER   (with openapi-v2.json and protobuf-fields.json)
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

interface Schema {
  $ref?: string;
  type?: string;
  format?: string;
  items?: Schema;
  properties?: Record<string, Schema>;
  additionalProperties?: Schema;
  required?: string[];
  'x-kubernetes-group-version-kind'?: { group: string; version: string; kind: string }[];
}

/** Every kind that the API server offers, with the types that its subresources and requests use. */
const roots = [
  ...[
    'Binding',
    'ConfigMap',
    'Endpoints',
    'Event',
    'LimitRange',
    'Namespace',
    'Node',
    'Pod',
    'PodTemplate',
    'ResourceQuota',
  ].map((k) => `io.k8s.api.core.v1.${k}`),
  ...['Secret', 'Service', 'ServiceAccount', 'PodTemplateSpec'].map((k) => `io.k8s.api.core.v1.${k}`),
  ...['ControllerRevision', 'DaemonSet', 'Deployment', 'ReplicaSet', 'StatefulSet'].map(
    (k) => `io.k8s.api.apps.v1.${k}`,
  ),
  'io.k8s.api.batch.v1.Job',
  'io.k8s.api.autoscaling.v1.Scale',
  'io.k8s.api.coordination.v1.Lease',
  'io.k8s.api.discovery.v1.EndpointSlice',
  'io.k8s.api.events.v1.Event',
  ...['Ingress', 'IngressClass', 'IPAddress', 'NetworkPolicy', 'ServiceCIDR'].map(
    (k) => `io.k8s.api.networking.v1.${k}`,
  ),
  // Clients of Kubernetes 1.31 to 1.33 ask for these.
  ...['IPAddress', 'ServiceCIDR'].map((k) => `io.k8s.api.networking.v1beta1.${k}`),
  ...['Role', 'RoleBinding', 'ClusterRole', 'ClusterRoleBinding'].map((k) => `io.k8s.api.rbac.v1.${k}`),
  ...['TokenRequest', 'TokenReview', 'SelfSubjectReview'].map((k) => `io.k8s.api.authentication.v1.${k}`),
  ...['SelfSubjectAccessReview', 'SelfSubjectRulesReview', 'SubjectAccessReview', 'LocalSubjectAccessReview'].map(
    (k) => `io.k8s.api.authorization.v1.${k}`,
  ),
  'io.k8s.api.policy.v1.Eviction',
  'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition',
  ...['DeleteOptions', 'Status', 'APIGroup', 'APIGroupList', 'APIResourceList', 'APIVersions', 'ListMeta'].map(
    (k) => `io.k8s.apimachinery.pkg.apis.meta.v1.${k}`,
  ),
];

/** Definitions that stand for a scalar or for free-form data. */
const aliases: Record<string, string> = {
  Quantity: 'string',
  IntOrString: 'number | string',
  Time: 'string',
  MicroTime: 'string',
  FieldsV1: 'Record<string, unknown>',
  RawExtension: 'Record<string, unknown>',
  JSON: 'unknown',
  JSONSchemaPropsOrArray: 'JSONSchemaProps | JSONSchemaProps[]',
  JSONSchemaPropsOrBool: 'JSONSchemaProps | boolean',
  JSONSchemaPropsOrStringArray: 'JSONSchemaProps | string[]',
};

const folder = process.argv[2];
if (folder === undefined) {
  console.error('usage: generate-api.ts FOLDER (it holds openapi-v2.json and protobuf-fields.json)');
  process.exit(2);
}
const definitions: Record<string, Schema> = JSON.parse(
  readFileSync(join(folder, 'openapi-v2.json'), 'utf8'),
).definitions;
const protobuf: Record<string, Record<string, { type?: string; map?: string[] | string }>> = JSON.parse(
  readFileSync(join(folder, 'protobuf-fields.json'), 'utf8'),
);

const refName = (ref: string): string => ref.replace('#/definitions/', '');
function* refs(schema: Schema): Generator<string> {
  if (schema.$ref) yield refName(schema.$ref);
  for (const child of [schema.items, schema.additionalProperties, ...Object.values(schema.properties ?? {})]) {
    if (child && typeof child === 'object') yield* refs(child);
  }
}

const closure = new Set<string>();
const queue = [...roots];
for (const root of roots) if (definitions[`${root}List`]) queue.push(`${root}List`);
for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
  if (closure.has(name)) continue;
  const schema = definitions[name];
  if (!schema) throw new Error(`no definition ${name}`);
  closure.add(name);
  queue.push(...refs(schema));
}

const short = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
const group = (name: string): string => name.split('.').at(-3) ?? '';
/** A version beside v1, which has the same fields: it needs no types of its own. */
const isOlder = (name: string): boolean => /\.v\d+(alpha|beta)\d+\.[^.]+$/.test(name);
const preferred = new Map<string, string>();
for (const name of [...closure]
  .filter((name) => !isOlder(name))
  .sort((a, b) => Number(b.includes('.core.')) - Number(a.includes('.core.')))) {
  if (!preferred.has(short(name))) preferred.set(short(name), name);
}
/** The TypeScript name: the kind's own, with the group before it where core has a kind of that name. */
const tsName = (name: string): string => {
  const own = short(name);
  if (preferred.get(own) === name) return own;
  const prefix = group(name);
  return prefix.charAt(0).toUpperCase() + prefix.slice(1) + own;
};

const tsType = (schema: Schema): string => {
  if (schema.$ref) return tsName(refName(schema.$ref));
  if (schema.type === 'array') {
    const item = tsType(schema.items ?? {});
    return /^[\w.]+$/.test(item) ? `${item}[]` : `(${item})[]`;
  }
  if (schema.additionalProperties) return `Record<string, ${tsType(schema.additionalProperties)}>`;
  if (schema.type === 'object') return 'Record<string, unknown>';
  if (schema.type === 'integer' || schema.type === 'number') return 'number';
  if (schema.type === 'string') return 'string';
  if (schema.type === 'boolean') return 'boolean';
  return 'unknown';
};

const lines = [
  '// Generated by scripts/generate-api.ts from the OpenAPI document of Kubernetes 1.36. Do not edit.',
  '',
];
const property = (key: string): string => (/^[A-Za-z_$][\w$]*$/.test(key) ? key : `'${key}'`);
for (const name of [...closure].filter((one) => !isOlder(one)).sort((a, b) => tsName(a).localeCompare(tsName(b)))) {
  const schema = definitions[name] as Schema;
  const alias = aliases[short(name)];
  if (alias !== undefined) {
    lines.push(`export type ${tsName(name)} = ${alias};`, '');
    continue;
  }
  const gvk = schema['x-kubernetes-group-version-kind']?.[0];
  const own = gvk && schema['x-kubernetes-group-version-kind']?.length === 1 ? gvk : undefined;
  lines.push(`export interface ${tsName(name)} {`);
  for (const [key, value] of Object.entries(schema.properties ?? {})) {
    let type = tsType(value);
    let required = schema.required?.includes(key) ?? false;
    if (own && key === 'apiVersion') [type, required] = [`'${own.group ? `${own.group}/` : ''}${own.version}'`, true];
    if (own && key === 'kind') [type, required] = [`'${own.kind}'`, true];
    if (own && (key === 'metadata' || key === 'spec')) required = true;
    lines.push(`  ${property(key)}${required ? '' : '?'}: ${type};`);
  }
  lines.push('}', '');
}
writeFileSync('src/k8s/types.generated.ts', `${lines.join('\n').trimEnd()}\n`);

const kept: Record<string, Schema> = {};
for (const name of [...closure].sort()) kept[name] = definitions[name] as Schema;
writeFileSync('src/apiserver/generated/definitions.json', `${JSON.stringify(kept)}\n`);

/** io.k8s.api.core.v1.Pod is k8s.io.api.core.v1.Pod in the protobuf table. */
const protoName = (name: string): string =>
  name.replace(/^io\.k8s\./, 'k8s.io.').replace('k8s.io.apiextensions-apiserver', 'k8s.io.apiextensions_apiserver');
const messages: Record<string, unknown> = {};
const pending = Object.keys(protobuf).filter((name) =>
  closure.has(name.replace(/^k8s\.io\./, 'io.k8s.').replace('apiextensions_apiserver', 'apiextensions-apiserver')),
);
pending.push('k8s.io.apimachinery.pkg.runtime.Unknown', 'k8s.io.apimachinery.pkg.runtime.TypeMeta');
for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
  const message = protobuf[name];
  if (!message || messages[name]) continue;
  messages[name] = message;
  // A type is named within its own package, or whole (with a dot before it in maps).
  const home = name.slice(0, name.lastIndexOf('.') + 1);
  for (const field of Object.values(message)) {
    for (const type of [field.type ?? [], field.map ?? []].flat())
      pending.push(`${home}${type}`, type.replace(/^\./, ''));
  }
}
writeFileSync(
  'src/apiserver/generated/protobuf.json',
  `${JSON.stringify(Object.fromEntries(Object.entries(messages).sort(([a], [b]) => a.localeCompare(b))))}\n`,
);
const missing = [...closure].filter((name) => !messages[protoName(name)]);
console.log(
  `${closure.size} definitions, ${Object.keys(messages).length} protobuf messages; without protobuf: ${missing.map(short).join(' ')}`,
);
