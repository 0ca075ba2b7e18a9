// One place in the schema of a kind, whether that comes from the OpenAPI document or from a CustomResourceDefinition.

export type Fields = Record<string, unknown>;

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function fieldsOf(value: unknown): Fields {
  return isFields(value) ? value : {};
}

export function listOf(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export type NodeType =
  | 'object'
  | 'map'
  | 'array'
  | 'string'
  | 'integer'
  | 'number'
  | 'boolean'
  | 'quantity'
  | 'int-or-string'
  | 'time'
  | 'micro-time'
  | 'bytes'
  /** Free-form JSON, kept as it is. */
  | 'any';

/** One place in the tree of a schema. The parts below are made when they are first asked for: schemas can be recursive. */
export interface SchemaNode {
  readonly type: NodeType;
  /** Part of a custom resource's own schema, which has its own ways with null and wrong types. */
  readonly custom: boolean;
  /** The Go type that upstream decodes into, as its error messages name it: `PodSpec`, `int32`, `[]v1.Container`. */
  readonly goType: string;
  /** Known fields of an object. */
  readonly properties: ReadonlyMap<string, SchemaNode>;
  /** Fields of an object that must be there. */
  readonly required: readonly string[];
  /** What a list holds. */
  readonly items: SchemaNode | undefined;
  /** What the values of a map are. */
  readonly values: SchemaNode | undefined;
  /** How server-side apply merges a list; `atomic` where nothing is said. */
  readonly listType: 'atomic' | 'set' | 'map';
  readonly listMapKeys: readonly string[];
  /** Whether server-side apply takes an object or map as one value. */
  readonly atomicMap: boolean;
  /** Strategic merge of a list: by this key of its items; undefined for a list of plain values. */
  readonly mergeKey: string | undefined;
  readonly patchMerge: boolean;
  readonly patchRetainKeys: boolean;
  /** Unknown fields are kept (custom resources: x-kubernetes-preserve-unknown-fields). */
  readonly preserveUnknown: boolean;
  /** A whole Kubernetes object within another one: apiVersion, kind and metadata are known. */
  readonly embeddedResource: boolean;
  /** null is a value (custom resources). */
  readonly nullable: boolean;
  readonly default: unknown;
}
