// What the API server fills in where an object leaves it out.
import {
  defaultEndpointSlice,
  defaultEndpoints,
  defaultIngress,
  defaultIngressClass,
  defaultNetworkPolicy,
  defaultService,
} from './defaults/network.ts';
import { defaultPod, defaultPodTemplate } from './defaults/pod.ts';
import { child, part, parts, preset, presetZero } from './defaults/set.ts';
import {
  defaultDaemonSet,
  defaultDeployment,
  defaultJob,
  defaultReplicaSet,
  defaultStatefulSet,
} from './defaults/workloads.ts';
import type { Fields, KindSchema, SchemaNode } from './types.ts';
import { isFields } from './types.ts';

const byKind: Readonly<Record<string, (object: Fields) => void>> = {
  'v1/Pod': defaultPod,
  'v1/PodTemplate': defaultPodTemplate,
  'v1/Service': defaultService,
  'v1/Endpoints': defaultEndpoints,
  'v1/Secret': defaultSecret,
  'v1/Namespace': defaultNamespace,
  'v1/Node': defaultNode,
  'apps/v1/Deployment': defaultDeployment,
  'apps/v1/ReplicaSet': defaultReplicaSet,
  'apps/v1/DaemonSet': defaultDaemonSet,
  'apps/v1/StatefulSet': defaultStatefulSet,
  'batch/v1/Job': defaultJob,
  'discovery.k8s.io/v1/EndpointSlice': defaultEndpointSlice,
  'networking.k8s.io/v1/Ingress': defaultIngress,
  'networking.k8s.io/v1/IngressClass': defaultIngressClass,
  'networking.k8s.io/v1/NetworkPolicy': defaultNetworkPolicy,
  'rbac.authorization.k8s.io/v1/RoleBinding': defaultRoleBinding,
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': defaultRoleBinding,
  'authentication.k8s.io/v1/TokenRequest': (request) => preset(child(request, 'spec'), 'expirationSeconds', 3600),
  'apiextensions.k8s.io/v1/CustomResourceDefinition': defaultCustomResourceDefinition,
};

/**
 * Fills in, in place, what upstream's SetDefaults functions fill in for a built-in kind, given as `v1/Pod` or
 * `apps/v1/Deployment`; other kinds stay as they are. For creates, updates and patches alike, after the object's
 * fields were checked. A Job's selector is made once metadata.uid is there.
 */
export function applyDefaults(gvk: string, object: Fields): void {
  byKind[gvk]?.(object);
}

function defaultSecret(secret: Fields): void {
  presetZero(secret, 'type', 'Opaque');
  const text = part(secret, 'stringData');
  if (!text) return;
  const data = child(secret, 'data');
  for (const [key, value] of Object.entries(text)) data[key] = Buffer.from(String(value), 'utf8').toString('base64');
  delete secret.stringData;
}

function defaultNamespace(namespace: Fields): void {
  const metadata = child(namespace, 'metadata');
  if (typeof metadata.name === 'string' && metadata.name !== '') {
    child(metadata, 'labels')['kubernetes.io/metadata.name'] = metadata.name;
  }
  presetZero(child(namespace, 'status'), 'phase', 'Active');
}

function defaultNode(node: Fields): void {
  const status = part(node, 'status');
  if (status?.capacity !== undefined) preset(status, 'allocatable', structuredClone(status.capacity));
}

const rbacGroup = 'rbac.authorization.k8s.io';

function defaultRoleBinding(binding: Fields): void {
  presetZero(child(binding, 'roleRef'), 'apiGroup', rbacGroup);
  for (const subject of parts(binding, 'subjects')) {
    if (subject.kind === 'User' || subject.kind === 'Group') presetZero(subject, 'apiGroup', rbacGroup);
  }
}

function defaultCustomResourceDefinition(definition: Fields): void {
  const spec = child(definition, 'spec');
  const names = child(spec, 'names');
  const kind = typeof names.kind === 'string' ? names.kind : '';
  presetZero(names, 'singular', kind.toLowerCase());
  presetZero(names, 'listKind', kind === '' ? '' : `${kind}List`);
  preset(spec, 'conversion', { strategy: 'None' });
}

/** Fills in, in place, the defaults that a custom resource's schema names. */
export function applyCrdDefaults(schema: KindSchema, object: Fields): void {
  if (!schema.custom) return;
  fillFields(schema.root, object);
}

function fill(node: SchemaNode, value: unknown): void {
  if (!node.custom) return;
  if (isFields(value)) {
    fillFields(node, value);
    if (node.values) for (const key in value) value[key] = filled(node.values, value[key]);
  } else if (Array.isArray(value) && node.items) {
    const items = node.items;
    value.forEach((item, index) => {
      value[index] = filled(items, item);
    });
  }
}

function fillFields(node: SchemaNode, object: Fields): void {
  for (const [name, field] of node.properties) {
    const value = filled(field, object[name]);
    if (value !== undefined) object[name] = value;
  }
}

/** The value with its defaults; a null that may not be there gives way to the default. */
function filled(node: SchemaNode, value: unknown): unknown {
  let given = value;
  if (node.default !== undefined && (given === undefined || (given === null && !node.nullable))) {
    given = structuredClone(node.default);
  }
  fill(node, given);
  return given;
}
