// Whether an object may be stored: the rules of each kind, and those for changing it.
import type { FieldError } from './errors.ts';
import type { Fields, KindSchema } from './types.ts';
import * as core from './validate/core.ts';
import { validateDefinition, validateDefinitionUpdate } from './validate/definition.ts';
import * as endpoints from './validate/endpoints.ts';
import { validateEphemeralContainers } from './validate/ephemeral.ts';
import { validateJob, validateJobUpdate } from './validate/job.ts';
import { validateValue } from './validate/json-schema.ts';
import { validateMeta } from './validate/meta.ts';
import * as network from './validate/network.ts';
import { validatePod, validatePodTemplate } from './validate/pod.ts';
import { validatePodUpdate } from './validate/pod-update.ts';
import * as rbac from './validate/rbac.ts';
import { at, Report } from './validate/report.ts';
import { validateService, validateServiceUpdate } from './validate/service.ts';
import * as ranges from './validate/service-cidr.ts';
import * as workload from './validate/workload.ts';

interface Rules {
  /** What every state of an object must meet. */
  readonly object?: (report: Report, object: Fields) => void;
  /** What a new state must meet in view of the old one. */
  readonly update?: (report: Report, object: Fields, old: Fields) => void;
  /** The spec of a stored object is not checked again: it cannot change but for what `update` looks at. */
  readonly fixed?: boolean;
}

const rules: Readonly<Record<string, Rules>> = {
  'v1/Pod': { object: validatePod, update: validatePodUpdate, fixed: true },
  'v1/PodTemplate': { object: (report, object) => validatePodTemplate(report, 'template', at(object, 'template')) },
  'v1/Service': { object: validateService, update: validateServiceUpdate },
  'v1/Endpoints': { object: endpoints.validateEndpoints },
  'v1/ConfigMap': { object: core.validateConfigMap, update: core.validateImmutable },
  'v1/Secret': { object: core.validateSecret, update: core.validateSecretUpdate },
  'v1/ServiceAccount': { object: core.validateServiceAccount },
  'v1/Node': { object: core.validateNode, update: core.validateNodeUpdate },
  'v1/Event': { object: core.validateEvent },
  'events.k8s.io/v1/Event': { object: core.validateEvent },
  'v1/Binding': { object: core.validateBinding },
  'autoscaling/v1/Scale': { object: core.validateScale },
  'coordination.k8s.io/v1/Lease': { object: core.validateLease },
  'apps/v1/Deployment': { object: workload.validateDeployment, update: workload.validateSelectorUpdate },
  'apps/v1/ReplicaSet': { object: workload.validateReplicaSet, update: workload.validateSelectorUpdate },
  'apps/v1/DaemonSet': { object: workload.validateDaemonSet, update: workload.validateSelectorUpdate },
  'apps/v1/StatefulSet': { object: workload.validateStatefulSet, update: workload.validateStatefulSetUpdate },
  'apps/v1/ControllerRevision': {
    object: core.validateControllerRevision,
    update: core.validateControllerRevisionUpdate,
  },
  'batch/v1/Job': { object: validateJob, update: validateJobUpdate },
  'discovery.k8s.io/v1/EndpointSlice': {
    object: endpoints.validateEndpointSlice,
    update: endpoints.validateEndpointSliceUpdate,
  },
  'networking.k8s.io/v1/Ingress': { object: network.validateIngress },
  'networking.k8s.io/v1/IngressClass': {
    object: network.validateIngressClass,
    update: network.validateIngressClassUpdate,
  },
  'networking.k8s.io/v1/IPAddress': { object: ranges.validateIpAddress, update: ranges.validateIpAddressUpdate },
  'networking.k8s.io/v1/NetworkPolicy': { object: network.validateNetworkPolicy },
  'networking.k8s.io/v1/ServiceCIDR': {
    object: ranges.validateServiceCidr,
    update: ranges.validateServiceCidrUpdate,
  },
  'rbac.authorization.k8s.io/v1/Role': { object: rbac.validateRole },
  'rbac.authorization.k8s.io/v1/ClusterRole': { object: rbac.validateClusterRole },
  'rbac.authorization.k8s.io/v1/RoleBinding': {
    object: rbac.validateRoleBinding,
    update: rbac.validateRoleRefUpdate,
  },
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': {
    object: rbac.validateClusterRoleBinding,
    update: rbac.validateRoleRefUpdate,
  },
  'apiextensions.k8s.io/v1/CustomResourceDefinition': { object: validateDefinition, update: validateDefinitionUpdate },
};

/**
 * What is wrong with a new object of a kind, given as `v1/Pod` or `apps/v1/Deployment`; of a custom kind only its
 * metadata is looked at. The object's fields were checked and its defaults are filled in.
 */
export function validateCreate(gvk: string, object: Fields): FieldError[] {
  const report = new Report();
  validateMeta(report, gvk, object);
  rules[gvk]?.object?.(report, object);
  return report.errors;
}

/** What is wrong with a new state of an object that is stored as `old`. */
export function validateUpdate(gvk: string, object: Fields, old: Fields): FieldError[] {
  const report = new Report();
  const kind = rules[gvk];
  validateMeta(report, gvk, object);
  kind?.update?.(report, object, old);
  if (kind?.fixed !== true) kind?.object?.(report, object);
  return report.errors;
}

/** What is wrong with a new status; kubelets and controllers write it, so only what selects and names is looked at. */
export function validateStatusUpdate(gvk: string, object: Fields, _old: Fields): FieldError[] {
  const report = new Report();
  validateMeta(report, gvk, object);
  return report.errors;
}

/** What is wrong with the ephemeral containers of a pod in view of those that it had. */
export function validateEphemeralUpdate(pod: Fields, old: Fields): FieldError[] {
  const report = new Report();
  validateEphemeralContainers(report, pod, old);
  return report.errors;
}

/** What is wrong with a custom resource in view of its schema. */
export function validateCrd(schema: KindSchema, object: Fields): FieldError[] {
  if (!schema.custom) return [];
  const report = new Report();
  validateValue(report, '', object, schema.custom);
  return report.errors;
}
