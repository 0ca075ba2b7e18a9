// The schema of a kind: what decoding, defaulting, merging and applying need to know of it.
import { definitionNode } from './builtin.ts';
import { customNode } from './custom.ts';
import { type Fields, isFields, type SchemaNode } from './node.ts';

export { type Fields, fieldsOf, isFields, listOf, type SchemaNode } from './node.ts';

/** The schema of one kind. */
export interface KindSchema {
  /** The definition's name in the OpenAPI document, or `custom`. */
  readonly name: string;
  readonly root: SchemaNode;
  /** For a custom resource: its schema as written, which {@link validateCrd} reads. */
  readonly custom: Fields | undefined;
}

const builtins = new Map<string, KindSchema>();

/**
 * The schema of a built-in kind by the name of its OpenAPI definition, such as `io.k8s.api.core.v1.Pod`. Throws where
 * there is none: the name is the program's own, never a user's.
 */
export function builtinSchema(definitionName: string): KindSchema {
  let schema = builtins.get(definitionName);
  if (!schema) {
    schema = { name: definitionName, root: definitionNode(definitionName), custom: undefined };
    builtins.set(definitionName, schema);
  }
  return schema;
}

/**
 * The schema of a custom resource from its `openAPIV3Schema` (undefined or free-form: every field is kept). The schema
 * must be structural; {@link structuralErrors} says what is wrong with one that is not, and validateCreate of the
 * CustomResourceDefinition has refused it before.
 */
export function crdSchema(openAPIV3Schema: unknown): KindSchema {
  const custom = isFields(openAPIV3Schema)
    ? openAPIV3Schema
    : { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  return { name: 'custom', root: customNode(custom, true), custom };
}
