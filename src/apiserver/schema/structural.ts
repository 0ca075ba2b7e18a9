// The rules that make the schema of a custom resource structural.
// Source: apiextensions-apiserver pkg/apiserver/schema/validation.go and pkg/apis/apiextensions/validation.
import type { FieldError } from './errors.ts';
import { type Fields, fieldsOf, isFields } from './node.ts';

const types = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
/** What must not stand in a schema at all, or not within allOf, anyOf, oneOf and not. */
const forbiddenAnywhere = [
  '$ref',
  'definitions',
  'dependencies',
  'deprecated',
  'discriminator',
  'id',
  'patternProperties',
];
const forbiddenInLogic = ['default', 'additionalProperties', 'nullable', 'x-kubernetes-preserve-unknown-fields'];
const logic = ['allOf', 'anyOf', 'oneOf'];

/**
 * What is wrong with a schema that must be structural: every field has a type, metadata is not restricted beyond name,
 * and the logical operators restrict values only. `path` is where the schema stands in the definition.
 */
export function structuralErrors(schema: unknown, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if (!isFields(schema)) return [{ path, type: 'Required', detail: 'schemas are required' }];
  if (schema.type !== 'object') {
    errors.push({
      path: `${path}.type`,
      ...(schema.type === undefined
        ? { type: 'Required', detail: 'must not be empty at the root' }
        : { type: 'Invalid', value: schema.type, detail: 'must be object at the root' }),
    });
  }
  checkNode(schema, path, errors);
  return errors;
}

function checkNode(schema: Fields, path: string, errors: FieldError[]): void {
  for (const key of forbiddenAnywhere) {
    if (schema[key] !== undefined)
      errors.push({ path: `${path}.${key}`, type: 'Forbidden', detail: `${key} is not supported` });
  }
  checkType(schema, path, errors);
  checkExtensions(schema, path, errors);
  for (const [name, field] of Object.entries(fieldsOf(schema.properties))) {
    checkNode(fieldsOf(field), `${path}.properties[${name}]`, errors);
  }
  if (isFields(schema.additionalProperties))
    checkNode(schema.additionalProperties, `${path}.additionalProperties`, errors);
  if (schema.properties !== undefined && isFields(schema.additionalProperties)) {
    errors.push({
      path: `${path}.additionalProperties`,
      type: 'Forbidden',
      detail: 'additionalProperties and properties are mutual exclusive',
    });
  }
  if (Array.isArray(schema.items)) {
    errors.push({ path: `${path}.items`, type: 'Forbidden', detail: 'items must be a schema object and not an array' });
  } else if (isFields(schema.items)) {
    checkNode(schema.items, `${path}.items`, errors);
  } else if (schema.type === 'array') {
    errors.push({ path: `${path}.items`, type: 'Required', detail: 'must be specified' });
  }
  for (const operator of logic) {
    if (!Array.isArray(schema[operator])) continue;
    schema[operator].forEach((part, index) => {
      checkLogic(fieldsOf(part), `${path}.${operator}[${index}]`, errors);
    });
  }
  if (isFields(schema.not)) checkLogic(schema.not, `${path}.not`, errors);
  if (typeof schema.pattern === 'string') checkPattern(schema.pattern, `${path}.pattern`, errors);
}

function checkType(schema: Fields, path: string, errors: FieldError[]): void {
  const free = schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (schema.type === undefined || schema.type === '') {
    if (!free)
      errors.push({ path: `${path}.type`, type: 'Required', detail: 'must not be empty for specified object fields' });
  } else if (typeof schema.type !== 'string' || !types.includes(schema.type)) {
    errors.push({ path: `${path}.type`, type: 'NotSupported', value: schema.type, supported: types });
  }
}

function checkExtensions(schema: Fields, path: string, errors: FieldError[]): void {
  const listType = schema['x-kubernetes-list-type'];
  if (listType !== undefined && !['atomic', 'set', 'map'].includes(String(listType))) {
    errors.push({
      path: `${path}.x-kubernetes-list-type`,
      type: 'NotSupported',
      value: listType,
      supported: ['atomic', 'map', 'set'],
    });
  }
  if (listType !== undefined && schema.type !== 'array') {
    errors.push({
      path: `${path}.type`,
      type: 'Invalid',
      value: schema.type ?? '',
      detail: 'must be array if x-kubernetes-list-type is set',
    });
  }
  const keys = schema['x-kubernetes-list-map-keys'];
  if (listType === 'map' && !(Array.isArray(keys) && keys.length > 0)) {
    errors.push({
      path: `${path}.x-kubernetes-list-map-keys`,
      type: 'Required',
      detail: 'must not be empty if x-kubernetes-list-type is map',
    });
  }
  if (listType === 'map' && fieldsOf(schema.items).type !== 'object') {
    errors.push({
      path: `${path}.items.type`,
      type: 'Invalid',
      value: fieldsOf(schema.items).type ?? '',
      detail: "must be object if parent array's x-kubernetes-list-type is map",
    });
  }
  const mapType = schema['x-kubernetes-map-type'];
  if (mapType !== undefined && mapType !== 'atomic' && mapType !== 'granular') {
    errors.push({
      path: `${path}.x-kubernetes-map-type`,
      type: 'NotSupported',
      value: mapType,
      supported: ['atomic', 'granular'],
    });
  }
  if (schema['x-kubernetes-embedded-resource'] === true && schema.type !== 'object') {
    errors.push({
      path: `${path}.type`,
      type: 'Invalid',
      value: schema.type ?? '',
      detail: 'must be object if x-kubernetes-embedded-resource is true',
    });
  }
}

function checkLogic(schema: Fields, path: string, errors: FieldError[]): void {
  for (const key of forbiddenInLogic) {
    if (schema[key] !== undefined && schema[key] !== false) {
      errors.push({ path: `${path}.${key}`, type: 'Forbidden', detail: 'must be undefined to be structural' });
    }
  }
  for (const [name, field] of Object.entries(fieldsOf(schema.properties))) {
    checkLogic(fieldsOf(field), `${path}.properties[${name}]`, errors);
  }
  if (isFields(schema.items)) checkLogic(schema.items, `${path}.items`, errors);
  if (typeof schema.pattern === 'string') checkPattern(schema.pattern, `${path}.pattern`, errors);
}

function checkPattern(pattern: string, path: string, errors: FieldError[]): void {
  try {
    new RegExp(pattern, 'u');
  } catch {
    try {
      new RegExp(pattern);
    } catch (error) {
      errors.push({
        path,
        type: 'Invalid',
        value: pattern,
        detail: `must be a valid regular expression, but isn't: ${error}`,
      });
    }
  }
}
