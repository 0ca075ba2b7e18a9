import assert from 'node:assert/strict';
import { test } from 'node:test';
import { builtInKinds } from './kinds.ts';
import type { ApiObject } from './object.ts';
import { builtinSchema } from './schema/types.ts';
import { selection } from './selection.ts';

const kinds = builtInKinds(builtinSchema);
const kindOf = (plural: string) => {
  const kind = kinds.find((one) => one.plural === plural);
  if (kind === undefined) throw new Error(`no kind ${plural}`);
  return kind;
};
const matches = (plural: string, query: Record<string, string>, object: Partial<ApiObject>): boolean =>
  selection(kindOf(plural), new URLSearchParams(query))({ apiVersion: 'v1', kind: '', metadata: {}, ...object });

test('an absent field is compared as its zero value', () => {
  assert.equal(matches('pods', { fieldSelector: 'spec.nodeName=' }, { spec: {} }), true);
  assert.equal(matches('pods', { fieldSelector: 'spec.hostNetwork=false' }, { spec: {} }), true);
  assert.equal(matches('nodes', { fieldSelector: 'spec.unschedulable=false' }, {}), true);
  assert.equal(matches('pods', { fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' }, {}), true);
});

test('labels and fields must both match', () => {
  const pod = { metadata: { name: 'p', labels: { a: 'b' } } };
  assert.equal(matches('pods', { labelSelector: 'a=b', fieldSelector: 'metadata.name=p' }, pod), true);
  assert.equal(matches('pods', { labelSelector: 'a=c', fieldSelector: 'metadata.name=p' }, pod), false);
  assert.equal(matches('pods', { labelSelector: 'a=b', fieldSelector: 'metadata.name=q' }, pod), false);
});

test('a field that the kind cannot be selected by, and text that is no selector, are refused', () => {
  assert.throws(() => matches('configmaps', { fieldSelector: 'data.x=y' }, {}), /field label not supported: data\.x/);
  assert.throws(() => matches('pods', { labelSelector: 'a in (' }, {}));
});
