// Access decisions: roles and bindings, nodes, the bootstrap roles, impersonation and the review kinds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type {
  ClusterRole,
  ClusterRoleBinding,
  Pod,
  PolicyRule,
  Role,
  RoleBinding,
  Subject,
  SubjectAccessReview,
} from '../../k8s/types.generated.ts';
import { type Attributes, authorize, forbiddenMessage, type PolicySource, ruleAllows } from './authorize.ts';
import { clusterRoleBindings, clusterRoles } from './bootstrap.ts';
import { impersonate } from './impersonate.ts';
import { answerSelfSubjectAccessReview, answerSelfSubjectRulesReview, answerSubjectAccessReview } from './reviews.ts';
import { group, type User } from './user.ts';

const rbac = 'rbac.authorization.k8s.io';

interface World {
  clusterRoles?: readonly ClusterRole[];
  clusterRoleBindings?: readonly ClusterRoleBinding[];
  roles?: readonly Role[];
  roleBindings?: readonly RoleBinding[];
  pods?: readonly Pod[];
}

const policyOf = (world: World): PolicySource => ({
  clusterRole: (name) => world.clusterRoles?.find((role) => role.metadata.name === name),
  clusterRoles: () => world.clusterRoles ?? [],
  role: (namespace, name) =>
    world.roles?.find((role) => role.metadata.name === name && role.metadata.namespace === namespace),
  clusterRoleBindings: () => world.clusterRoleBindings ?? [],
  roleBindings: (namespace) => world.roleBindings?.filter((one) => one.metadata.namespace === namespace) ?? [],
  podsOnNode: (node) => world.pods?.filter((pod) => pod.spec?.nodeName === node) ?? [],
  pod: (namespace, name) =>
    world.pods?.find((pod) => pod.metadata.name === name && pod.metadata.namespace === namespace),
});

const bootstrap = policyOf({ clusterRoles, clusterRoleBindings });
const user = (name: string, ...groups: string[]): User => ({ name, groups: [...groups, group.authenticated] });
const may = (who: User, attributes: Attributes, policy = bootstrap): boolean =>
  authorize(who, attributes, policy).allowed;
const getPods: Attributes = { verb: 'get', group: '', resource: 'pods', name: 'web', namespace: 'default' };

const clusterRole = (name: string, rules: PolicyRule[]): ClusterRole => ({
  apiVersion: `${rbac}/v1`,
  kind: 'ClusterRole',
  metadata: { name },
  rules,
});
const roleBinding = (namespace: string, role: string, subjects: Subject[], kind = 'ClusterRole'): RoleBinding => ({
  apiVersion: `${rbac}/v1`,
  kind: 'RoleBinding',
  metadata: { name: 'b', namespace },
  roleRef: { apiGroup: rbac, kind, name: role },
  subjects,
});

test('nobody may do anything without a binding, and system:masters may do everything', () => {
  assert.deepEqual(authorize(user('jane'), getPods, policyOf({})), { allowed: false, reason: '' });
  assert.ok(may(user('x', group.masters), getPods, policyOf({})));
  assert.ok(may(user('x', group.masters), { verb: 'get', path: '/metrics' }, policyOf({})));
});

test('a RoleBinding to a ClusterRole holds in its own namespace only', () => {
  const policy = policyOf({
    clusterRoles,
    roleBindings: [roleBinding('default', 'view', [{ kind: 'User', name: 'jane' }])],
  });
  assert.equal(
    authorize(user('jane'), getPods, policy).reason,
    'RBAC: allowed by RoleBinding "b/default" of ClusterRole "view" to User "jane"',
  );
  assert.equal(may(user('jane'), { ...getPods, namespace: 'other' }, policy), false);
  assert.equal(may(user('jane'), { verb: 'list', group: '', resource: 'pods' }, policy), false);
  assert.equal(may(user('jane'), { ...getPods, resource: 'secrets' }, policy), false);
  assert.equal(may(user('joe'), getPods, policy), false);
});

test('a ServiceAccount subject without namespace is one of the binding, and groups of ServiceAccounts are groups', () => {
  const policy = policyOf({
    clusterRoles,
    roleBindings: [roleBinding('a', 'edit', [{ kind: 'ServiceAccount', name: 'ci' }])],
  });
  const attributes = { ...getPods, verb: 'create', namespace: 'a' };
  assert.ok(may(user('system:serviceaccount:a:ci'), attributes, policy));
  assert.equal(may(user('system:serviceaccount:b:ci'), attributes, policy), false);
});

