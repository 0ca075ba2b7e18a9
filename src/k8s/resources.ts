// The built-in kinds as values: what the client and its caches are asked for.
import type { KubeObject, Resource } from './object.ts';
import type * as api from './types.generated.ts';

const resource = <T extends KubeObject>(
  group: string,
  plural: string,
  kind: string,
  namespaced = true,
): Resource<T> => ({
  group,
  version: 'v1',
  plural,
  kind,
  namespaced,
});

export const namespaces = resource<api.Namespace>('', 'namespaces', 'Namespace', false);
export const nodes = resource<api.Node>('', 'nodes', 'Node', false);
export const pods = resource<api.Pod>('', 'pods', 'Pod');
export const services = resource<api.Service>('', 'services', 'Service');
export const endpoints = resource<api.Endpoints>('', 'endpoints', 'Endpoints');
export const configMaps = resource<api.ConfigMap>('', 'configmaps', 'ConfigMap');
export const secrets = resource<api.Secret>('', 'secrets', 'Secret');
export const serviceAccounts = resource<api.ServiceAccount>('', 'serviceaccounts', 'ServiceAccount');
export const events = resource<api.Event>('', 'events', 'Event');
export const endpointSlices = resource<api.EndpointSlice>('discovery.k8s.io', 'endpointslices', 'EndpointSlice');
export const leases = resource<api.Lease>('coordination.k8s.io', 'leases', 'Lease');
export const deployments = resource<api.Deployment>('apps', 'deployments', 'Deployment');
export const replicaSets = resource<api.ReplicaSet>('apps', 'replicasets', 'ReplicaSet');
export const daemonSets = resource<api.DaemonSet>('apps', 'daemonsets', 'DaemonSet');
export const statefulSets = resource<api.StatefulSet>('apps', 'statefulsets', 'StatefulSet');
export const controllerRevisions = resource<api.ControllerRevision>(
  'apps',
  'controllerrevisions',
  'ControllerRevision',
);
export const jobs = resource<api.Job>('batch', 'jobs', 'Job');
export const ingresses = resource<api.Ingress>('networking.k8s.io', 'ingresses', 'Ingress');
export const ingressClasses = resource<api.IngressClass>('networking.k8s.io', 'ingressclasses', 'IngressClass', false);
export const networkPolicies = resource<api.NetworkPolicy>('networking.k8s.io', 'networkpolicies', 'NetworkPolicy');
export const serviceCidrs = resource<api.ServiceCIDR>('networking.k8s.io', 'servicecidrs', 'ServiceCIDR', false);
export const ipAddresses = resource<api.IPAddress>('networking.k8s.io', 'ipaddresses', 'IPAddress', false);
export const roles = resource<api.Role>('rbac.authorization.k8s.io', 'roles', 'Role');
export const roleBindings = resource<api.RoleBinding>('rbac.authorization.k8s.io', 'rolebindings', 'RoleBinding');
export const clusterRoles = resource<api.ClusterRole>(
  'rbac.authorization.k8s.io',
  'clusterroles',
  'ClusterRole',
  false,
);
export const clusterRoleBindings = resource<api.ClusterRoleBinding>(
  'rbac.authorization.k8s.io',
  'clusterrolebindings',
  'ClusterRoleBinding',
  false,
);
export const customResourceDefinitions = resource<api.CustomResourceDefinition>(
  'apiextensions.k8s.io',
  'customresourcedefinitions',
  'CustomResourceDefinition',
  false,
);
