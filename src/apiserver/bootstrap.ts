// What every cluster has from its first start: namespaces, access rights, the `kubernetes` Service.

import { conditionOf } from '../k8s/conditions.ts';
import type { ClusterRole, ClusterRoleBinding, ServiceCIDR } from '../k8s/types.generated.ts';
import { addressAt, type Cidr, familyOf, type Ip } from '../net/address.ts';
import { defaultServiceCidr } from './admission/service-addresses.ts';
import { type Api, timestamp } from './api.ts';
import { clusterRoleBindings, clusterRoles } from './auth/bootstrap.ts';
import { type Kind, shelves } from './kinds.ts';
import { type ApiObject, isFields, sameJson, typed } from './object.ts';
import { createObject, updateObject } from './write.ts';

export interface Advertised {
  readonly serviceCidrs: readonly Cidr[];
  readonly addresses: readonly Ip[];
  readonly port: number;
}

const options = { dryRun: false, manager: 'kube-apiserver' };

/** Creates what is missing and corrects where the API server is reached; what users have changed otherwise stays. */
export function bootstrap(api: Api, advertised: Advertised): void {
  for (const name of ['default', 'kube-system', 'kube-public', 'kube-node-lease'])
    ensure(api, '', 'namespaces', '', { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  for (const role of clusterRoles) ensure(api, rbac, 'clusterroles', '', copy(role));
  for (const binding of clusterRoleBindings) ensure(api, rbac, 'clusterrolebindings', '', copy(binding));
  keepDefaultServiceCidr(api, advertised.serviceCidrs);
  publishApiServer(api, advertised);
}

/**
 * The ServiceCIDR `kubernetes` with the ranges that the server was started with. It is made anew where someone deletes
 * it, and gets the second family where the server has got one; any other difference is left to users (kubernetes,
 * pkg/controlplane/controller/defaultservicecidr).
 */
function keepDefaultServiceCidr(api: Api, ranges: readonly Cidr[]): void {
  ensureDefaultServiceCidr(api, ranges);
  api.storage.subscribe(shelves.serviceCidrs, ({ object, deleted }) => {
    // Not before all listeners know of the deletion.
    if (deleted && object.metadata.name === defaultServiceCidr)
      queueMicrotask(() => ensureDefaultServiceCidr(api, ranges));
  });
}

function ensureDefaultServiceCidr(api: Api, ranges: readonly Cidr[]): void {
  const name = defaultServiceCidr;
  ensure(api, networking, 'servicecidrs', '', {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name },
    spec: { cidrs: [...ranges] },
  });
  const kind = kindOf(api, networking, 'servicecidrs');
  const stored = api.storage.get(kind.storage, '', name);
  if (stored === undefined || stored.metadata.deletionTimestamp !== undefined) return;
  const { spec, status } = typed<ServiceCIDR>(stored);
  const [first, ...others] = spec.cidrs ?? [];
  if (others.length === 0 && ranges.length === 2 && first === ranges[0]) {
    const change = (old: ApiObject): ApiObject => ({ ...old, spec: { cidrs: [...ranges] } });
    updateObject(api, kind, '', name, { ...options, subresource: '', change });
  }
  if (conditionOf(status?.conditions, 'Ready') !== undefined) return;
  const ready = {
    type: 'Ready',
    status: 'True',
    reason: '',
    message: 'Kubernetes default Service CIDR is ready',
    lastTransitionTime: timestamp(api.now()),
  };
  const change = (old: ApiObject): ApiObject => ({ ...old, status: { conditions: [ready] } });
  updateObject(api, kind, '', name, { ...options, subresource: 'status', change });
}

const rbac = 'rbac.authorization.k8s.io';
const networking = 'networking.k8s.io';

const copy = (object: ClusterRole | ClusterRoleBinding): ApiObject => ({ ...structuredClone(object) });

function kindOf(api: Api, group: string, plural: string): Kind {
  const kind = api.registry.find(group, 'v1', plural);
  if (kind === undefined) throw new Error(`the registry has no ${plural}`);
  return kind;
}

function ensure(api: Api, group: string, plural: string, namespace: string, object: ApiObject): void {
  const kind = kindOf(api, group, plural);
  if (api.storage.get(kind.storage, namespace, object.metadata.name ?? '') !== undefined) return;
  createObject(api, kind, object, namespace, options);
}

/** As {@link ensure}, and sets the given fields where the stored object has others. */
function ensureFields(api: Api, group: string, plural: string, object: ApiObject): void {
  const kind = kindOf(api, group, plural);
  const { name = '', labels } = object.metadata;
  const namespace = 'default';
  if (api.storage.get(kind.storage, namespace, name) === undefined) {
    createObject(api, kind, object, namespace, options);
    return;
  }
  const { apiVersion: _, kind: __, metadata: ___, ...wanted } = object;
  const change = (old: ApiObject): ApiObject => {
    for (const [field, value] of Object.entries(wanted)) {
      const before = old[field];
      if (sameJson(value, before)) continue;
      old[field] = isFields(value) && isFields(before) ? { ...before, ...value } : value;
    }
    old.metadata.labels = { ...old.metadata.labels, ...labels };
    return old;
  };
  updateObject(api, kind, namespace, name, { ...options, subresource: '', change });
}

/** The `kubernetes` Service: the first address of the service range, and the API server behind it. */
function publishApiServer(api: Api, { serviceCidrs, addresses, port }: Advertised): void {
  const [range] = serviceCidrs;
  if (range === undefined) return;
  const family = familyOf(range);
  const ips = addresses.filter((address) => familyOf(address) === family);
  const labels = { component: 'apiserver', provider: 'kubernetes' };
  const clusterIP = addressAt(range, 1);
  const service: ApiObject = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', labels },
    spec: {
      type: 'ClusterIP',
      clusterIP,
      clusterIPs: [clusterIP],
      ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: port }],
    },
  };
  ensure(api, '', 'services', 'default', service);
  const mirror = { 'endpointslice.kubernetes.io/skip-mirror': 'true' };
  ensureFields(api, '', 'endpoints', {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'kubernetes', labels: mirror },
    subsets: [{ addresses: ips.map((ip) => ({ ip })), ports: [{ name: 'https', port, protocol: 'TCP' }] }],
  });
  ensureFields(api, 'discovery.k8s.io', 'endpointslices', {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: family,
    endpoints: ips.map((ip) => ({ addresses: [ip], conditions: { ready: true } })),
    ports: [{ name: 'https', port, protocol: 'TCP' }],
  });
}
