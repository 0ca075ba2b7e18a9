import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { serverSideApply } from './apply.ts';
import { StatusError } from './errors.ts';
import { difference, equalSets, formatFields, intersection, isEmpty, parseFields, union } from './field-set.ts';
import { trackUpdate } from './managed-fields.ts';
import { builtinSchema, crdSchema, type Fields, type KindSchema } from './types.ts';

const deployment = builtinSchema('io.k8s.api.apps.v1.Deployment');
const configMap = builtinSchema('io.k8s.api.core.v1.ConfigMap');
const service = builtinSchema('io.k8s.api.core.v1.Service');
const t0 = new Date('2026-01-01T00:00:00Z');
const t1 = new Date('2026-01-01T00:01:00Z');

interface Write {
  live?: Fields;
  applied: Fields;
  schema?: KindSchema;
  manager?: string;
  force?: boolean;
  now?: Date;
}

/** Applies, and puts the new owners into the object, as the server does. */
function apply({ live, applied, schema = deployment, manager = 'me', force = false, now = t0 }: Write): Fields {
  const { object, managedFields } = serverSideApply({
    live,
    applied,
    schema,
    manager,
    force,
    apiVersion: 'apps/v1',
    now,
  });
  return { ...object, metadata: { ...(object.metadata as Fields), managedFields } };
}

function write(live: Fields | undefined, updated: Fields, manager: string, schema = deployment, now = t0): Fields {
  const { managedFields: _, ...metadata } = updated.metadata as Fields;
  const entries = trackUpdate({
    old: live,
    updated: { ...updated, metadata },
    schema,
    manager,
    apiVersion: 'apps/v1',
    now,
  });
  return { ...updated, metadata: { ...metadata, managedFields: entries } };
}

const withoutOwners = (object: Fields): Fields => {
  const { managedFields: _, ...metadata } = object.metadata as Fields;
  return { ...object, metadata };
};

const owned = (object: Fields, manager: string): unknown => {
  const entries = (object.metadata as { managedFields?: { manager: string; fieldsV1: unknown }[] }).managedFields ?? [];
  return entries.find((entry) => entry.manager === manager)?.fieldsV1;
};

const meta = { name: 'web', namespace: 'default' };
const spec = (fields: Fields): Fields => ({ metadata: meta, spec: fields });
const pods = (...containers: Fields[]): Fields => spec({ template: { spec: { containers } } });