test('rules match verbs, groups, resources, subresources, names and paths as upstream does', () => {
  const rule = { verbs: ['get'], apiGroups: [''], resources: ['pods', '*/scale'] };
  assert.ok(ruleAllows(rule, getPods));
  assert.equal(ruleAllows(rule, { ...getPods, subresource: 'log' }), false);
  assert.ok(ruleAllows(rule, { ...getPods, resource: 'things', subresource: 'scale' }));
  assert.equal(ruleAllows(rule, { ...getPods, group: 'apps' }), false);
  const named = { ...rule, resourceNames: ['web'] };
  assert.ok(ruleAllows(named, getPods));
  assert.equal(ruleAllows(named, { ...getPods, name: undefined }), false);
  const paths = { verbs: ['get'], nonResourceURLs: ['/healthz', '/apis/*'] };
  assert.ok(ruleAllows(paths, { verb: 'get', path: '/apis/apps' }));
  assert.equal(ruleAllows(paths, { verb: 'get', path: '/healthz/etcd' }), false);
  assert.equal(ruleAllows(paths, getPods), false);
});

test('roles labelled for aggregation extend admin, edit and view', () => {
  const extra: ClusterRole = {
    ...clusterRole('crontab-view', [{ verbs: ['get'], apiGroups: ['example.com'], resources: ['crontabs'] }]),
    metadata: { name: 'crontab-view', labels: { [`${rbac}/aggregate-to-view`]: 'true' } },
  };
  const policy = policyOf({
    clusterRoles: [...clusterRoles, extra],
    roleBindings: [roleBinding('default', 'admin', [{ kind: 'User', name: 'jane' }])],
  });
  const attributes = { verb: 'get', group: 'example.com', resource: 'crontabs', namespace: 'default' };
  assert.ok(may(user('jane'), attributes, policy));
});

test('the bootstrap roles let every authenticated user discover and ask, and no more', () => {
  const jane = user('jane');
  assert.ok(may(jane, { verb: 'get', path: '/apis/apps/v1' }));
  assert.ok(may(jane, { verb: 'create', group: 'authorization.k8s.io', resource: 'selfsubjectaccessreviews' }));
  assert.equal(may(jane, getPods), false);
  assert.ok(may({ name: 'system:anonymous', groups: [group.unauthenticated] }, { verb: 'get', path: '/version' }));
});

test('the bootstrap identities may do their work', () => {
  const dns = user('system:serviceaccount:kube-system:kube-dns');
  assert.ok(may(dns, { verb: 'watch', group: 'discovery.k8s.io', resource: 'endpointslices' }));
  assert.equal(may(dns, { verb: 'list', group: '', resource: 'secrets' }), false);
  const corefile = { group: '', resource: 'configmaps', namespace: 'kube-system' };
  assert.ok(may(dns, { ...corefile, verb: 'watch', name: 'coredns' }));
  assert.equal(may(dns, { ...corefile, verb: 'get', name: 'weft-config' }), false);
  const scheduler = user('system:kube-scheduler');
  assert.ok(may(scheduler, { ...getPods, verb: 'create', subresource: 'binding' }));
  const controllers = user('system:kube-controller-manager');
  assert.ok(
    may(controllers, { verb: 'create', group: 'discovery.k8s.io', resource: 'endpointslices', namespace: 'a' }),
  );
  assert.ok(may(controllers, { verb: 'delete', group: 'example.com', resource: 'crontabs', namespace: 'a' }));
});

const node = user('system:node:one', group.nodes);
const pod = (name: string, nodeName: string, secret: string): Pod => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name, namespace: 'default' },
  spec: {
    nodeName,
    serviceAccountName: 'app',
    containers: [],
    volumes: [{ name: 'v', secret: { secretName: secret } }],
  },
});
const twoNodes = policyOf({
  clusterRoles,
  clusterRoleBindings,
  pods: [pod('web', 'one', 's1'), pod('db', 'two', 's2')],
});

test('a node writes its own Node, Lease and pods, and not those of others', () => {
  const nodeStatus = { verb: 'patch', group: '', resource: 'nodes', subresource: 'status' };
  assert.ok(may(node, { ...nodeStatus, name: 'one' }, twoNodes));
  assert.match(
    authorize(node, { ...nodeStatus, name: 'two' }, twoNodes).reason,
    /node "one" is not allowed to modify node "two"/,
  );
  const lease = { verb: 'update', group: 'coordination.k8s.io', resource: 'leases', namespace: 'kube-node-lease' };
  assert.ok(may(node, { ...lease, name: 'one' }, twoNodes));
  assert.equal(may(node, { ...lease, name: 'two' }, twoNodes), false);
  const status = { verb: 'patch', group: '', resource: 'pods', subresource: 'status', namespace: 'default' };
  assert.ok(may(node, { ...status, name: 'web' }, twoNodes));
  assert.equal(may(node, { ...status, name: 'db' }, twoNodes), false);
  assert.ok(may(node, { ...status, name: 'gone' }, twoNodes));
  assert.ok(may(node, { verb: 'watch', group: '', resource: 'services' }, twoNodes));
  assert.equal(
    may(node, { verb: 'create', group: '', resource: 'pods', subresource: 'exec', namespace: 'a' }, twoNodes),
    false,
  );
});

