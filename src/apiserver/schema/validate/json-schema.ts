// Values of custom resources against their schema, in the words of upstream's validator (k8s.io/kube-openapi
// pkg/validation). Rules in CEL (x-kubernetes-validations) are accepted in definitions and not evaluated.
import { type Fields, fieldsOf, isFields, listOf } from '../node.ts';
import { sameValue } from '../typed-value.ts';
import { formatFault } from './formats.ts';
import { validateListType } from './list-type.ts';
import { Report } from './report.ts';

/** Checks a value and all below it. `path` is that of the value, empty for the whole object. */
export function validateValue(report: Report, path: string, value: unknown, schema: Fields): void {
  if (value === null && schema.nullable === true) return;
  if (!validateType(report, path, value, schema)) return;
  validateEnum(report, path, value, schema);
  if (typeof value === 'string') validateText(report, path, value, schema);
  else if (typeof value === 'number') validateNumber(report, path, value, schema);
  else if (Array.isArray(value)) validateList(report, path, value, schema);
  else if (isFields(value)) validateObject(report, path, value, schema);
  validateLogic(report, path, value, schema);
}

const join = (path: string, field: string): string => (path === '' ? field : `${path}.${field}`);
/** Messages name the value by its path; the whole object by nothing. */
const label = (path: string): string => `${path} in body`.trimStart();
const num = (schema: Fields, field: string): number | undefined => {
  const value = schema[field];
  return typeof value === 'number' ? value : undefined;
};

function typeOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  if (typeof value === 'number') return Number.isInteger(value) ? 'integer' : 'number';
  return typeof value;
}

/** Whether the type is right; what is below a value of a wrong type is not looked at. */
function validateType(report: Report, path: string, value: unknown, schema: Fields): boolean {
  const given = typeOf(value);
  if (schema['x-kubernetes-int-or-string'] === true) {
    if (given === 'integer' || given === 'string') return true;
    report.invalid(path, given, `${label(path)} must be of type integer,string: "${given}"`);
    return false;
  }
  const { type } = schema;
  if (typeof type !== 'string' || type === '') return true;
  if (given === type || (type === 'number' && given === 'integer')) return true;
  report.invalid(path === '' ? '<nil>' : path, given, `${label(path)} must be of type ${type}: "${given}"`);
  return false;
}

function validateEnum(report: Report, path: string, value: unknown, schema: Fields): void {
  const allowed = schema.enum;
  if (!Array.isArray(allowed) || allowed.some((each) => sameValue(each, value))) return;
  report.notSupported(
    path,
    value,
    allowed.map((each) => (typeof each === 'string' ? each : JSON.stringify(each))),
  );
}

const patterns = new Map<string, RegExp>();

/** A compiled pattern; those of Go (RE2) that JavaScript reads only without the unicode flag too. */
function patternOf(source: string): RegExp {
  let pattern = patterns.get(source);
  if (!pattern) {
    try {
      pattern = new RegExp(source, 'u');
    } catch {
      pattern = new RegExp(source);
    }
    patterns.set(source, pattern);
  }
  return pattern;
}

/** Characters, not UTF-16 units. */
function lengthOf(value: string): number {
  let count = 0;
  for (const _ of value) count++;
  return count;
}

function validateText(report: Report, path: string, value: string, schema: Fields): void {
  const [least, most] = [num(schema, 'minLength'), num(schema, 'maxLength')];
  if (least !== undefined && value.length < 2 * least && lengthOf(value) < least) {
    report.invalid(path, value, `${label(path)} should be at least ${least} chars long`);
  }
  if (most !== undefined && value.length > most && lengthOf(value) > most) report.tooLong(path, most);
  const { pattern, format } = schema;
  if (typeof pattern === 'string' && !patternOf(pattern).test(value)) {
    report.invalid(path, value, `${label(path)} should match '${pattern}'`);
  }
  if (typeof format === 'string') {
    const fault = formatFault(format, value);
    if (fault) report.invalid(path, value, `${label(path)} must be of type ${format}: ${JSON.stringify(value)}`);
  }
}

