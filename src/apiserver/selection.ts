// The selectors of a request as one predicate on objects, and the fields that each kind can be selected by.
import { parseFieldSelector, parseLabelSelector } from '../k8s/selectors.ts';
import type { Kind } from './kinds.ts';
import { type ApiObject, valueAt } from './object.ts';
import { badRequest } from './schema/errors.ts';

/** Fields besides metadata.name and metadata.namespace, by storage shelf (kubernetes, each kind's registry strategy). */
const fields: Readonly<Record<string, readonly string[]>> = {
  '/pods': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.nominatedNodeName',
  ],
  '/events': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
    'regarding.kind',
    'regarding.namespace',
    'regarding.name',
    'regarding.uid',
    'regarding.apiVersion',
    'regarding.resourceVersion',
    'regarding.fieldPath',
    'reportingController',
  ],
  '/secrets': ['type'],
  '/nodes': ['spec.unschedulable'],
  '/namespaces': ['status.phase'],
  '/services': ['spec.clusterIP', 'spec.type'],
  'batch/jobs': ['status.successful'],
  'apps/replicasets': ['status.replicas'],
};

/** What an absent field is compared as. */
const absent: Readonly<Record<string, string>> = {
  'spec.hostNetwork': 'false',
  'spec.unschedulable': 'false',
  'status.replicas': '0',
  'status.successful': '0',
};

/** Fields whose place in the object is another one. */
const places: Readonly<Record<string, string>> = {
  source: 'source.component',
  'status.successful': 'status.succeeded',
};

function fieldText(object: ApiObject, field: string): string {
  const value = valueAt(object, ...(places[field] ?? field).split('.'));
  return value === undefined || value === null ? (absent[field] ?? '') : String(value);
}

function check(kind: Kind, field: string): void {
  if (field === 'metadata.name' || (field === 'metadata.namespace' && kind.namespaced)) return;
  if (fields[kind.storage]?.includes(field)) return;
  throw badRequest(`field label not supported: ${field}`);
}

/** Whether an object is meant by the request's labelSelector and fieldSelector. Throws 400 for what is not a selector. */
export function selection(kind: Kind, query: URLSearchParams): (object: ApiObject) => boolean {
  const labelText = query.get('labelSelector') ?? '';
  const fieldsText = query.get('fieldSelector') ?? '';
  const tests: ((object: ApiObject) => boolean)[] = [];
  if (labelText !== '') {
    const matches = readable(() => parseLabelSelector(labelText));
    tests.push((object) => matches(object.metadata.labels ?? {}));
  }
  if (fieldsText !== '') {
    const { requirements } = readable(() => parseFieldSelector(fieldsText));
    for (const { field, value, operator } of requirements) {
      check(kind, field);
      tests.push((object) => (fieldText(object, field) === value) === (operator === '='));
    }
  }
  return (object) => tests.every((test) => test(object));
}

function readable<T>(parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw badRequest(error instanceof Error ? error.message : String(error));
  }
}
