// Environment variables of containers.

import type { Fields } from '../node.ts';
import { fieldsOf, isFields } from '../node.ts';
import { canonicalQuantity } from '../scalars.ts';
import { configKey, dnsSubdomain, envName, qualifiedName } from './names.ts';
import { objects, type Report, text } from './report.ts';

const envFields = [
  ...['metadata.name', 'metadata.namespace', 'metadata.uid', 'spec.nodeName', 'spec.serviceAccountName'],
  ...['status.hostIP', 'status.hostIPs', 'status.podIP', 'status.podIPs'],
];
const sources = ['fieldRef', 'resourceFieldRef', 'configMapKeyRef', 'secretKeyRef'];

export function validateEnv(report: Report, path: string, container: Fields): void {
  objects(container, 'env').forEach((variable, index) => {
    const place = `${path}.env[${index}]`;
    const name = text(variable, 'name');
    if (name === '') report.required(`${place}.name`);
    else report.allInvalid(`${place}.name`, name, envName(name));
    if (isFields(variable.valueFrom))
      validateSource(report, `${place}.valueFrom`, variable.valueFrom, text(variable, 'value'));
  });
  objects(container, 'envFrom').forEach((source, index) => {
    const place = `${path}.envFrom[${index}]`;
    const prefix = text(source, 'prefix');
    if (prefix !== '') report.allInvalid(`${place}.prefix`, prefix, envName(prefix));
    const given = ['configMapRef', 'secretRef'].filter((kind) => source[kind] !== undefined);
    if (given.length === 0) report.invalid(place, '', 'must specify one of: `configMapRef` or `secretRef`');
    if (given.length > 1) report.invalid(place, '', 'may not have more than one field specified at a time');
    for (const kind of given) validateReference(report, `${place}.${kind}`, fieldsOf(source[kind]));
  });
}

function validateReference(report: Report, path: string, reference: Fields): void {
  const name = text(reference, 'name');
  if (name === '') report.required(`${path}.name`);
  else report.allInvalid(`${path}.name`, name, dnsSubdomain(name));
}

function validateSource(report: Report, path: string, source: Fields, value: string): void {
  const given = sources.filter((kind) => source[kind] !== undefined);
  if (given.length === 0) {
    report.invalid(
      path,
      '',
      'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`',
    );
  } else if (value !== '') {
    report.invalid(path, '', 'may not be specified when `value` is not empty');
  } else if (given.length > 1) {
    report.invalid(path, '', 'may not have more than one field specified at a time');
  }
  if (isFields(source.fieldRef)) validateFieldRef(report, `${path}.fieldRef`, source.fieldRef, envFields);
  if (isFields(source.resourceFieldRef))
    validateResourceRef(report, `${path}.resourceFieldRef`, source.resourceFieldRef);
  for (const kind of ['configMapKeyRef', 'secretKeyRef']) {
    const reference = source[kind];
    if (!isFields(reference)) continue;
    const key = text(reference, 'key');
    if (text(reference, 'name') === '') report.required(`${path}.${kind}.name`);
    if (key === '') report.required(`${path}.${kind}.key`);
    else report.allInvalid(`${path}.${kind}.key`, key, configKey(key));
  }
}

const subscript = /^(metadata\.(?:labels|annotations))\['(.*)'\]$/;

/** A reference to a field of the pod itself: one of a list, or one label or annotation. */
export function validateFieldRef(report: Report, path: string, reference: Fields, supported: readonly string[]): void {
  const fieldPath = text(reference, 'fieldPath');
  if (fieldPath === '') {
    report.required(`${path}.fieldPath`);
    return;
  }
  const [, map, key] = subscript.exec(fieldPath) ?? [];
  if (map !== undefined && key !== undefined) {
    report.allInvalid(path, key, qualifiedName(map.endsWith('annotations') ? key.toLowerCase() : key));
  } else if (!supported.includes(fieldPath)) {
    report.notSupported(`${path}.fieldPath`, fieldPath, supported);
  }
}

const resourceFields = ['limits', 'requests'].flatMap((side) =>
  ['cpu', 'ephemeral-storage', 'memory'].map((name) => `${side}.${name}`),
);

export function validateResourceRef(report: Report, path: string, reference: Fields): void {
  const resource = text(reference, 'resource');
  if (resource === '') report.required(`${path}.resource`);
  else if (!resourceFields.includes(resource) && !/^(limits|requests)\.hugepages-/.test(resource)) {
    report.notSupported(`${path}.resource`, resource, resourceFields);
  }
  const divisor = text(reference, 'divisor');
  if (divisor !== '' && canonicalQuantity(divisor) === undefined)
    report.invalid(`${path}.divisor`, divisor, "only divisor's values that are quantities are supported");
}
