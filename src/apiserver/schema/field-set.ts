// Sets of fields of an object: who owns what. The tree of structured-merge-diff's `fieldpath.Set` and its FieldsV1 form.
import { type Fields, isFields } from './node.ts';

/**
 * One node of a set. The keys of children are path elements as FieldsV1 writes them: `f:name` (a field or a map's key),
 * `k:{"name":"web"}` (an item of a list of type map), `v:"x"` (an item of a list of type set).
 */
export interface FieldSet {
  /** Whether this very place is in the set (`.`, or an empty object in FieldsV1). */
  member: boolean;
  readonly children: Map<string, FieldSet>;
}

export function emptySet(member = false): FieldSet {
  return { member, children: new Map() };
}

export function isEmpty(set: FieldSet): boolean {
  return !set.member && set.children.size === 0;
}

/** The child under a path element, made where it is absent. */
export function childOf(set: FieldSet, element: string): FieldSet {
  let child = set.children.get(element);
  if (!child) {
    child = emptySet();
    set.children.set(element, child);
  }
  return child;
}

/** Reads FieldsV1; what is not of its form is skipped. */
export function parseFields(fields: unknown): FieldSet {
  const set = emptySet();
  if (!isFields(fields)) return set;
  for (const [element, value] of Object.entries(fields)) {
    if (element === '.') {
      set.member = true;
      continue;
    }
    const child = parseFields(value);
    if (child.children.size === 0) child.member = true;
    set.children.set(element, child);
  }
  return set;
}

/** Writes FieldsV1, elements in the order of their text. */
export function formatFields(set: FieldSet): Fields {
  const result: Fields = {};
  if (set.member && set.children.size > 0) result['.'] = {};
  for (const element of [...set.children.keys()].sort()) {
    const child = set.children.get(element);
    if (child) result[element] = formatFields(child);
  }
  return result;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const result = emptySet(a.member || b.member);
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    result.children.set(element, other ? union(child, other) : child);
  }
  for (const [element, child] of b.children) {
    if (!a.children.has(element)) result.children.set(element, child);
  }
  return result;
}

/** The members of `a` that are not members of `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const result = emptySet(a.member && !b.member);
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    const rest = other ? difference(child, other) : child;
    if (!isEmpty(rest)) result.children.set(element, rest);
  }
  return result;
}

export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const result = emptySet(a.member && b.member);
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    const common = other ? intersection(child, other) : emptySet();
    if (!isEmpty(common)) result.children.set(element, common);
  }
  return result;
}

export function equalSets(a: FieldSet, b: FieldSet): boolean {
  if (a.member !== b.member || a.children.size !== b.children.size) return false;
  for (const [element, child] of a.children) {
    const other = b.children.get(element);
    if (!other || !equalSets(child, other)) return false;
  }
  return true;
}

/** With every field (`f:`) that has members below it a member too, as it is when an object is taken apart. */
export function withNamedFields(set: FieldSet, element = 'f:'): FieldSet {
  const result = emptySet(set.member || (element.startsWith('f:') && set.children.size > 0));
  for (const [name, child] of set.children) result.children.set(name, withNamedFields(child, name));
  return result;
}

/** The paths of all members as users read them: `.spec.containers[name="web"].image`. */
export function memberPaths(set: FieldSet, prefix = ''): string[] {
  const paths = set.member && prefix !== '' ? [prefix] : [];
  for (const element of [...set.children.keys()].sort()) {
    const child = set.children.get(element);
    if (child) paths.push(...memberPaths(child, `${prefix}${elementText(element)}`));
  }
  return paths;
}

function elementText(element: string): string {
  const body = element.slice(2);
  if (element.startsWith('f:')) return `.${body}`;
  if (element.startsWith('v:')) return `[=${body}]`;
  const key: unknown = JSON.parse(body);
  const parts = Object.entries(isFields(key) ? key : {}).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
  return `[${parts.join(',')}]`;
}
