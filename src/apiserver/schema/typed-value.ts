// An object seen through its schema, as server-side apply sees it: which fields it has, how two of them differ, how
// they merge. Semantics: structured-merge-diff `typed` (ToFieldSet, Compare, Merge, RemoveItems).
import { badRequest } from './errors.ts';
import { childOf, emptySet, type FieldSet, isEmpty } from './field-set.ts';
import { type Fields, isFields, type SchemaNode } from './node.ts';

type Node = SchemaNode | undefined;

/** Structs and maps whose fields have owners of their own. What has no schema is taken apart as far as it has maps. */
function isGranular(node: Node, value: unknown): value is Fields {
  if (!isFields(value)) return false;
  if (node === undefined) return true;
  if (node.type === 'any') return node.custom;
  return (node.type === 'object' || node.type === 'map') && !node.atomicMap;
}

function isAssociative(node: Node, value: unknown): value is unknown[] {
  return Array.isArray(value) && node !== undefined && node.type === 'array' && node.listType !== 'atomic';
}

const fieldNode = (node: Node, name: string): Node => node?.properties.get(name) ?? node?.values;

/** Keys that have a default of their own: an item that leaves them out is the item with the default. */
const keyDefaults: Readonly<Record<string, unknown>> = { protocol: 'TCP' };

/** The path element of a list's item. */
function elementOf(node: SchemaNode, item: unknown): string {
  if (node.listType === 'set') return `v:${JSON.stringify(item)}`;
  const fields = isFields(item) ? item : {};
  const key: Fields = {};
  for (const name of [...node.listMapKeys].sort()) {
    const value =
      fields[name] ?? node.items?.properties.get(name)?.default ?? (node.custom ? undefined : keyDefaults[name]);
    if (value !== undefined) key[name] = value;
  }
  return `k:${JSON.stringify(key)}`;
}

/** The fields that an object has. Throws 400 where a list has two items of one key. */
export function fieldSetOf(value: unknown, node: Node): FieldSet {
  const set = emptySet();
  collect(value, node, set);
  return set;
}

function collect(value: unknown, node: Node, set: FieldSet): void {
  if (isGranular(node, value)) {
    for (const name in value) {
      const child = childOf(set, `f:${name}`);
      const field = value[name];
      collect(field, fieldNode(node, name), child);
      const isMapKey = node !== undefined && !node.properties.has(name);
      if (isMapKey || child.children.size === 0) child.member = true;
    }
  } else if (isAssociative(node, value) && node) {
    for (const item of value) {
      const element = elementOf(node, item);
      if (set.children.has(element))
        throw badRequest(`failed to create typed patch object: duplicate entries for key ${element.slice(2)}`);
      const child = childOf(set, element);
      collect(item, node.items, child);
      child.member = true;
    }
  } else {
    set.member = true;
  }
}

/** How the second object differs from the first. */
export interface Comparison {
  readonly added: FieldSet;
  readonly removed: FieldSet;
  readonly modified: FieldSet;
}

export function compare(before: unknown, after: unknown, node: Node): Comparison {
  const result = { added: emptySet(), removed: emptySet(), modified: emptySet() };
  compareAt(before, after, node, result);
  return result;
}

function compareAt(before: unknown, after: unknown, node: Node, into: Comparison): void {
  if (before === after) return;
  if (isGranular(node, before) && isGranular(node, after)) {
    for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
      compareChild(
        before[name],
        after[name],
        fieldNode(node, name),
        `f:${name}`,
        into,
        node?.properties.has(name) !== true,
      );
    }
  } else if (isAssociative(node, before) && isAssociative(node, after) && node) {
    const [left, right] = [itemsByElement(node, before), itemsByElement(node, after)];
    for (const element of new Set([...left.keys(), ...right.keys()])) {
      compareChild(left.get(element), right.get(element), node.items, element, into, true);
    }
  } else if (!sameValue(before, after)) {
    into.modified.member = true;
  }
}

