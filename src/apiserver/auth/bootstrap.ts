// The roles and bindings that every cluster starts with, by Kubernetes' own names and, for the kinds that Weft serves,
// with Kubernetes' own rules (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go). The API server creates those
// that are missing at every start.
import type { ClusterRole, ClusterRoleBinding, PolicyRule, Subject } from '../../k8s/types.generated.ts';
import { group } from './user.ts';

const bootstrapping = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
const autoupdate = { 'rbac.authorization.kubernetes.io/autoupdate': 'true' };
const rbac = 'rbac.authorization.k8s.io';

const reading = ['get', 'list', 'watch'];
const writing = ['create', 'delete', 'deletecollection', 'patch', 'update'];
const all = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'];
const events = rule(['', 'events.k8s.io'], ['events'], ['create', 'patch', 'update']);

function rule(apiGroups: string[], resources: string[], verbs: string[], resourceNames?: string[]): PolicyRule {
  return { apiGroups, resources, verbs, ...(resourceNames && { resourceNames }) };
}

function role(name: string, rules: PolicyRule[], labels: Record<string, string> = {}): ClusterRole {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRole',
    metadata: { name, labels: { ...bootstrapping, ...labels }, annotations: autoupdate },
    rules,
  };
}

/** A role for users: it has its own rules and those of every role labelled for it (as operators label theirs). */
function userRole(name: string, rules: PolicyRule[], ...aggregatedFrom: string[]): ClusterRole {
  return {
    ...role(name, rules),
    aggregationRule: {
      clusterRoleSelectors: aggregatedFrom.map((one) => ({ matchLabels: { [`${rbac}/aggregate-to-${one}`]: 'true' } })),
    },
  };
}

function binding(roleName: string, subjects: Subject[], name = roleName): ClusterRoleBinding {
  return {
    apiVersion: `${rbac}/v1`,
    kind: 'ClusterRoleBinding',
    metadata: { name, labels: bootstrapping, annotations: autoupdate },
    roleRef: { apiGroup: rbac, kind: 'ClusterRole', name: roleName },
    subjects,
  };
}

const toGroup = (name: string): Subject => ({ kind: 'Group', apiGroup: rbac, name });
const toUser = (name: string): Subject => ({ kind: 'User', apiGroup: rbac, name });

/** What may be read in a namespace by anyone trusted with it: all but Secrets. */
const view: PolicyRule[] = [
  rule(
    [''],
    [
      'configmaps',
      'endpoints',
      'events',
      'limitranges',
      'namespaces',
      'namespaces/status',
      'pods',
      'pods/log',
      'pods/status',
      'resourcequotas',
      'serviceaccounts',
      'services',
      'services/status',
    ],
    reading,
  ),
  rule(['discovery.k8s.io'], ['endpointslices'], reading),
  rule(
    ['apps'],
    [
      'controllerrevisions',
      ...['daemonsets', 'deployments', 'replicasets', 'statefulsets'].flatMap((one) => [one, `${one}/status`]),
      'deployments/scale',
      'replicasets/scale',
      'statefulsets/scale',
    ],
    reading,
  ),
  rule(['batch'], ['jobs', 'jobs/status'], reading),
  rule(['networking.k8s.io'], ['ingresses', 'ingresses/status', 'networkpolicies'], reading),
];

/** What an editor may do beyond viewing. */
const edit: PolicyRule[] = [
  rule([''], ['pods/attach', 'pods/exec', 'pods/portforward', 'pods/proxy', 'services/proxy'], ['get', ...writing]),
  rule([''], ['secrets'], all),
  rule([''], ['serviceaccounts'], ['impersonate', ...writing]),
  rule([''], ['serviceaccounts/token', 'pods/eviction'], ['create']),
  rule([''], ['pods', 'configmaps', 'services', 'endpoints'], writing),
  rule(['', 'events.k8s.io'], ['events'], writing),
  rule(
    ['apps'],
    [
      'daemonsets',
      'deployments',
      'deployments/rollback',
      'deployments/scale',
      'replicasets',
      'replicasets/scale',
      'statefulsets',
      'statefulsets/scale',
    ],
    writing,
  ),
  rule(['batch'], ['jobs'], writing),
  rule(['networking.k8s.io'], ['ingresses', 'networkpolicies'], writing),
  rule(['coordination.k8s.io'], ['leases'], all),
];

const admin: PolicyRule[] = [
  rule(['authorization.k8s.io'], ['localsubjectaccessreviews'], ['create']),
  rule([rbac], ['roles', 'rolebindings'], all),
];

/** The paths that tell a client what the server offers. */
const discovery: PolicyRule[] = [
  {
    verbs: ['get'],
    nonResourceURLs: ['/api', '/api/*', '/apis', '/apis/*', '/healthz', '/livez', '/openapi', '/openapi/*', '/readyz'],
  },
  { verbs: ['get'], nonResourceURLs: ['/version', '/version/'] },
];

const publicInfo: PolicyRule[] = [
  { verbs: ['get'], nonResourceURLs: ['/healthz', '/livez', '/readyz', '/version', '/version/'] },
];