function validateNumber(report: Report, path: string, value: number, schema: Fields): void {
  const [least, most, step] = [num(schema, 'minimum'), num(schema, 'maximum'), num(schema, 'multipleOf')];
  if (least !== undefined) {
    if (schema.exclusiveMinimum === true) {
      if (value <= least) report.invalid(path, value, `${label(path)} should be greater than ${least}`);
    } else if (value < least) {
      report.invalid(path, value, `${label(path)} should be greater than or equal to ${least}`);
    }
  }
  if (most !== undefined) {
    if (schema.exclusiveMaximum === true) {
      if (value >= most) report.invalid(path, value, `${label(path)} should be less than ${most}`);
    } else if (value > most) {
      report.invalid(path, value, `${label(path)} should be less than or equal to ${most}`);
    }
  }
  if (step !== undefined && step > 0 && !Number.isInteger(value / step)) {
    report.invalid(path, value, `${label(path)} should be a multiple of ${step}`);
  }
  const limit = schema.format === 'int32' ? 2 ** 31 : schema.format === 'int64' ? 2 ** 63 : undefined;
  if (limit !== undefined && (value >= limit || value < -limit)) {
    report.invalid(path, value, `${label(path)} must be of type ${String(schema.format)}: "${value}"`);
  }
}

function validateList(report: Report, path: string, value: readonly unknown[], schema: Fields): void {
  const [least, most] = [num(schema, 'minItems'), num(schema, 'maxItems')];
  if (least !== undefined && value.length < least) {
    report.invalid(path, value.length, `${label(path)} should have at least ${least} items`);
  }
  if (most !== undefined && value.length > most) report.tooMany(path, value.length, most);
  if (
    schema.uniqueItems === true &&
    value.some((item, i) => value.slice(i + 1).some((other) => sameValue(item, other)))
  ) {
    report.invalid(path, value, `${label(path)} shouldn't contain duplicates`);
  }
  validateListType(report, path, value, schema);
  if (!isFields(schema.items)) return;
  const items = schema.items;
  value.forEach((item, index) => {
    validateValue(report, `${path}[${index}]`, item, items);
  });
}

function validateObject(report: Report, path: string, value: Fields, schema: Fields): void {
  const count = Object.keys(value).length;
  const [least, most] = [num(schema, 'minProperties'), num(schema, 'maxProperties')];
  if (least !== undefined && count < least)
    report.invalid(path, count, `${label(path)} should have at least ${least} properties`);
  if (most !== undefined && count > most) report.tooMany(path, count, most);
  for (const name of listOf(schema.required)) {
    if (typeof name === 'string' && value[name] === undefined) report.required(join(path, name));
  }
  const properties = fieldsOf(schema.properties);
  for (const name in properties) {
    const field = value[name];
    if (field !== undefined && !isMetadata(path, name, schema))
      validateValue(report, join(path, name), field, fieldsOf(properties[name]));
  }
  const rest = schema.additionalProperties;
  if (!isFields(rest)) return;
  for (const name in value) if (!(name in properties)) validateValue(report, join(path, name), value[name], rest);
}

/** Of metadata a schema may restrict name and generateName only, and only of the object itself. */
function isMetadata(path: string, name: string, schema: Fields): boolean {
  return (
    name === 'metadata' && (path === '' || schema['x-kubernetes-embedded-resource'] === true) && !restrictsName(schema)
  );
}

function restrictsName(schema: Fields): boolean {
  const metadata = fieldsOf(fieldsOf(schema.properties).metadata);
  return isFields(fieldsOf(metadata.properties).name);
}

/** Whether a value meets a schema, without saying why not. */
function meets(path: string, value: unknown, schema: Fields): boolean {
  const trial = new Report();
  validateValue(trial, path, value, schema);
  return trial.errors.length === 0;
}

function validateLogic(report: Report, path: string, value: unknown, schema: Fields): void {
  const named = path === '' ? '""' : `"${path}"`;
  for (const part of listOf(schema.allOf)) validateValue(report, path, value, fieldsOf(part));
  if (Array.isArray(schema.anyOf) && !schema.anyOf.some((part) => meets(path, value, fieldsOf(part)))) {
    report.invalid(path, value, `${named} must validate at least one schema (anyOf)`);
    const [only] = schema.anyOf;
    if (schema.anyOf.length === 1) validateValue(report, path, value, fieldsOf(only));
  }
  if (Array.isArray(schema.oneOf)) {
    const count = schema.oneOf.filter((part) => meets(path, value, fieldsOf(part))).length;
    if (count !== 1) {
      const found = count === 0 ? 'Found none valid' : `Found ${count} valid alternatives`;
      report.invalid(path, value, `${named} must validate one and only one schema (oneOf). ${found}`);
    }
  }
  if (isFields(schema.not) && meets(path, value, schema.not)) {
    report.invalid(path, value, `${named} must not validate the schema (not)`);
  }
}