/** `own`: the place itself counts, beside what is below it (items and map keys; structs only by their fields). */
function compareChild(
  before: unknown,
  after: unknown,
  node: Node,
  element: string,
  into: Comparison,
  own: boolean,
): void {
  if (before === after) return;
  if (before === undefined || after === undefined) {
    const side = before === undefined ? into.added : into.removed;
    const child = childOf(side, element);
    collectPresent(before ?? after, node, child);
    if (own || node?.type === 'map' || child.children.size === 0) child.member = true;
    return;
  }
  const below = { added: emptySet(), removed: emptySet(), modified: emptySet() };
  compareAt(before, after, node, below);
  for (const side of ['added', 'removed', 'modified'] as const) {
    if (!isEmpty(below[side])) into[side].children.set(element, below[side]);
  }
}

/** As {@link collect} for what is stored: two items of one key, which old clients can make, count once. */
function collectPresent(value: unknown, node: Node, set: FieldSet): void {
  if (isAssociative(node, value) && node) {
    for (const [element, item] of itemsByElement(node, value)) {
      const child = childOf(set, element);
      collectPresent(item, node.items, child);
      child.member = true;
    }
  } else if (isGranular(node, value)) {
    for (const name in value) {
      if (value[name] === undefined) continue;
      const child = childOf(set, `f:${name}`);
      const field = fieldNode(node, name);
      collectPresent(value[name], field, child);
      if (node?.properties.has(name) !== true || field?.type === 'map' || child.children.size === 0)
        child.member = true;
    }
  } else {
    set.member = true;
  }
}

function itemsByElement(node: SchemaNode, list: readonly unknown[]): Map<string, unknown> {
  const items = new Map<string, unknown>();
  for (const item of list) {
    const element = elementOf(node, item);
    if (!items.has(element)) items.set(element, item);
  }
  return items;
}

export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => sameValue(item, b[i]));
  if (!isFields(a) || !isFields(b)) return false;
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  for (const name of names) if (!sameValue(a[name], b[name])) return false;
  return true;
}

/** The first object with what the second one says; neither is changed. */
export function merge(live: unknown, applied: unknown, node: Node): unknown {
  if (applied === undefined) return live;
  if (isGranular(node, live) && isGranular(node, applied)) {
    const result: Fields = { ...live };
    for (const name in applied) result[name] = merge(live[name], applied[name], fieldNode(node, name));
    return result;
  }
  if (isAssociative(node, live) && isAssociative(node, applied) && node) return mergeItems(live, applied, node);
  return structuredClone(applied);
}

/** The applied order holds; items that only the live list has keep their place, before what comes next of the applied. */
function mergeItems(live: readonly unknown[], applied: readonly unknown[], node: SchemaNode): unknown[] {
  const wanted = itemsByElement(node, applied);
  const present = itemsByElement(node, live);
  const pending = [...present];
  const done = new Set<string>();
  const result: unknown[] = [];
  let next = 0;
  const takeOthers = (): void => {
    for (let entry = pending[next]; entry; entry = pending[++next]) {
      const [element, item] = entry;
      if (!wanted.has(element)) result.push(item);
      else if (!done.has(element)) return;
    }
  };
  for (const [element, item] of wanted) {
    takeOthers();
    result.push(merge(present.get(element), item, node.items));
    done.add(element);
  }
  takeOthers();
  return result;
}

/** The object without the members of a set; the given object stays as it is. */
export function removeFields(value: unknown, node: Node, set: FieldSet): unknown {
  if (set.children.size === 0) return value;
  if (isGranular(node, value)) {
    const result: Fields = { ...value };
    for (const [element, child] of set.children) {
      const name = element.slice(2);
      if (!element.startsWith('f:') || !(name in result)) continue;
      if (child.member) delete result[name];
      else result[name] = removeFields(result[name], fieldNode(node, name), child);
    }
    return result;
  }
  if (isAssociative(node, value) && node) {
    return value.flatMap((item) => {
      const child = set.children.get(elementOf(node, item));
      if (!child) return [item];
      return child.member ? [] : [removeFields(item, node.items, child)];
    });
  }
  return value;
}
