import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aggregated, groupList, resourceList } from '../discovery.ts';
import { isFields, valueAt } from '../object.ts';
import { compareVersions, Registry } from '../registry.ts';
import { openApiV2 } from './openapi-v2.ts';
import { openApiV3, openApiV3Index } from './openapi-v3.ts';

const registry = new Registry();

/** Every field 2-typed of a protobuf message, as [field number, bytes]. */
function fieldsIn(message: Buffer): [number, Buffer][] {
  const found: [number, Buffer][] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = message[at++] ?? 0;
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    if (tag % 8 === 0) {
      varint();
      continue;
    }
    assert.equal(tag % 8, 2);
    const length = varint();
    found.push([tag >> 3, message.subarray(at, at + length)]);
    at += length;
  }
  return found;
}

test('every reference of an OpenAPI v3 document leads to a schema in it', () => {
  const { paths } = Object(openApiV3Index(registry));
  for (const path of Object.keys(paths)) {
    const document = openApiV3(registry, path);
    const schemas = valueAt(document, 'components', 'schemas');
    assert.ok(isFields(schemas), path);
    for (const [, name] of JSON.stringify(schemas).matchAll(/"#\/components\/schemas\/([^"]+)"/g))
      assert.ok(name !== undefined && name in schemas, `${path}: ${name}`);
  }
});

test('fields are described, those that refer to another type too', () => {
  const schemas = valueAt(openApiV3(registry, 'api/v1'), 'components', 'schemas');
  const pod = valueAt(schemas, 'io.k8s.api.core.v1.Pod');
  assert.match(String(valueAt(pod, 'description')), /^Pod is a collection of containers/);
  assert.match(String(valueAt(pod, 'properties', 'spec', 'description')), /^Specification of the desired behavior/);
  assert.deepEqual(valueAt(pod, 'properties', 'spec', 'allOf'), [
    { $ref: '#/components/schemas/io.k8s.api.core.v1.PodSpec' },
  ]);
});

test('kubectl finds in it that a PATCH takes fieldValidation', () => {
  const document = openApiV3(registry, 'apis/apps/v1');
  const patch = valueAt(document, 'paths', '/apis/apps/v1/namespaces/{namespace}/deployments/{name}', 'patch');
  assert.deepEqual(valueAt(patch, 'x-kubernetes-group-version-kind'), {
    group: 'apps',
    version: 'v1',
    kind: 'Deployment',
  });
  assert.match(JSON.stringify(valueAt(patch, 'parameters')), /"name":"fieldValidation"/);
});

test('the v2 document is well-formed protobuf with a definition for each kind', () => {
  const document = fieldsIn(openApiV2(registry).body);
  assert.equal(document.find(([field]) => field === 1)?.[1].toString(), '2.0');
  const definitions = document.find(([field]) => field === 9)?.[1] ?? Buffer.alloc(0);
  const names = fieldsIn(definitions).map(([, named]) => fieldsIn(named)[0]?.[1].toString());
  for (const kind of registry.kinds('apps', 'v1')) assert.ok(names.includes(kind.definition), kind.definition);
});

test('plain and aggregated discovery tell the same resources', () => {
  const { items } = Object(aggregated(registry, false, 'v2'));
  for (const item of items)
    for (const version of item.versions) {
      const plain: { name: string }[] = Object(resourceList(registry, item.metadata.name, version.version)).resources;
      assert.deepEqual(
        version.resources.map((one: { resource: string }) => one.resource),
        plain.map(({ name }) => name).filter((name) => !name.includes('/')),
      );
    }
  assert.equal(items.length, Object(groupList(registry)).groups.length);
});

test('stable versions come before beta ones, and higher before lower', () => {
  const versions = ['v1alpha1', 'v1', 'v2beta1', 'v10', 'other', 'v1beta1', 'v2'];
  assert.deepEqual(versions.sort(compareVersions), ['v10', 'v2', 'v1', 'v2beta1', 'v1beta1', 'v1alpha1', 'other']);
});
