import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { StatusError } from './errors.ts';
import { applyPatch } from './patch.ts';
import { builtinSchema, crdSchema } from './types.ts';

const pod = builtinSchema('io.k8s.api.core.v1.Pod');
const deployment = builtinSchema('io.k8s.api.apps.v1.Deployment');
const withCode = (code: number) => (error: unknown) => error instanceof StatusError && error.status.code === code;

const strategic = (object: Record<string, unknown>, patch: unknown, schema = pod): unknown =>
  applyPatch('strategic', object, patch, schema);
const containers = (...items: unknown[]): Record<string, unknown> => ({ spec: { containers: items } });

describe('strategic merge', () => {
  it('merges lists by their key and puts what is new in front', () => {
    const merged = strategic(
      containers({ name: 'a', image: '1', tty: true }),
      containers({ name: 'a', image: '2' }, { name: 'b' }),
    );
    assert.deepEqual(merged, containers({ name: 'a', image: '2', tty: true }, { name: 'b' }));
  });

  it('orders as $setElementOrder says', () => {
    const patch = {
      spec: { '$setElementOrder/containers': [{ name: 'b' }, { name: 'a' }], containers: [{ name: 'b', image: 'x' }] },
    };
    assert.deepEqual(strategic(containers({ name: 'a' }), patch), containers({ name: 'b', image: 'x' }, { name: 'a' }));
  });

  it('deletes an item by $patch: delete, replaces a list by $patch: replace', () => {
    assert.deepEqual(
      strategic(containers({ name: 'a' }, { name: 'b' }), containers({ $patch: 'delete', name: 'a' })),
      containers({ name: 'b' }),
    );
    assert.deepEqual(
      strategic(containers({ name: 'a' }), containers({ $patch: 'replace' }, { name: 'c' })),
      containers({ name: 'c' }),
    );
    assert.deepEqual(
      strategic({ spec: { nodeName: 'x', hostname: 'y' } }, { spec: { $patch: 'replace', hostname: 'z' } }),
      { spec: { hostname: 'z' } },
    );
  });

  it('$retainKeys drops what the new form does not have', () => {
    const old = { spec: { replicas: 2, strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1 } } } };
    const patch = { spec: { strategy: { $retainKeys: ['type'], type: 'Recreate' } } };
    assert.deepEqual(strategic(old, patch, deployment), { spec: { replicas: 2, strategy: { type: 'Recreate' } } });
    const volumes = { spec: { volumes: [{ name: 'v', emptyDir: {} }] } };
    const swap = { spec: { volumes: [{ $retainKeys: ['name', 'hostPath'], name: 'v', hostPath: { path: '/x' } }] } };
    assert.deepEqual(strategic(volumes, swap), { spec: { volumes: [{ name: 'v', hostPath: { path: '/x' } }] } });
  });

  it('lists of plain values: merged where the kind says so, else replaced', () => {
    const old = { metadata: { finalizers: ['a', 'b'] } };
    assert.deepEqual(strategic(old, { metadata: { finalizers: ['c'] } }), {
      metadata: { finalizers: ['c', 'a', 'b'] },
    });
    assert.deepEqual(strategic(old, { metadata: { '$deleteFromPrimitiveList/finalizers': ['a'] } }), {
      metadata: { finalizers: ['b'] },
    });
    assert.deepEqual(
      strategic(containers({ name: 'a', args: ['1', '2'] }), containers({ name: 'a', args: ['3'] })),
      containers({ name: 'a', args: ['3'] }),
    );
  });

  it('null deletes; the given objects stay as they are', () => {
    const old = { metadata: { labels: { a: '1', b: '2' } } };
    assert.deepEqual(strategic(old, { metadata: { labels: { a: null, c: '3' } } }), {
      metadata: { labels: { b: '2', c: '3' } },
    });
    assert.deepEqual(old, { metadata: { labels: { a: '1', b: '2' } } });
  });

  it('an item without its key is a 422, a custom resource a 415', () => {
    assert.throws(() => strategic(containers(), containers({ image: 'x' })), withCode(422));
    assert.throws(() => strategic({}, {}, crdSchema({ type: 'object' })), withCode(415));
  });
});

describe('JSON patch', () => {
  const object = { metadata: { labels: { a: '1' } }, spec: { list: [1, 2] } };

  it('applies all operations or none', () => {
    const patch = [
      { op: 'test', path: '/metadata/labels/a', value: '1' },
      { op: 'add', path: '/spec/list/-', value: 3 },
    ];
    assert.deepEqual(applyPatch('json', object, patch, pod), {
      metadata: { labels: { a: '1' } },
      spec: { list: [1, 2, 3] },
    });
    assert.deepEqual(object.spec.list, [1, 2]);
  });

  it('a failed test, a path that is not there, a patch that is no list', () => {
    assert.throws(
      () => applyPatch('json', object, [{ op: 'test', path: '/metadata/labels/a', value: '2' }], pod),
      /testing value \/metadata\/labels\/a failed/,
    );
    assert.throws(() => applyPatch('json', object, [{ op: 'remove', path: '/nope/x' }], pod), withCode(422));
    assert.throws(() => applyPatch('json', object, { op: 'remove' }, pod), withCode(400));
  });
});

it('a merge patch replaces lists, and null deletes', () => {
  const merged = applyPatch('merge', { a: { b: 1, c: [1, 2] }, d: 1 }, { a: { c: [3], e: { f: null } }, d: null }, pod);
  assert.deepEqual(merged, { a: { b: 1, c: [3], e: {} } });
});
