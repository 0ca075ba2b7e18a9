// Strategic merge patch: a merge patch that knows the keys of lists, with directives for what a merge cannot say.
// Semantics: apimachinery pkg/util/strategicpatch/patch.go; keys and strategies are the x-kubernetes-patch-* marks.
import { badRequest, unprocessable } from './errors.ts';
import { type Fields, isFields, type SchemaNode } from './types.ts';

const orderPrefix = '$setElementOrder/';
const deletePrefix = '$deleteFromPrimitiveList/';

/** The merged object; neither of the two given is changed. */
export function strategicMerge(original: Fields, patch: Fields, node: SchemaNode | undefined): Fields {
  switch (patch.$patch) {
    case undefined:
    case 'merge':
      break;
    case 'replace':
      return withoutDirectives(patch);
    case 'delete':
      return {};
    default:
      throw badRequest(`unknown patch type: ${JSON.stringify(patch.$patch)} in a strategic merge patch`);
  }
  const result: Fields = { ...original };
  retainKeys(result, patch);
  const names = new Set<string>();
  for (const key of Object.keys(patch)) {
    if (key.startsWith(orderPrefix)) names.add(key.slice(orderPrefix.length));
    else if (key.startsWith(deletePrefix)) names.add(key.slice(deletePrefix.length));
    else if (key !== '$patch' && key !== '$retainKeys') names.add(key);
  }
  for (const name of names) mergeField(result, patch, name, node?.properties.get(name) ?? node?.values);
  return result;
}

function mergeField(result: Fields, patch: Fields, name: string, node: SchemaNode | undefined): void {
  const given = patch[name];
  const order = directiveList(patch, orderPrefix, name);
  const removed = directiveList(patch, deletePrefix, name);
  const current = result[name];
  if (given === null) {
    delete result[name];
  } else if (isFields(given)) {
    result[name] = strategicMerge(isFields(current) ? current : {}, given, node);
  } else if (Array.isArray(given) || order || removed) {
    const list = Array.isArray(current) ? current : [];
    if (given !== undefined && !Array.isArray(given)) result[name] = given;
    else if (!node?.patchMerge) result[name] = given === undefined ? list : given.map(withoutDirectivesIn);
    else if (current === undefined && given === undefined) return;
    else result[name] = mergeList(list, given ?? [], node, order, removed ?? []);
  } else if (given !== undefined) {
    result[name] = given;
  }
}

function directiveList(patch: Fields, prefix: string, name: string): readonly unknown[] | undefined {
  const value = patch[`${prefix}${name}`];
  if (value === undefined) return undefined;
  if (Array.isArray(value)) return value;
  throw badRequest(`invalid patch format of ${prefix}${name}: it must be a list`);
}

/** `$retainKeys`: what is not named goes; what the patch sets must be named. */
function retainKeys(result: Fields, patch: Fields): void {
  const keys = patch.$retainKeys;
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw badRequest('invalid patch format of retainKeys list');
  const kept = new Set(keys);
  for (const name of Object.keys(patch)) {
    if (!name.startsWith('$') && patch[name] !== null && !kept.has(name)) {
      throw badRequest('invalid patch format of retainKeys list: it must hold every field that the patch sets');
    }
  }
  for (const name of Object.keys(result)) if (!kept.has(name)) delete result[name];
}

type List = readonly unknown[];

function mergeList(original: List, patch: List, node: SchemaNode, order: List | undefined, removed: List): unknown[] {
  const key = node.mergeKey;
  if (key === undefined) return mergeValues(original, patch, order, removed);
  const items = patch.map((item) => requireItem(item));
  if (items.some((item) => item.$patch === 'replace')) {
    return items.filter((item) => item.$patch !== 'replace').map(withoutDirectives);
  }
  const gone = new Set(items.filter((item) => item.$patch === 'delete').map((item) => keyOf(item, key)));
  const merged = original.filter((item) => !isFields(item) || !gone.has(item[key]));
  const additions: Fields[] = [];
  for (const item of items) {
    if (item.$patch === 'delete') continue;
    const value = keyOf(item, key);
    const at = merged.findIndex((each) => isFields(each) && each[key] === value);
    const current = merged[at];
    if (isFields(current)) merged[at] = strategicMerge(current, item, node.items);
    else if (!additions.some((each) => each[key] === value)) additions.push(strategicMerge({}, item, node.items));
    else throw unprocessable(`the patch names ${key} ${JSON.stringify(value)} twice in one list`);
  }
  const ranks = order
    ? order.map((each) => (isFields(each) ? each[key] : undefined))
    : items.filter((item) => item.$patch !== 'delete').map((item) => item[key]);
  const rank = (item: unknown): unknown => (isFields(item) ? item[key] : undefined);
  return inOrder([...merged, ...additions], ranks, original.map(rank), rank);
}

function mergeValues(original: List, patch: List, order: List | undefined, removed: List): unknown[] {
  const gone = new Set(removed);
  const merged = [...new Set([...original, ...patch])].filter((value) => !gone.has(value));
  return inOrder(merged, order ?? patch, original, (value) => value);
}

/**
 * Items that the order names come in that order; the others keep their place among them as far as the order of the
 * original list tells it (upstream `mergeSortedSlice`): what is new stands before them.
 */
function inOrder(merged: List, order: List, original: List, keyOfItem: (item: unknown) => unknown): unknown[] {
  const rank = new Map(order.map((key, index) => [key, index]));
  const position = new Map(original.map((key, index) => [key, index]));
  const named = merged
    .filter((item) => rank.has(keyOfItem(item)))
    .sort((a, b) => (rank.get(keyOfItem(a)) ?? 0) - (rank.get(keyOfItem(b)) ?? 0));
  const others = merged.filter((item) => !rank.has(keyOfItem(item)));
  const result: unknown[] = [];
  let next = 0;
  for (const item of named) {
    const limit = position.get(keyOfItem(item));
    while (next < others.length && limit !== undefined) {
      const at = position.get(keyOfItem(others[next]));
      if (at === undefined || at >= limit) break;
      result.push(others[next++]);
    }
    result.push(item);
  }
  return [...result, ...others.slice(next)];
}

function requireItem(item: unknown): Fields {
  if (isFields(item)) return item;
  throw badRequest('invalid patch format: expected a list of objects, found a plain value');
}

function keyOf(item: Fields, key: string): unknown {
  const value = item[key];
  if (value === undefined) {
    throw unprocessable(`map: ${JSON.stringify(item)} does not contain declared merge key: ${key}`);
  }
  return value;
}

function withoutDirectives(value: Fields): Fields {
  const result: Fields = {};
  for (const [name, field] of Object.entries(value)) {
    if (!isDirective(name) && field !== null) result[name] = withoutDirectivesIn(field);
  }
  return result;
}

function isDirective(name: string): boolean {
  return name === '$patch' || name === '$retainKeys' || name.startsWith(orderPrefix) || name.startsWith(deletePrefix);
}

function withoutDirectivesIn(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutDirectivesIn);
  return isFields(value) ? withoutDirectives(value) : value;
}