const basicUser: PolicyRule[] = [
  rule(['authorization.k8s.io'], ['selfsubjectaccessreviews', 'selfsubjectrulesreviews'], ['create']),
  rule(['authentication.k8s.io'], ['selfsubjectreviews'], ['create']),
];

const scheduler: PolicyRule[] = [
  events,
  rule(['coordination.k8s.io'], ['leases'], [...reading, 'create', 'update']),
  rule([''], ['nodes', 'namespaces', 'services'], reading),
  rule([''], ['pods'], ['delete', ...reading]),
  rule([''], ['bindings', 'pods/binding'], ['create']),
  rule([''], ['pods/status'], ['patch', 'update']),
  rule(['apps'], ['replicasets', 'statefulsets'], reading),
];

/**
 * All controllers run in one process under one identity, so this role is the sum of what Kubernetes gives them one by
 * one (system:controller:*). Garbage collection and namespace deletion reach every kind, custom ones too.
 */
const controllers: PolicyRule[] = [
  events,
  rule(['*'], ['*'], ['get', 'list', 'watch', 'delete', 'deletecollection', 'patch', 'update']),
  rule([''], ['pods', 'endpoints', 'serviceaccounts', 'configmaps', 'secrets'], ['create']),
  rule([''], ['serviceaccounts/token', 'pods/eviction'], ['create']),
  rule(['apps'], ['replicasets', 'controllerrevisions'], ['create']),
  rule(['batch'], ['jobs'], ['create']),
  rule(['discovery.k8s.io'], ['endpointslices'], ['create']),
  rule(['networking.k8s.io'], ['ipaddresses'], ['create']),
  rule(['coordination.k8s.io'], ['leases'], ['create']),
  { verbs: ['get'], nonResourceURLs: ['*'] },
];

const dns: PolicyRule[] = [
  rule([''], ['endpoints', 'services', 'pods', 'namespaces'], ['list', 'watch']),
  rule(['discovery.k8s.io'], ['endpointslices'], ['list', 'watch']),
  // The Corefile, and what is to be said of it.
  rule([''], ['configmaps'], reading, ['coredns']),
  rule([''], ['namespaces'], ['get'], ['kube-system']),
  events,
];

const proxy: PolicyRule[] = [
  rule([''], ['endpoints', 'services'], ['list', 'watch']),
  rule([''], ['nodes'], reading),
  rule(['discovery.k8s.io'], ['endpointslices'], ['list', 'watch']),
  rule(['networking.k8s.io'], ['servicecidrs'], ['list', 'watch']),
  events,
];

export const clusterRoles: readonly ClusterRole[] = [
  role('cluster-admin', [rule(['*'], ['*'], ['*']), { verbs: ['*'], nonResourceURLs: ['*'] }]),
  userRole('admin', [...view, ...edit, ...admin], 'admin', 'edit', 'view'),
  userRole('edit', [...view, ...edit], 'edit', 'view'),
  userRole('view', view, 'view'),
  role('system:basic-user', basicUser),
  role('system:discovery', discovery),
  role('system:public-info-viewer', publicInfo),
  role('system:kube-scheduler', scheduler),
  role('system:kube-controller-manager', controllers),
  // Nodes get their rights from the node authorizer; Kubernetes keeps a role of this name, bound to nobody.
  role('system:node', [
    rule(['', 'discovery.k8s.io'], ['nodes', 'pods', 'services', 'endpoints', 'endpointslices'], reading),
    rule([''], ['nodes', 'nodes/status', 'pods/status'], ['create', 'patch', 'update']),
    rule(['coordination.k8s.io'], ['leases'], ['create', 'get', 'patch', 'update']),
    events,
  ]),
  role('system:node-proxier', proxy),
  role('system:kube-dns', dns),
  // The settings of the network, which the agent of every node follows.
  role('weft:network-config', [
    rule([''], ['configmaps'], reading, ['weft-config', 'weft-bgp']),
    rule([''], ['secrets'], reading, ['weft-bgp']),
  ]),
  role('system:auth-delegator', [
    rule(['authentication.k8s.io'], ['tokenreviews'], ['create']),
    rule(['authorization.k8s.io'], ['subjectaccessreviews'], ['create']),
  ]),
];

export const clusterRoleBindings: readonly ClusterRoleBinding[] = [
  binding('cluster-admin', [toGroup(group.masters)]),
  binding('system:basic-user', [toGroup(group.authenticated)]),
  binding('system:discovery', [toGroup(group.authenticated)]),
  binding('system:public-info-viewer', [toGroup(group.authenticated), toGroup(group.unauthenticated)]),
  binding('system:kube-scheduler', [toUser('system:kube-scheduler')]),
  binding('system:kube-controller-manager', [toUser('system:kube-controller-manager')]),
  binding('system:node', []),
  binding('system:node-proxier', [toUser('system:kube-proxy')]),
  binding('weft:network-config', [toGroup(group.nodes)]),
  binding('system:kube-dns', [{ kind: 'ServiceAccount', name: 'kube-dns', namespace: 'kube-system' }]),
];
