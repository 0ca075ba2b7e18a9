// The schemas of the built-in kinds, from their OpenAPI definitions.
import definitionsFile from '../generated/definitions.json' with { type: 'json' };
import type { NodeType, SchemaNode } from './node.ts';

interface Definition {
  readonly type?: string;
  readonly format?: string;
  readonly $ref?: string;
  readonly properties?: Readonly<Record<string, Definition>>;
  readonly items?: Definition;
  readonly additionalProperties?: Definition;
  readonly required?: readonly string[];
  readonly default?: unknown;
  readonly 'x-kubernetes-list-type'?: string;
  readonly 'x-kubernetes-list-map-keys'?: readonly string[];
  readonly 'x-kubernetes-map-type'?: string;
  readonly 'x-kubernetes-patch-merge-key'?: string;
  readonly 'x-kubernetes-patch-strategy'?: string;
}

const definitions: Readonly<Record<string, Definition>> = definitionsFile as Readonly<Record<string, Definition>>;

/** Definitions that stand for a scalar or for free-form data, by the end of their name. */
const scalars: Readonly<Record<string, readonly [NodeType, string]>> = {
  Quantity: ['quantity', 'resource.Quantity'],
  IntOrString: ['int-or-string', 'intstr.IntOrString'],
  Time: ['time', 'v1.Time'],
  MicroTime: ['micro-time', 'v1.MicroTime'],
  FieldsV1: ['any', 'v1.FieldsV1'],
  RawExtension: ['any', 'runtime.RawExtension'],
  JSON: ['any', 'v1.JSON'],
  JSONSchemaPropsOrArray: ['any', 'v1.JSONSchemaPropsOrArray'],
  JSONSchemaPropsOrBool: ['any', 'v1.JSONSchemaPropsOrBool'],
  JSONSchemaPropsOrStringArray: ['any', 'v1.JSONSchemaPropsOrStringArray'],
};

const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1);
const refName = (ref: string): string => ref.replace('#/definitions/', '');

const nodesOfDefinitions = new Map<string, SchemaNode>();

/** The node of a named definition; the same one each time. */
export function definitionNode(name: string): SchemaNode {
  const known = nodesOfDefinitions.get(name);
  if (known) return known;
  const definition = definitions[name];
  if (!definition) throw new Error(`no definition ${name} in src/apiserver/generated/definitions.json`);
  const scalar = scalars[lastPart(name)];
  const node = scalar
    ? new BuiltinNode({}, scalar[0], scalar[1])
    : new BuiltinNode(definition, 'object', lastPart(name));
  nodesOfDefinitions.set(name, node);
  return node;
}

const noProperties: ReadonlyMap<string, SchemaNode> = new Map();
const none: readonly string[] = [];

class BuiltinNode implements SchemaNode {
  readonly type: NodeType;
  readonly goType: string;
  readonly listType: SchemaNode['listType'];
  readonly listMapKeys: readonly string[];
  readonly atomicMap: boolean;
  readonly mergeKey: string | undefined;
  readonly patchMerge: boolean;
  readonly patchRetainKeys: boolean;
  readonly custom = false;
  readonly preserveUnknown = false;
  readonly embeddedResource = false;
  readonly nullable = false;
  readonly required: readonly string[];
  readonly default: unknown;
  readonly #definition: Definition;
  readonly #shape: SchemaNode | undefined;
  #properties: ReadonlyMap<string, SchemaNode> | undefined;
  #items: SchemaNode | undefined;
  #values: SchemaNode | undefined;

  /** With `shape`: the structure is that of another node, the marks are this place's own. */
  constructor(definition: Definition, type: NodeType, goType: string, shape?: SchemaNode) {
    this.type = type;
    this.goType = goType;
    this.#definition = definition;
    this.#shape = shape;
    const listType = definition['x-kubernetes-list-type'];
    this.listType = listType === 'map' || listType === 'set' ? listType : 'atomic';
    this.listMapKeys = definition['x-kubernetes-list-map-keys'] ?? none;
    this.atomicMap = definition['x-kubernetes-map-type'] === 'atomic' || (shape?.atomicMap ?? false);
    const strategy = definition['x-kubernetes-patch-strategy'] ?? '';
    this.mergeKey = definition['x-kubernetes-patch-merge-key'];
    this.patchMerge = strategy.split(',').includes('merge');
    this.patchRetainKeys = strategy.includes('retainKeys');
    this.required = shape?.required ?? definition.required ?? none;
    this.default = definition.default;
  }

  get properties(): ReadonlyMap<string, SchemaNode> {
    if (this.#shape) return this.#shape.properties;
    if (this.type !== 'object') return noProperties;
    this.#properties ??= new Map(
      Object.entries(this.#definition.properties ?? {}).map(([name, field]) => [name, placeNode(field)]),
    );
    return this.#properties;
  }

  get items(): SchemaNode | undefined {
    if (this.type !== 'array') return undefined;
    this.#items ??= placeNode(this.#definition.items ?? {});
    return this.#items;
  }

  get values(): SchemaNode | undefined {
    if (this.type !== 'map') return undefined;
    this.#values ??= placeNode(this.#definition.additionalProperties ?? {});
    return this.#values;
  }
}

/** The node of a field, an item or a map's value. */
function placeNode(definition: Definition): SchemaNode {
  if (definition.$ref !== undefined) {
    const shape = definitionNode(refName(definition.$ref));
    return Object.keys(definition).length === 1 ? shape : new BuiltinNode(definition, shape.type, shape.goType, shape);
  }
  if (definition.additionalProperties) {
    return new BuiltinNode(definition, 'map', `map[string]${goTypeOf(definition.additionalProperties)}`);
  }
  switch (definition.type) {
    case 'array':
      return new BuiltinNode(definition, 'array', `[]${goTypeOf(definition.items ?? {})}`);
    case 'string':
      if (definition.format === 'byte') return new BuiltinNode(definition, 'bytes', '[]uint8');
      return new BuiltinNode(definition, 'string', 'string');
    case 'integer':
      return new BuiltinNode(definition, 'integer', definition.format ?? 'int32');
    case 'number':
      return new BuiltinNode(definition, 'number', 'float64');
    case 'boolean':
      return new BuiltinNode(definition, 'boolean', 'bool');
    default:
      return new BuiltinNode(definition, 'any', 'interface {}');
  }
}

function goTypeOf(definition: Definition): string {
  if (definition.$ref === undefined) return placeNode(definition).goType;
  const name = lastPart(refName(definition.$ref));
  return scalars[name]?.[1] ?? `v1.${name}`;
}

/** The node of ObjectMeta: custom resources share it. */
export function objectMetaNode(): SchemaNode {
  return definitionNode('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta');
}