describe('server-side apply', () => {
  it('the applied fields are owned, list items by their key', () => {
    const object = apply({ applied: pods({ name: 'a', image: 'x', ports: [{ containerPort: 80 }] }) });
    assert.deepEqual(owned(object, 'me'), {
      'f:spec': {
        'f:template': {
          'f:spec': {
            'f:containers': {
              'k:{"name":"a"}': {
                '.': {},
                'f:image': {},
                'f:name': {},
                'f:ports': { 'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} } },
              },
            },
          },
        },
      },
    });
  });

  it('another value of a field that another manager owns is a conflict, named as upstream names it', () => {
    const live = apply({ applied: spec({ replicas: 1, minReadySeconds: 1 }), manager: 'first' });
    assert.throws(
      () => apply({ live, applied: spec({ replicas: 2 }) }),
      (error) => {
        assert.ok(error instanceof StatusError);
        assert.equal(error.status.code, 409);
        assert.equal(
          error.message,
          'Apply failed with 1 conflict: conflict with "first" using apps/v1: .spec.replicas',
        );
        assert.deepEqual(error.status.details?.causes, [
          { reason: 'FieldManagerConflict', message: 'conflict with "first" using apps/v1', field: '.spec.replicas' },
        ]);
        return true;
      },
    );
    assert.throws(
      () => apply({ live, applied: spec({ replicas: 2, minReadySeconds: 2 }) }),
      /Apply failed with 2 conflicts: conflicts with "first" using apps\/v1:\n- \.spec\.minReadySeconds\n- \.spec\.replicas/,
    );
  });

  it('the same value is shared; force takes the field over', () => {
    const live = apply({ applied: spec({ replicas: 1 }), manager: 'first' });
    const shared = apply({ live, applied: spec({ replicas: 1 }) });
    assert.deepEqual(owned(shared, 'first'), owned(shared, 'me'));
    const forced = apply({ live, applied: spec({ replicas: 2 }), force: true });
    assert.equal(owned(forced, 'first'), undefined);
    assert.deepEqual(withoutOwners(forced), spec({ replicas: 2 }));
  });

  it('a field left out goes unless somebody else owns it', () => {
    const both = pods({ name: 'a', image: 'x' }, { name: 'b', image: 'y' });
    const live = apply({ applied: both });
    assert.deepEqual(
      withoutOwners(apply({ live, applied: pods({ name: 'a', image: 'x' }) })),
      pods({ name: 'a', image: 'x' }),
    );
    const kept = apply({
      live: apply({ live, applied: both, manager: 'other' }),
      applied: pods({ name: 'a', image: 'x' }),
    });
    assert.deepEqual(withoutOwners(kept), both);
  });

  it('what controllers and defaults wrote stays', () => {
    const live = apply({ applied: spec({ replicas: 1 }) });
    const scaled = write(live, { ...live, spec: { replicas: 1, paused: true }, status: { replicas: 1 } }, 'controller');
    const again = apply({ live: scaled, applied: spec({ replicas: 1 }) });
    assert.deepEqual(withoutOwners(again), { ...spec({ replicas: 1, paused: true }), status: { replicas: 1 } });
  });

  it('atomic lists and maps have one owner', () => {
    const live = apply({ applied: spec({ selector: { app: 'a' } }), schema: service, manager: 'first' });
    assert.deepEqual(owned(live, 'first'), { 'f:spec': { 'f:selector': {} } });
    assert.throws(
      () => apply({ live, applied: spec({ selector: { app: 'a', more: 'b' } }), schema: service }),
      /\.spec\.selector$/,
    );
  });

  it('the same apply twice changes nothing, not even the time', () => {
    const applied = pods({ name: 'a', image: 'x', env: [{ name: 'E', value: '1' }] });
    const live = apply({ applied });
    assert.deepEqual(apply({ live, applied, now: t1 }), live);
  });

  it('two items of one key cannot be applied', () => {
    assert.throws(
      () => apply({ applied: pods({ name: 'a' }, { name: 'a' }) }),
      /duplicate entries for key \{"name":"a"\}/,
    );
  });

  it('custom resources merge by the marks of their schema', () => {
    const schema = crdSchema({
      type: 'object',
      properties: {
        spec: {
          type: 'object',
          properties: {
            set: { type: 'array', 'x-kubernetes-list-type': 'set', items: { type: 'string' } },
            list: { type: 'array', items: { type: 'string' } },
          },
        },
      },
    });
    const live = apply({ applied: spec({ set: ['a'], list: ['x'] }), schema, manager: 'first' });
    const merged = apply({ live, applied: spec({ set: ['b'] }), schema });
    assert.deepEqual(withoutOwners(merged), spec({ set: ['a', 'b'], list: ['x'] }));
    assert.deepEqual(owned(merged, 'me'), { 'f:spec': { 'f:set': { 'v:"b"': {} } } });
  });
});

describe('updates', () => {
  it('a writer owns what it changed, the owner before loses it, and its time moves only then', () => {
    const live = apply({ applied: spec({ replicas: 1, paused: true }), manager: 'first' });
    const edited = write(live, { ...live, ...spec({ replicas: 3, paused: true }) }, 'kubectl-edit', deployment, t1);
    assert.deepEqual(owned(edited, 'first'), { 'f:spec': { 'f:paused': {} } });
    assert.deepEqual(owned(edited, 'kubectl-edit'), { 'f:spec': { 'f:replicas': {} } });
    const same = write(edited, edited, 'kubectl-edit', deployment, new Date('2026-02-01T00:00:00Z'));
    assert.deepEqual(same, edited);
  });

  it("a removed field is nobody's", () => {
    const created = write(undefined, { metadata: meta, data: { a: '1', b: '2' } }, 'kubectl-create', configMap);
    assert.deepEqual(owned(created, 'kubectl-create'), { 'f:data': { '.': {}, 'f:a': {}, 'f:b': {} } });
    const updated = write(created, { ...created, data: { a: '1' } }, 'other', configMap);
    assert.deepEqual(owned(updated, 'kubectl-create'), { 'f:data': { '.': {}, 'f:a': {} } });
    assert.equal(owned(updated, 'other'), undefined);
  });

  it("the server's own metadata has no owner", () => {
    const metadata = {
      ...meta,
      uid: 'u',
      resourceVersion: '1',
      generation: 1,
      creationTimestamp: 'x',
      labels: { a: 'b' },
    };
    assert.deepEqual(owned(write(undefined, { metadata }, 'me'), 'me'), {
      'f:metadata': { 'f:labels': { '.': {}, 'f:a': {} } },
    });
  });
});

const text = fc.constantFrom('a', 'b', 'c');
const dataOf = fc.dictionary(text, text, { maxKeys: 3, noNullPrototype: true });
const container = fc.record(
  {
    name: text,
    image: text,
    env: fc.uniqueArray(fc.record({ name: text, value: text }), { selector: (item) => item.name }),
  },
  { requiredKeys: ['name'] },
);
const workload = fc
  .record(
    {
      replicas: fc.integer({ min: 0, max: 2 }),
      containers: fc.uniqueArray(container, { selector: (item) => item.name }),
      labels: dataOf,
    },
    { requiredKeys: [] },
  )
  .map(
    ({ replicas, containers, labels }): Fields => ({
      metadata: labels === undefined ? meta : { ...meta, labels },
      spec: {
        ...(replicas === undefined ? {} : { replicas }),
        ...(containers === undefined ? {} : { template: { spec: { containers } } }),
      },
    }),
  );

describe('properties', () => {
  it('after an apply the object says what was applied, whatever was there', () => {
    fc.assert(
      fc.property(workload, workload, (before, applied) => {
        const live = apply({ applied: before, manager: 'first' });
        const after = apply({ live, applied, force: true });
        const again = apply({ live: after, applied });
        assert.deepEqual(again, after);
        const mine = parseFields(owned(after, 'me') ?? {});
        const alone = parseFields(owned(apply({ applied }), 'me') ?? {});
        assert.ok(equalSets(mine, alone));
      }),
    );
  });

  it('what one manager alone applied is exactly what is left of its applies', () => {
    fc.assert(
      fc.property(workload, workload, (first, second) => {
        const after = apply({ live: apply({ applied: first }), applied: second });
        const fresh = apply({ applied: second });
        assert.deepEqual(owned(after, 'me'), owned(fresh, 'me'));
        const { replicas } = after.spec as Fields;
        assert.equal(replicas, (second.spec as Fields).replicas);
        assert.deepEqual((after.metadata as Fields).labels ?? {}, (second.metadata as Fields).labels ?? {});
      }),
    );
  });

  it('after a forced apply no two managers own a field with different values', () => {
    fc.assert(
      fc.property(workload, workload, (a, b) => {
        const live = apply({ live: apply({ applied: a, manager: 'first' }), applied: b, force: true });
        // What both own, both said alike: applying the other's share again meets no conflict.
        assert.doesNotThrow(() => apply({ live, applied: b }));
      }),
    );
  });

  it('sets: writing and reading FieldsV1 is the identity, and the operations are those of sets', () => {
    const set = workload.map((object) => parseFields(owned(apply({ applied: object }), 'me') ?? {}));
    fc.assert(
      fc.property(set, set, (a, b) => {
        assert.ok(equalSets(parseFields(formatFields(a)), a));
        assert.ok(equalSets(union(difference(a, b), intersection(a, b)), a));
        assert.ok(isEmpty(intersection(difference(a, b), b)));
        assert.ok(equalSets(union(a, b), union(b, a)));
      }),
    );
  });
});
