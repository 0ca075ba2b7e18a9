import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checkFields } from './fields.ts';
import { builtinSchema, crdSchema } from './types.ts';

const pod = builtinSchema('io.k8s.api.core.v1.Pod');
const deployment = builtinSchema('io.k8s.api.apps.v1.Deployment');

describe('built-in kinds', () => {
  it('unknown fields are named with their indexes and dropped', () => {
    const check = checkFields(
      { kind: 'Pod', spec: { foo: 1, containers: [{ name: 'a' }, { name: 'b', imagee: 'x' }] } },
      pod,
    );
    assert.deepEqual(check.unknown, ['unknown field "spec.foo"', 'unknown field "spec.containers[1].imagee"']);
    assert.deepEqual(check.pruned, { kind: 'Pod', spec: { containers: [{ name: 'a' }, { name: 'b' }] } });
  });

  it('type errors read as those of Go', () => {
    const wrong = { spec: { replicas: 'three', template: { spec: { containers: [{ name: 1, args: 'x' }] } } } };
    assert.deepEqual(checkFields(wrong, deployment).typeErrors, [
      'json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32',
      'json: cannot unmarshal number into Go struct field Container.spec.template.spec.containers.name of type string',
      'json: cannot unmarshal string into Go struct field Container.spec.template.spec.containers.args of type []string',
    ]);
    assert.match(
      checkFields({ spec: { replicas: 1.5 } }, deployment).typeErrors.join(),
      /number 1\.5 into .* of type int32/,
    );
    assert.match(checkFields({ spec: [] }, deployment).typeErrors.join(), /array into .* of type v1\.DeploymentSpec/);
  });

  it('null is absent, and empty within a map', () => {
    const { pruned } = checkFields({ metadata: { creationTimestamp: null, labels: { a: null } }, spec: null }, pod);
    assert.deepEqual(pruned, { metadata: { labels: { a: '' } } });
  });

  it('empty lists and maps are left out as Go leaves them out; required lists and empty structs stay', () => {
    const metadata = { labels: {}, annotations: {}, finalizers: [] };
    const spec = { containers: [], volumes: [], securityContext: {}, nodeSelector: {} };
    assert.deepEqual(checkFields({ metadata, spec }, pod).pruned, {
      metadata: {},
      spec: { containers: [], securityContext: {} },
    });
    const custom = crdSchema({ type: 'object', properties: { list: { type: 'array', items: { type: 'string' } } } });
    assert.deepEqual(checkFields({ metadata: { labels: {} }, list: [] }, custom).pruned, { metadata: {}, list: [] });
  });

  it('quantities, given as numbers too, and times become canonical', () => {
    const given = {
      metadata: { creationTimestamp: '2024-01-01T00:00:00.5+01:00' },
      spec: { containers: [{ name: 'a', resources: { limits: { cpu: 0.5, memory: '1024Mi' } } }] },
    };
    const { pruned, typeErrors } = checkFields(given, pod);
    assert.deepEqual(typeErrors, []);
    assert.deepEqual(pruned, {
      metadata: { creationTimestamp: '2023-12-31T23:00:00Z' },
      spec: { containers: [{ name: 'a', resources: { limits: { cpu: '500m', memory: '1Gi' } } }] },
    });
  });
});

describe('custom resources', () => {
  const schema = crdSchema({
    type: 'object',
    properties: {
      spec: {
        type: 'object',
        properties: {
          size: { type: 'integer', default: 1 },
          port: { 'x-kubernetes-int-or-string': true },
          free: {
            type: 'object',
            'x-kubernetes-preserve-unknown-fields': true,
            properties: { known: { type: 'object', properties: {} } },
          },
          template: { type: 'object', 'x-kubernetes-embedded-resource': true },
          named: { type: 'object', additionalProperties: { type: 'object', properties: { x: { type: 'string' } } } },
          maybe: { type: 'string', nullable: true },
        },
      },
    },
  });

  it('unknown fields go unless the schema keeps them', () => {
    const given = {
      metadata: { name: 'a', foo: 1 },
      spec: {
        bar: 1,
        free: { any: { thing: 1 }, known: { gone: 1 } },
        named: { k: { x: 'y', z: 1 } },
        template: { kind: 'Pod', metadata: { name: 'p' }, more: 1 },
      },
    };
    const { unknown, pruned } = checkFields(given, schema);
    assert.deepEqual(unknown, [
      'unknown field "metadata.foo"',
      'unknown field "spec.bar"',
      'unknown field "spec.free.known.gone"',
      'unknown field "spec.named.k.z"',
      'unknown field "spec.template.more"',
    ]);
    assert.deepEqual(pruned, {
      metadata: { name: 'a' },
      spec: {
        free: { any: { thing: 1 }, known: {} },
        named: { k: { x: 'y' } },
        template: { kind: 'Pod', metadata: { name: 'p' } },
      },
    });
  });

  it('values of a wrong type are left for the validation to name; metadata is checked here', () => {
    const { typeErrors, pruned } = checkFields({ metadata: { labels: 1 }, spec: { size: 'x' } }, schema);
    assert.deepEqual(typeErrors, [
      'json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type map[string]string',
    ]);
    assert.deepEqual(pruned, { metadata: {}, spec: { size: 'x' } });
  });

  it('null gives way to a default, and stays where it may be there', () => {
    assert.deepEqual(checkFields({ spec: { size: null, maybe: null } }, schema).pruned, { spec: { maybe: null } });
  });
});
