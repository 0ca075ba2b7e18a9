import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { parseAllDocuments } from 'yaml';
import { type Answer, type Lab, startLab } from './lab.ts';

let lab: Lab;
before(async () => {
  lab = await startLab();
});
after(() => lab.stop());

const definitions = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
const metadataOf = (answer: Answer): Record<string, unknown> => Object(answer.body.metadata);

const definition = (plural: string, kind: string, version: object = {}) => ({
  apiVersion: 'apiextensions.k8s.io/v1',
  kind: 'CustomResourceDefinition',
  metadata: { name: `${plural}.example.com` },
  spec: {
    group: 'example.com',
    scope: 'Namespaced',
    names: { plural, kind, shortNames: [plural.slice(0, 3)] },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        subresources: {
          status: {},
          scale: { specReplicasPath: '.spec.replicas', statusReplicasPath: '.status.replicas' },
        },
        additionalPrinterColumns: [{ name: 'Size', type: 'integer', jsonPath: '.spec.replicas' }],
        schema: {
          openAPIV3Schema: {
            type: 'object',
            properties: {
              spec: {
                type: 'object',
                properties: { replicas: { type: 'integer', minimum: 0, default: 1 }, colour: { type: 'string' } },
              },
              status: { type: 'object', properties: { replicas: { type: 'integer' } } },
            },
          },
        },
        ...version,
      },
      {
        name: 'v1alpha1',
        served: true,
        storage: false,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
});

const path = (plural: string, version = 'v1'): string => `/apis/example.com/${version}/namespaces/default/${plural}`;

test('a definition is served at once: defaults, pruning, columns, status, scale, versions', async () => {
  const created = await lab.send('POST', definitions, { body: definition('widgets', 'Widget') });
  assert.equal(created.code, 201, created.text);
  const conditions: { type: string; status: string }[] = Object(created.body.status).conditions;
  assert.deepEqual(
    conditions.map(({ type, status }) => `${type}=${status}`),
    ['NamesAccepted=True', 'Established=True'],
  );
  const widget = await lab.send('POST', path('widgets'), {
    body: {
      apiVersion: 'example.com/v1',
      kind: 'Widget',
      metadata: { name: 'w' },
      spec: { unknown: 1 },
      status: { replicas: 9 },
    },
  });
  assert.equal(widget.code, 201, widget.text);
  assert.deepEqual(widget.body.spec, { replicas: 1 });
  assert.equal(widget.body.status, undefined);
  assert.match(String(widget.headers.warning), /unknown field/);
  const status = await lab.send('PUT', `${path('widgets')}/w/status`, {
    body: { ...widget.body, spec: { replicas: 5 }, status: { replicas: 2 } },
  });
  assert.deepEqual([status.body.spec, status.body.status], [{ replicas: 1 }, { replicas: 2 }]);
  assert.equal(metadataOf(status).generation, 1);
  const scaled = await lab.send('PATCH', `${path('widgets')}/w/scale`, {
    headers: { 'content-type': 'application/merge-patch+json' },
    body: { spec: { replicas: 3 } },
  });
  assert.deepEqual(
    [scaled.body.kind, scaled.body.spec, scaled.body.status],
    ['Scale', { replicas: 3 }, { replicas: 2 }],
  );
  const table = await lab.send('GET', path('widgets'), {
    headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
  });
  assert.deepEqual(Object(table.body.rows)[0].cells, ['w', 3]);
  const other = await lab.send('GET', `${path('widgets', 'v1alpha1')}/w`);
  assert.equal(other.body.apiVersion, 'example.com/v1alpha1');
  const discovery = await lab.send('GET', '/apis/example.com');
  assert.equal(Object(discovery.body.preferredVersion).version, 'v1');
});

test('deleting a definition deletes its objects first, and waits for their finalizers', async () => {
  await lab.send('POST', definitions, { body: definition('gadgets', 'Gadget') });
  for (const [name, finalizers] of [
    ['free', []],
    ['held', ['example.com/hold']],
  ] as const)
    await lab.send('POST', path('gadgets'), { body: { metadata: { name, finalizers } } });
  await lab.send('DELETE', `${definitions}/gadgets.example.com`);
  assert.equal((await lab.send('GET', `${path('gadgets')}/free`)).code, 404);
  assert.equal((await lab.send('GET', `${definitions}/gadgets.example.com`)).code, 200);
  const late = await lab.send('POST', path('gadgets'), { body: { metadata: { name: 'late' } } });
  assert.equal(late.code, 405);
  await lab.send('PATCH', `${path('gadgets')}/held`, {
    headers: { 'content-type': 'application/merge-patch+json' },
    body: { metadata: { finalizers: null } },
  });
  assert.equal((await lab.send('GET', `${definitions}/gadgets.example.com`)).code, 404);
  assert.equal((await lab.send('GET', path('gadgets'))).code, 404);
});

test('custom objects are served again after a restart', async () => {
  await lab.send('POST', definitions, { body: definition('things', 'Thing') });
  await lab.send('POST', path('things'), { body: { metadata: { name: 't' }, spec: { colour: 'red' } } });
  await lab.restart();
  assert.deepEqual((await lab.send('GET', `${path('things')}/t`)).body.spec, { colour: 'red', replicas: 1 });
});

test('conversion by webhook is refused', async () => {
  const body = definition('others', 'Other');
  const answer = await lab.send('POST', definitions, {
    body: { ...body, spec: { ...body.spec, conversion: { strategy: 'Webhook' } } },
  });
  assert.equal(answer.code, 422);
  assert.match(String(answer.body.message), /spec\.conversion\.strategy: Unsupported value: "Webhook"/);
});

// Real definitions lie beside a developer's checkout; a user's clone has none.
const folder = new URL('../../../shared/crds/', import.meta.url).pathname;

test('the definitions of Gateway API and ClusterNetworkPolicy are servable', {
  skip: !existsSync(folder),
}, async () => {
  for (const file of globSync('*.yaml', { cwd: folder })) {
    const object: unknown = parseAllDocuments(readFileSync(`${folder}${file}`, 'utf8'))[0]?.toJS();
    if (Object(object).kind !== 'CustomResourceDefinition') continue;
    const created = await lab.send('POST', definitions, { body: object });
    assert.equal(created.code, 201, `${file}: ${created.text.slice(0, 500)}`);
  }
  const gateways = '/apis/gateway.networking.k8s.io/v1/namespaces/default';
  const route = await lab.send('POST', `${gateways}/httproutes?fieldValidation=Strict`, {
    body: {
      apiVersion: 'gateway.networking.k8s.io/v1',
      kind: 'HTTPRoute',
      metadata: { name: 'r' },
      spec: { parentRefs: [{ name: 'g' }], rules: [{ backendRefs: [{ name: 'web', port: 80 }] }] },
    },
  });
  assert.equal(route.code, 201, route.text);
  assert.deepEqual(Object(route.body.spec).rules[0].matches, [{ path: { type: 'PathPrefix', value: '/' } }]);
});
