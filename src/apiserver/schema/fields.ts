// Whether the fields of an object are those of its kind: unknown fields, wrong types, null; and the object without them.
// Wording: sigs.k8s.io/json (Go's decoder) and apimachinery pkg/runtime/serializer/json in strict mode.
import { jsonTypeName } from './decode.ts';
import { canonicalBase64, canonicalQuantity, canonicalTime } from './scalars.ts';
import { type Fields, isFields, type KindSchema, type SchemaNode } from './types.ts';

export interface FieldCheck {
  /** `unknown field "spec.foo"`, one for each. */
  readonly unknown: string[];
  /** `json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32`, one for each. */
  readonly typeErrors: string[];
  /** A copy without unknown fields and without nulls and empty optional lists, with quantities and times in their canonical form. */
  readonly pruned: Fields;
}

/**
 * Checks an object as it came against its kind. What is unknown may be refused, warned of or ignored
 * (fieldValidation); a type error is always a 400. For a custom resource only its metadata can have type errors here:
 * the rest is validateCrd's, which answers 422 as upstream does.
 */
export function checkFields(object: Fields, schema: KindSchema): FieldCheck {
  const check = new Check();
  const pruned = check.object(object, schema.root, { path: '', goPath: '', struct: schema.root.goType });
  return { unknown: check.unknown, typeErrors: check.typeErrors, pruned };
}

interface Place {
  /** With indexes: `spec.containers[0].image`. */
  readonly path: string;
  /** As Go names it, without indexes. */
  readonly goPath: string;
  /** The Go struct around this place. */
  readonly struct: string;
}

class Check {
  readonly unknown: string[] = [];
  readonly typeErrors: string[] = [];

  object(value: Fields, node: SchemaNode, place: Place): Fields {
    const result: Fields = {};
    const properties = node.properties;
    const struct = node.goType;
    for (const name in value) {
      const field = value[name];
      const child = properties.get(name);
      const path = place.path === '' ? name : `${place.path}.${name}`;
      if (!child) {
        if (node.preserveUnknown) result[name] = field;
        else this.unknown.push(`unknown field "${path}"`);
        continue;
      }
      const goPath = place.goPath === '' ? name : `${place.goPath}.${name}`;
      const kept = this.value(field, child, { path, goPath, struct });
      if (kept !== undefined && !(isEmpty(kept, child) && !node.required.includes(name))) result[name] = kept;
    }
    return result;
  }

  value(value: unknown, node: SchemaNode, place: Place): unknown {
    if (value === null) return node.custom ? keepNull(node) : undefined;
    switch (node.type) {
      case 'string':
        return typeof value === 'string' ? value : this.#wrong(value, node, place);
      case 'boolean':
        return typeof value === 'boolean' ? value : this.#wrong(value, node, place);
      case 'integer':
        return this.#integer(value, node, place);
      case 'number':
        return typeof value === 'number' ? value : this.#wrong(value, node, place);
      case 'object':
        return isFields(value) ? this.object(value, node, place) : this.#wrong(value, node, place);
      case 'array':
        return Array.isArray(value) ? this.#list(value, node, place) : this.#wrong(value, node, place);
      case 'map':
        return isFields(value) ? this.#map(value, node, place) : this.#wrong(value, node, place);
      case 'any':
        return value;
      default:
        return this.#scalar(value, node, place);
    }
  }

  #integer(value: unknown, node: SchemaNode, place: Place): unknown {
    if (typeof value !== 'number') return this.#wrong(value, node, place);
    if (node.custom) return value;
    const limit = node.goType === 'int32' ? 2 ** 31 : 2 ** 63;
    if (Number.isInteger(value) && value >= -limit && value < limit) return value;
    return this.#wrong(value, node, place, `number ${value}`);
  }

  #list(value: readonly unknown[], node: SchemaNode, place: Place): unknown[] {
    const items = node.items;
    if (!items) return [...value];
    return value.map((item, index) => {
      const at = { ...place, path: `${place.path}[${index}]` };
      return this.value(item, items, at) ?? zero(items);
    });
  }

  #map(value: Fields, node: SchemaNode, place: Place): Fields {
    const values = node.values;
    if (!values) return value;
    const result: Fields = {};
    for (const key in value) {
      const kept = this.value(value[key], values, { ...place, path: `${place.path}.${key}` });
      result[key] = kept === undefined ? zero(values) : kept;
    }
    return result;
  }

  #scalar(value: unknown, node: SchemaNode, place: Place): unknown {
    if (node.type === 'int-or-string') {
      if (typeof value === 'string' || node.custom) return value;
      if (typeof value === 'number' && Number.isInteger(value)) return value;
      return this.#wrong(value, node, place);
    }
    if (node.type === 'quantity') {
      if (typeof value !== 'string' && typeof value !== 'number') return this.#wrong(value, node, place);
      const canonical = canonicalQuantity(String(value));
      if (canonical !== undefined) return canonical;
      return this.#fault("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
    }
    if (typeof value !== 'string') return this.#wrong(value, node, place);
    if (node.type === 'bytes') {
      const decoded = canonicalBase64(value);
      return 'text' in decoded ? decoded.text : this.#fault(`illegal base64 data at input byte ${decoded.badByte}`);
    }
    const time = canonicalTime(value, node.type === 'time' ? 0 : 6);
    const layout = node.type === 'time' ? '2006-01-02T15:04:05Z07:00' : '2006-01-02T15:04:05.000000Z07:00';
    return time ?? this.#fault(`parsing time "${value}" as "${layout}": cannot parse "${value}" as "2006"`);
  }

  #fault(message: string): undefined {
    this.typeErrors.push(message);
  }

  /** The value of a custom resource is kept, for its own validation to speak; a built-in kind cannot hold it. */
  #wrong(value: unknown, node: SchemaNode, place: Place, given = jsonTypeName(value)): unknown {
    if (node.custom) return value;
    const goType = node.type === 'object' ? `v1.${node.goType}` : node.goType;
    this.typeErrors.push(
      `json: cannot unmarshal ${given} into Go struct field ${place.struct}.${place.goPath} of type ${goType}`,
    );
    return undefined;
  }
}

/** An empty list or map of a built-in kind: it is left out where it may be, as Go's `omitempty` does. */
function isEmpty(value: unknown, node: SchemaNode): boolean {
  if (node.custom) return false;
  if (node.type === 'array') return Array.isArray(value) && value.length === 0;
  return node.type === 'map' && isFields(value) && Object.keys(value).length === 0;
}

/** null is dropped where a default takes its place, and kept elsewhere: validation says whether it may be there. */
function keepNull(node: SchemaNode): null | undefined {
  return !node.nullable && node.default !== undefined ? undefined : null;
}

/** What Go's decoder makes of null within a list or a map. */
function zero(node: SchemaNode): unknown {
  if (node.custom) return null;
  switch (node.type) {
    case 'object':
    case 'map':
      return {};
    case 'array':
      return [];
    case 'integer':
    case 'number':
    case 'int-or-string':
      return 0;
    case 'boolean':
      return false;
    case 'quantity':
      return '0';
    case 'any':
      return null;
    default:
      return '';
  }
}
