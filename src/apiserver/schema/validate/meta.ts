// metadata: the name, labels, annotations, owners and finalizers that every object has.
// Source: apimachinery pkg/api/validation/objectmeta.go.
import { type Fields, fieldsOf, isFields } from '../node.ts';
import { dnsLabel, labelValue, nameCheckOf, qualifiedName } from './names.ts';
import { at, objects, type Report, text, texts } from './report.ts';

/** All annotations of an object together, in bytes. */
const annotationLimit = 256 * 1024;

export function validateMeta(report: Report, gvk: string, object: Fields): void {
  const metadata = at(object, 'metadata');
  const check = nameCheckOf(gvk);
  const generateName = text(metadata, 'generateName');
  if (generateName !== '') {
    // The rest of the name is still to come, so a dash or dot at the end is no fault.
    report.allInvalid('metadata.generateName', generateName, check(`${generateName.replace(/[-.]+$/, '')}x`));
  }
  const name = text(metadata, 'name');
  if (name === '') report.required('metadata.name', 'name or generateName is required');
  else report.allInvalid('metadata.name', name, check(name));
  const namespace = text(metadata, 'namespace');
  if (namespace !== '') report.allInvalid('metadata.namespace', namespace, dnsLabel(namespace));
  validateLabels(report, 'metadata.labels', metadata.labels);
  validateAnnotations(report, 'metadata.annotations', metadata.annotations);
  validateOwners(report, metadata);
  texts(metadata, 'finalizers').forEach((finalizer) => {
    report.allInvalid('metadata.finalizers', finalizer, qualifiedName(finalizer));
  });
}

export function validateLabels(report: Report, path: string, labels: unknown): void {
  for (const [key, value] of Object.entries(fieldsOf(labels))) {
    report.allInvalid(path, key, qualifiedName(key));
    report.allInvalid(path, value, labelValue(String(value)));
  }
}

export function validateAnnotations(report: Report, path: string, annotations: unknown): void {
  let size = 0;
  for (const [key, value] of Object.entries(fieldsOf(annotations))) {
    report.allInvalid(path, key, qualifiedName(key.toLowerCase()));
    size += Buffer.byteLength(key) + Buffer.byteLength(String(value));
  }
  if (size > annotationLimit) report.tooLong(path, annotationLimit);
}

function validateOwners(report: Report, metadata: Fields): void {
  const path = 'metadata.ownerReferences';
  let controllers = 0;
  objects(metadata, 'ownerReferences').forEach((owner) => {
    if (text(owner, 'apiVersion') === '') report.invalid(`${path}.apiVersion`, '', 'version must not be empty');
    for (const field of ['kind', 'name', 'uid']) {
      if (text(owner, field) === '') report.invalid(`${path}.${field}`, '', 'must not be empty');
    }
    if (owner.controller === true && ++controllers === 2) {
      report.invalid(path, objects(metadata, 'ownerReferences'), 'Only one reference can have Controller set to true.');
    }
  });
}

/** A LabelSelector as it stands in specs (apimachinery pkg/apis/meta/v1/validation). */
export function validateLabelSelector(report: Report, path: string, selector: unknown): void {
  if (!isFields(selector)) return;
  validateLabels(report, `${path}.matchLabels`, selector.matchLabels);
  objects(selector, 'matchExpressions').forEach((expression, index) => {
    const place = `${path}.matchExpressions[${index}]`;
    const operator = text(expression, 'operator');
    const values = texts(expression, 'values');
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0)
        report.required(`${place}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        report.forbidden(`${place}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      }
    } else {
      report.invalid(`${place}.operator`, operator, 'not a valid selector operator');
    }
    report.allInvalid(`${place}.key`, text(expression, 'key'), qualifiedName(text(expression, 'key')));
    values.forEach((value, at) => {
      report.allInvalid(`${place}.values[${at}]`, value, labelValue(value));
    });
  });
}

/** Whether a selector says nothing: it would select everything. */
export function isEmptySelector(selector: unknown): boolean {
  const { matchLabels, matchExpressions } = fieldsOf(selector);
  return (
    Object.keys(fieldsOf(matchLabels)).length === 0 && !(Array.isArray(matchExpressions) && matchExpressions.length > 0)
  );
}

/** Whether a well-formed selector selects these labels. */
export function selects(selector: unknown, labels: Fields): boolean {
  const { matchLabels, ...rest } = fieldsOf(selector);
  for (const [key, value] of Object.entries(fieldsOf(matchLabels))) if (labels[key] !== value) return false;
  return objects(rest, 'matchExpressions').every((expression) => {
    const label = labels[text(expression, 'key')];
    const listed = typeof label === 'string' && texts(expression, 'values').includes(label);
    switch (text(expression, 'operator')) {
      case 'In':
        return listed;
      case 'NotIn':
        return !listed;
      case 'Exists':
        return label !== undefined;
      default:
        return label === undefined;
    }
  });
}
