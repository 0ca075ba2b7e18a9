import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseRequest } from './request.ts';

const parse = (method: string, path: string, query = '') => {
  const info = parseRequest(method, path, new URLSearchParams(query));
  assert.equal(info.type, 'resource');
  if (info.type !== 'resource') throw new Error('unreachable');
  const { verb, group, version, namespace, plural, name, subresource, rest } = info;
  return [verb, group, version, namespace, plural, name, subresource, rest].join('|');
};

test('a path is taken apart into group, version, namespace, resource, name and subresource', () => {
  assert.equal(parse('GET', '/api/v1/pods'), 'list||v1||pods|||');
  assert.equal(parse('GET', '/api/v1/namespaces/ns/pods/p'), 'get||v1|ns|pods|p||');
  assert.equal(
    parse('PATCH', '/apis/apps/v1/namespaces/ns/deployments/d/status'),
    'patch|apps|v1|ns|deployments|d|status|',
  );
  assert.equal(parse('DELETE', '/api/v1/namespaces/ns/pods'), 'deletecollection||v1|ns|pods|||');
  assert.equal(parse('GET', '/api/v1/nodes/n/proxy/pods/x'), 'get||v1||nodes|n|proxy|pods/x');
});

test('a namespace is itself a resource, with its own subresources', () => {
  assert.equal(parse('GET', '/api/v1/namespaces'), 'list||v1||namespaces|||');
  assert.equal(parse('DELETE', '/api/v1/namespaces/ns'), 'delete||v1|ns|namespaces|ns||');
  assert.equal(parse('PUT', '/api/v1/namespaces/ns/finalize'), 'update||v1|ns|namespaces|ns|finalize|');
});

test('a watch is a list that stays open', () => {
  assert.equal(parse('GET', '/api/v1/pods', 'watch=true').split('|')[0], 'watch');
  assert.equal(parse('GET', '/api/v1/pods', 'watch=1').split('|')[0], 'watch');
  assert.equal(parse('GET', '/api/v1/pods', 'watch=false').split('|')[0], 'list');
});

test('names are decoded once', () => {
  assert.equal(
    parse('GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles/system%3Anode').split('|')[5],
    'system:node',
  );
});

test('discovery, health and OpenAPI are no resources', () => {
  for (const path of ['/', '/api', '/api/v1', '/apis', '/apis/apps', '/apis/apps/v1', '/version', '/openapi/v3/api/v1'])
    assert.equal(parseRequest('GET', path, new URLSearchParams()).type, 'other');
});
