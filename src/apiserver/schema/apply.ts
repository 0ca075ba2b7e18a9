// Server-side apply: the client says what it wants of some fields and owns those; others keep theirs.
// Semantics: structured-merge-diff merge/update.go `Apply`; wording: apimachinery managedfields/internal/conflict.go.
import type { ManagedFieldsEntry } from '../../k8s/types.generated.ts';
import { applyConflict } from './errors.ts';
import {
  difference,
  emptySet,
  equalSets,
  type FieldSet,
  intersection,
  isEmpty,
  memberPaths,
  union,
  withNamedFields,
} from './field-set.ts';
import { entriesOf, isSame, type Owner, ownable, ownersOf, timeText, withdraw } from './managed-fields.ts';
import { compare, fieldSetOf, merge, removeFields } from './typed-value.ts';
import { type Fields, isFields, type KindSchema } from './types.ts';

export interface Apply {
  /** What is stored; undefined where the apply creates the object. */
  readonly live: Fields | undefined;
  /** What the client sent, its fields checked, without defaults. */
  readonly applied: Fields;
  readonly schema: KindSchema;
  readonly manager: string;
  /** Take fields over from other managers instead of refusing. */
  readonly force: boolean;
  readonly apiVersion: string;
  readonly subresource?: string;
  readonly now: Date;
}

export interface Applied {
  readonly object: Fields;
  readonly managedFields: ManagedFieldsEntry[];
}

/**
 * The object after an apply, still without defaults, and who owns what then. Fields that this manager applied before,
 * leaves out now, and nobody else owns, are removed. Throws 409 with one FieldManagerConflict cause for each field
 * that another manager owns with another value, unless forced.
 */
export function serverSideApply(apply: Apply): Applied {
  const { live = {}, schema, manager, apiVersion, subresource = '', now } = apply;
  const applied = withoutForeignParts(apply.applied, schema, subresource);
  const identity = { manager, operation: 'Apply', apiVersion, subresource } as const;
  const owners = ownersOf(live);
  const mine = owners.find((owner) => isSame(owner, identity));
  const others = owners.filter((owner) => owner !== mine);
  const wanted = fieldSetOf(ownable(applied), schema.root);
  const merged = requireFields(merge(live, applied, schema.root));
  const object = mine ? prune(merged, schema, mine.fields, [wanted, ...others.map((owner) => owner.fields)]) : merged;
  const changes = compare(ownable(live), ownable(object), schema.root);
  if (!apply.force) refuseConflicts(others, union(changes.added, changes.modified));
  const time = mine && equalSets(mine.fields, wanted) ? mine.time : timeText(now);
  const rest = withdraw(others, changes);
  const entries = isEmpty(wanted) ? rest : [...rest, { ...identity, time, fields: wanted }];
  return { object, managedFields: entriesOf(entries) };
}

/** An apply of the object does not speak of its status, and one of the status of nothing else. */
function withoutForeignParts(applied: Fields, schema: KindSchema, subresource: string): Fields {
  const ofStatus = new Set(['apiVersion', 'kind', 'metadata', 'status']);
  const counts = (field: string): boolean =>
    subresource === 'status' ? ofStatus.has(field) : field !== 'status' || schema.custom !== undefined;
  return Object.fromEntries(Object.entries(applied).filter(([field]) => counts(field)));
}

function prune(merged: Fields, schema: KindSchema, last: FieldSet, owned: readonly FieldSet[]): Fields {
  const all = owned.reduce(union, emptySet());
  const gone = difference(withNamedFields(last), withNamedFields(all));
  return requireFields(removeFields(merged, schema.root, { ...gone, member: false }));
}

function refuseConflicts(others: readonly Owner[], changed: FieldSet): void {
  const conflicts = others.flatMap((owner) =>
    memberPaths(intersection(owner.fields, changed)).map((path) => ({ owner: ownerText(owner), path })),
  );
  if (conflicts.length === 0) return;
  const causes = conflicts.map(({ owner, path }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${owner}`,
    field: path,
  }));
  throw applyConflict(conflictMessage(conflicts), causes);
}

function conflictMessage(conflicts: readonly { owner: string; path: string }[]): string {
  const [first] = conflicts;
  if (first && conflicts.length === 1)
    return `Apply failed with 1 conflict: conflict with ${first.owner}: ${first.path}`;
  const owners = [...new Set(conflicts.map(({ owner }) => owner))].sort();
  const lines = owners.flatMap((owner) => [
    `conflicts with ${owner}:`,
    ...conflicts.filter((conflict) => conflict.owner === owner).map(({ path }) => `- ${path}`),
  ]);
  return `Apply failed with ${conflicts.length} conflicts: ${lines.join('\n')}`;
}

function ownerText({ manager, subresource, apiVersion }: Owner): string {
  const part = subresource === '' ? '' : ` with subresource ${JSON.stringify(subresource)}`;
  return `${JSON.stringify(manager)}${part} using ${apiVersion}`;
}

function requireFields(value: unknown): Fields {
  if (isFields(value)) return value;
  throw new TypeError('an applied object is no object');
}
