import assert from 'node:assert/strict';
import { test } from 'node:test';
import { negotiate, negotiateDiscovery } from './negotiate.ts';

test('a table is given to who asks for one first, as kubectl get does', () => {
  assert.deepEqual(negotiate('application/json;as=Table;v=v1;g=meta.k8s.io,application/json'), {
    as: 'table',
    version: 'v1',
  });
});

test('metadata alone, for one object or a list', () => {
  assert.deepEqual(negotiate('application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io'), {
    as: 'metadata',
    list: true,
    version: 'v1',
  });
});

test('protobuf is passed over where JSON would do too, and refused where it is all that is asked for', () => {
  assert.deepEqual(negotiate('application/vnd.kubernetes.protobuf,application/json'), { as: 'object' });
  assert.throws(() => negotiate('application/vnd.kubernetes.protobuf'), /only the following media types are accepted/);
  assert.deepEqual(negotiate(undefined), { as: 'object' });
});

test('discovery is aggregated in the newest form that the client knows', () => {
  const v2 = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList';
  const beta = 'application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList';
  assert.equal(negotiateDiscovery(`${v2},${beta},application/json`), 'v2');
  assert.equal(negotiateDiscovery(`${v2};profile=nopeer,${v2},application/json`), 'v2');
  assert.equal(negotiateDiscovery(`${beta},application/json`), 'v2beta1');
  assert.equal(negotiateDiscovery('application/json, */*'), 'plain');
});
