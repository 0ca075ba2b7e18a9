// What a kind does with an object between the request and the store: status apart from spec, defaults, admission,
// validation, generation (kubernetes, each kind's registry strategy).
import type { ObjectMeta } from '../k8s/types.generated.ts';
import { admitIngress } from './admission/ingress.ts';
import { checkNamespace } from './admission/namespace.ts';
import { admitPod, firstPodStatus } from './admission/pod.ts';
import { allocateService, prepareService } from './admission/service.ts';
import type { Api } from './api.ts';
import { admitDefinition } from './definitions.ts';
import { gvkOf, type Kind, shelves } from './kinds.ts';
import { type ApiObject, sameJson } from './object.ts';
import { applyCrdDefaults, applyDefaults } from './schema/defaults.ts';
import { type FieldError, invalid } from './schema/errors.ts';
import {
  validateCrd,
  validateCreate,
  validateEphemeralUpdate,
  validateStatusUpdate,
  validateUpdate,
} from './schema/validate.ts';

const hasStatus = (kind: Kind): boolean => kind.subresources.includes('status');

/** The first status of kinds whose required fields clients expect to be there. */
const firstStatus: Readonly<Record<string, () => Record<string, unknown>>> = {
  '/namespaces': () => ({ phase: 'Active' }),
  '/services': () => ({ loadBalancer: {} }),
  'apps/replicasets': () => ({ replicas: 0 }),
  'apps/statefulsets': () => ({ replicas: 0, availableReplicas: 0 }),
  'apps/daemonsets': () => ({
    currentNumberScheduled: 0,
    desiredNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 0,
  }),
  'networking.k8s.io/ingresses': () => ({ loadBalancer: {} }),
};

function resetStatus(kind: Kind, object: ApiObject): void {
  // A kubelet registers its Node together with the status.
  if (!hasStatus(kind) || kind.storage === shelves.nodes || kind.storage === shelves.pods) return;
  delete object.status;
  const first = firstStatus[kind.storage]?.() ?? (kind.custom === undefined ? {} : undefined);
  if (first !== undefined) object.status = first;
}

function applyKindDefaults(kind: Kind, object: ApiObject): void {
  if (kind.custom === undefined) applyDefaults(gvkOf(kind), object);
  else applyCrdDefaults(kind.schema(), object);
}

function refuse(kind: Kind, object: ApiObject, errors: readonly FieldError[]): void {
  if (errors.length > 0)
    throw invalid(
      { group: kind.group, kind: kind.kind },
      object.metadata.name ?? object.metadata.generateName ?? '',
      errors,
    );
}

/** Everything between the decoded body of a create and the store. Changes the object; throws what is wrong with it. */
export function prepareCreate(api: Api, kind: Kind, object: ApiObject): void {
  resetStatus(kind, object);
  if (kind.storage === shelves.namespaces) object.spec = { ...object.spec, finalizers: ['kubernetes'] };
  checkNamespace(api.storage, kind, object);
  if (kind.storage === shelves.definitions) admitDefinition(api.storage, object, undefined, api.now());
  applyKindDefaults(kind, object);
  if (kind.storage === shelves.pods) admitPod(object, api.storage);
  if (kind.storage === shelves.services) prepareService(object, undefined, api.addresses);
  if (kind.plural === 'ingresses' && kind.group === 'networking.k8s.io') admitIngress(object, api.storage);
  if (kind.storage === shelves.pods) firstPodStatus(object);
  const errors = validateCreate(gvkOf(kind), object);
  refuse(kind, object, kind.custom === undefined ? errors : [...errors, ...validateCrd(kind.schema(), object)]);
  if (kind.storage === shelves.services) allocateService(object, undefined, api.addresses);
  if (kind.generation) object.metadata.generation = 1;
}

/** As {@link prepareCreate}, for the replacement of `old` by way of a subresource (empty: the object itself). */
export function prepareUpdate(api: Api, kind: Kind, object: ApiObject, old: ApiObject, subresource: string): void {
  if (subresource === 'status') {
    keepDesired(kind, object, old);
    const errors =
      kind.custom === undefined ? validateStatusUpdate(gvkOf(kind), object, old) : validateCrd(kind.schema(), object);
    refuse(kind, object, errors);
    return;
  }
  // The scheduler's decision is no change of what is wanted, and touches what users may not.
  if (subresource === 'binding') return;
  if (subresource === 'ephemeralcontainers') {
    keepAllBut(object, old, 'ephemeralContainers');
    applyKindDefaults(kind, object);
    refuse(kind, object, validateEphemeralUpdate(object, old));
    return;
  }
  if (subresource === 'finalize') {
    const { spec } = object;
    object.spec = { ...old.spec, finalizers: spec?.finalizers ?? [] };
    object.status = old.status ?? {};
    return;
  }
  if (hasStatus(kind)) {
    if (old.status === undefined) delete object.status;
    else object.status = old.status;
  }
  if (kind.storage === shelves.namespaces) object.spec = old.spec ?? {};
  if (kind.storage === shelves.definitions) admitDefinition(api.storage, object, old, api.now());
  applyKindDefaults(kind, object);
  if (kind.storage === shelves.services) prepareService(object, old, api.addresses);
  const errors = validateUpdate(gvkOf(kind), object, old);
  refuse(kind, object, kind.custom === undefined ? errors : [...errors, ...validateCrd(kind.schema(), object)]);
  if (kind.storage === shelves.services) allocateService(object, old, api.addresses);
  if (kind.generation && !sameJson(desired(kind, object), desired(kind, old)))
    object.metadata.generation = (old.metadata.generation ?? 0) + 1;
}

/** What counts for the generation: all but the metadata and, where it is apart, the status. */
function desired(kind: Kind, object: ApiObject): unknown {
  const { metadata: _, status, ...rest } = object;
  return hasStatus(kind) || kind.custom === undefined ? rest : { ...rest, status };
}

/** A write of the status leaves everything else as it was; built-in kinds let labels and annotations through. */
function keepDesired(kind: Kind, object: ApiObject, old: ApiObject): void {
  const { status, metadata } = object;
  for (const field of Object.keys(object)) if (!(field in old)) delete object[field];
  Object.assign(object, old);
  if (status === undefined) delete object.status;
  else object.status = status;
  if (kind.custom !== undefined) {
    object.metadata = { ...old.metadata };
    return;
  }
  object.metadata = { ...metadata, ...keptOnStatus(old) };
}

/** Takes one field of the spec from the new object, and all else from the old one. */
function keepAllBut(object: ApiObject, old: ApiObject, field: string): void {
  const { [field]: _, ...spec } = { ...old.spec };
  const wanted = object.spec?.[field];
  object.spec = wanted === undefined ? spec : { ...spec, [field]: wanted };
  if (old.status === undefined) delete object.status;
  else object.status = old.status;
}

function keptOnStatus({ metadata }: ApiObject): Partial<ObjectMeta> {
  const { ownerReferences, finalizers, generation } = metadata;
  return {
    ...(ownerReferences === undefined ? {} : { ownerReferences }),
    ...(finalizers === undefined ? {} : { finalizers }),
    ...(generation === undefined ? {} : { generation }),
  };
}
