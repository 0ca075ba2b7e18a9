// The schemas of custom resources, from the openAPIV3Schema of their definitions.
import { objectMetaNode } from './builtin.ts';
import { type Fields, fieldsOf, isFields, type NodeType, type SchemaNode } from './node.ts';

const empty: ReadonlyMap<string, SchemaNode> = new Map();

function nodeType(schema: Fields): NodeType {
  if (schema['x-kubernetes-int-or-string'] === true) return 'int-or-string';
  switch (schema.type) {
    case 'object':
      return isFields(schema.additionalProperties) || schema.additionalProperties === true ? 'map' : 'object';
    case 'array':
      return 'array';
    case 'string':
      return 'string';
    case 'integer':
      return 'integer';
    case 'number':
      return 'number';
    case 'boolean':
      return 'boolean';
    default:
      return 'any';
  }
}

const nodes = new WeakMap<Fields, SchemaNode>();

/** The tree of a custom resource's schema; `root` (and every embedded resource) knows apiVersion, kind and metadata. */
export function customNode(schema: Fields, root = false): SchemaNode {
  const known = root ? undefined : nodes.get(schema);
  if (known) return known;
  const node = new CustomNode(schema, root);
  if (!root) nodes.set(schema, node);
  return node;
}

class CustomNode implements SchemaNode {
  readonly type: NodeType;
  readonly goType: string;
  readonly listType: SchemaNode['listType'];
  readonly listMapKeys: readonly string[];
  readonly atomicMap: boolean;
  readonly custom = true;
  readonly mergeKey = undefined;
  readonly patchMerge = false;
  readonly patchRetainKeys = false;
  /** Validation of custom resources reads the schema itself. */
  readonly required: readonly string[] = [];
  readonly preserveUnknown: boolean;
  readonly embeddedResource: boolean;
  readonly nullable: boolean;
  readonly default: unknown;
  readonly #schema: Fields;
  #properties: ReadonlyMap<string, SchemaNode> | undefined;
  #items: SchemaNode | undefined;
  #values: SchemaNode | undefined;

  constructor(schema: Fields, root: boolean) {
    this.#schema = schema;
    this.type = nodeType(schema);
    if (root) this.type = 'object';
    this.goType = this.type;
    const listType = schema['x-kubernetes-list-type'];
    this.listType = listType === 'map' || listType === 'set' ? listType : 'atomic';
    const keys = schema['x-kubernetes-list-map-keys'];
    this.listMapKeys = Array.isArray(keys) ? keys.filter((key) => typeof key === 'string') : [];
    this.atomicMap = schema['x-kubernetes-map-type'] === 'atomic';
    this.preserveUnknown = schema['x-kubernetes-preserve-unknown-fields'] === true;
    this.embeddedResource = root || schema['x-kubernetes-embedded-resource'] === true;
    this.nullable = schema.nullable === true;
    this.default = schema.default;
  }

  get properties(): ReadonlyMap<string, SchemaNode> {
    if (this.type !== 'object') return empty;
    if (!this.#properties) {
      const fields = new Map(
        Object.entries(fieldsOf(this.#schema.properties)).map(([name, field]) => [name, customNode(fieldsOf(field))]),
      );
      if (this.embeddedResource) {
        fields.set('apiVersion', customNode({ type: 'string' }));
        fields.set('kind', customNode({ type: 'string' }));
        fields.set('metadata', objectMetaNode());
      }
      this.#properties = fields;
    }
    return this.#properties;
  }

  get items(): SchemaNode | undefined {
    if (this.type !== 'array') return undefined;
    this.#items ??= customNode(fieldsOf(this.#schema.items));
    return this.#items;
  }

  get values(): SchemaNode | undefined {
    if (this.type !== 'map') return undefined;
    const values = this.#schema.additionalProperties;
    this.#values ??= customNode(isFields(values) ? values : { 'x-kubernetes-preserve-unknown-fields': true });
    return this.#values;
  }
}
