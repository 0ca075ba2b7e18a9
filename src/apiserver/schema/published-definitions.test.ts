import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { serverSideApply } from './apply.ts';
import { applyCrdDefaults, applyDefaults } from './defaults.ts';
import { fieldErrorText } from './errors.ts';
import { checkFields } from './fields.ts';
import { builtinSchema, crdSchema, type Fields, fieldsOf, isFields, listOf } from './types.ts';
import { validateCrd, validateCreate } from './validate.ts';

/** The definitions of Gateway API and ClusterNetworkPolicy, where they lie beside the repository. */
const folder = join(import.meta.dirname, '../../../../shared/crds');
const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.yaml')) : [];
const skip = files.length === 0 ? 'the published definitions are not beside this repository' : false;

function definitionsIn(file: string): Fields[] {
  const documents = parseAllDocuments(readFileSync(join(folder, file), 'utf8'));
  return documents
    .map((document) => fieldsOf(document.toJS()))
    .filter(({ kind }) => kind === 'CustomResourceDefinition');
}

describe('published definitions', { skip }, () => {
  const schema = builtinSchema('io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition');
  const gvk = 'apiextensions.k8s.io/v1/CustomResourceDefinition';

  for (const file of files) {
    it(`${file} has known fields only and is structural`, () => {
      for (const definition of definitionsIn(file)) {
        const { unknown, typeErrors, pruned } = checkFields(definition, schema);
        assert.deepEqual([...unknown, ...typeErrors], []);
        applyDefaults(gvk, pruned);
        assert.deepEqual(validateCreate(gvk, pruned).map(fieldErrorText), []);
      }
    });
  }

  it('an HTTPRoute gets its defaults, is validated, and applies idempotently', () => {
    const [definition] = definitionsIn('gateway.networking.k8s.io_httproutes.yaml');
    const version = listOf(fieldsOf(definition?.spec).versions).find((each) => fieldsOf(each).name === 'v1');
    const route = crdSchema(fieldsOf(fieldsOf(version).schema).openAPIV3Schema);
    const applied: Fields = {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'web', namespace: 'default' },
      spec: {
        parentRefs: [{ name: 'gateway' }],
        hostnames: ['web.example.com'],
        rules: [{ backendRefs: [{ name: 'web', port: 80 }] }],
      },
    };
    const request = {
      applied,
      schema: route,
      manager: 'me',
      force: false,
      apiVersion: 'gateway.networking.k8s.io/v1',
      now: new Date(0),
    };
    const { object, managedFields } = serverSideApply({ ...request, live: undefined });
    const stored: Fields = structuredClone({ ...object, metadata: { ...fieldsOf(object.metadata), managedFields } });
    applyCrdDefaults(route, stored);
    assert.deepEqual(validateCrd(route, stored), []);
    const [rule] = listOf(fieldsOf(object.spec).rules);
    assert.ok(isFields(rule) && rule.matches === undefined, 'defaults are no part of what was applied');
    assert.match(JSON.stringify(stored), /"matches":\[\{"path":\{"type":"PathPrefix","value":"\/"\}\}\]/);
    const again = serverSideApply({ ...request, live: stored, now: new Date(1e6) });
    assert.deepEqual(again.managedFields, managedFields);
    const wrong = structuredClone(stored);
    Object.assign(fieldsOf(wrong.spec), { hostnames: ['Not_A_Host'] });
    assert.match(
      validateCrd(route, wrong).map(fieldErrorText).join(),
      /^spec\.hostnames\[0\]: Invalid value: "Not_A_Host"/,
    );
  });
});