test("every node reads the network's settings, and with them no other ConfigMap or Secret", () => {
  for (const [resource, name] of [
    ['configmaps', 'weft-config'],
    ['configmaps', 'weft-bgp'],
    ['secrets', 'weft-bgp'],
  ] as const) {
    const watching = { verb: 'watch', group: '', resource, namespace: 'kube-system' };
    assert.ok(may(node, { ...watching, name }, twoNodes));
    assert.equal(may(node, { ...watching, name: 'other' }, twoNodes), false);
    assert.equal(may(node, watching, twoNodes), false);
    assert.equal(may(node, { ...watching, verb: 'update', name }, twoNodes), false);
  }
});

test('a node reads Secrets and makes tokens for the pods that run on it', () => {
  const secret = { verb: 'get', group: '', resource: 'secrets', namespace: 'default' };
  assert.ok(may(node, { ...secret, name: 's1' }, twoNodes));
  assert.equal(may(node, { ...secret, name: 's2' }, twoNodes), false);
  assert.equal(may(node, { verb: 'list', group: '', resource: 'secrets' }, twoNodes), false);
  const token = { verb: 'create', group: '', resource: 'serviceaccounts', subresource: 'token', namespace: 'default' };
  assert.ok(may(node, { ...token, name: 'app' }, twoNodes));
  assert.equal(may(node, { ...token, name: 'default' }, twoNodes), false);
});

test('a refusal is worded as Kubernetes words it', () => {
  assert.equal(
    forbiddenMessage(user('jane'), { ...getPods, subresource: 'log' }),
    'pods "web" is forbidden: User "jane" cannot get resource "pods/log" in API group "" in the namespace "default"',
  );
  assert.equal(
    forbiddenMessage(user('jane'), { verb: 'list', group: 'apps', resource: 'deployments' }),
    'deployments.apps is forbidden: User "jane" cannot list resource "deployments" in API group "apps" at the cluster scope',
  );
});

test('impersonation needs the right to it, for the user and for each group', () => {
  const admin = user('admin', group.masters);
  assert.deepEqual(impersonate(admin, { 'impersonate-user': 'jane', 'impersonate-group': 'dev, ops' }, bootstrap), {
    user: { name: 'jane', groups: ['dev', 'ops', group.authenticated], extra: {} },
  });
  assert.deepEqual(impersonate(admin, { 'impersonate-user': 'system:serviceaccount:a:ci' }, bootstrap), {
    user: {
      name: 'system:serviceaccount:a:ci',
      groups: ['system:serviceaccounts', 'system:serviceaccounts:a', group.authenticated],
      extra: {},
    },
  });
  const refused = impersonate(user('joe'), { 'impersonate-user': 'jane' }, bootstrap);
  assert.match(
    'forbidden' in refused ? refused.forbidden : '',
    /users "jane" is forbidden: User "joe" cannot impersonate/,
  );
  assert.ok('invalid' in impersonate(admin, { 'impersonate-group': 'dev' }, bootstrap));
});

test('the reviews answer as the evaluator decides', () => {
  const spec = { resourceAttributes: { verb: 'get', resource: 'pods', namespace: 'default' } };
  const self = { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', metadata: {}, spec } as const;
  assert.equal(answerSelfSubjectAccessReview(self, user('jane'), bootstrap).status?.allowed, false);
  assert.equal(answerSelfSubjectAccessReview(self, user('x', group.masters), bootstrap).status?.allowed, true);
  const other: SubjectAccessReview = {
    apiVersion: 'authorization.k8s.io/v1',
    kind: 'SubjectAccessReview',
    metadata: {},
    spec: { user: 'x', groups: [group.masters], nonResourceAttributes: { verb: 'get', path: '/' } },
  };
  assert.equal(answerSubjectAccessReview(other, bootstrap).status?.allowed, true);
  const rules = answerSelfSubjectRulesReview(
    {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SelfSubjectRulesReview',
      metadata: {},
      spec: { namespace: 'default' },
    },
    user('jane'),
    bootstrap,
  );
  assert.ok(rules.status?.resourceRules.some((rule) => rule.resources?.includes('selfsubjectaccessreviews')));
});
