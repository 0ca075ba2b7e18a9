// Who owns which fields of an object (metadata.managedFields), and what a write that is no apply does to that.
// Semantics: structured-merge-diff merge/update.go `Update`; apimachinery pkg/util/managedfields.
import type { ManagedFieldsEntry } from '../../k8s/types.generated.ts';
import {
  difference,
  emptySet,
  equalSets,
  type FieldSet,
  formatFields,
  intersection,
  isEmpty,
  parseFields,
  union,
} from './field-set.ts';
import { type Comparison, compare } from './typed-value.ts';
import { type Fields, fieldsOf, isFields, type KindSchema } from './types.ts';

export type Operation = 'Apply' | 'Update';

/** One manager's share. */
export interface Owner {
  readonly manager: string;
  readonly operation: Operation;
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string | undefined;
  readonly fields: FieldSet;
}

export interface TrackedUpdate {
  /** The state before; undefined for a create. */
  readonly old: Fields | undefined;
  readonly updated: Fields;
  readonly schema: KindSchema;
  /** The name of the client's field manager. */
  readonly manager: string;
  readonly apiVersion: string;
  readonly subresource?: string;
  readonly now: Date;
}

/** The managedFields after a create, update or patch: the writer owns what it changed, others lose that. */
export function trackUpdate(update: TrackedUpdate): ManagedFieldsEntry[] {
  const { old = {}, updated, schema, manager, apiVersion, subresource = '', now } = update;
  const owners = ownersOf(old);
  const changes = compare(ownable(old), ownable(updated), schema.root);
  const identity = { manager, operation: 'Update', apiVersion, subresource } as const;
  const mine = owners.find((owner) => isSame(owner, identity));
  const gained = union(changes.added, changes.modified);
  if (isEmpty(gained) && isEmpty(changes.removed)) return entriesOf(owners);
  const fields = union(difference(mine?.fields ?? emptySet(), changes.removed), gained);
  const others = withdraw(
    owners.filter((owner) => owner !== mine),
    changes,
  );
  if (isEmpty(fields)) return entriesOf(others);
  const time = mine && equalSets(mine.fields, fields) ? mine.time : timeText(now);
  return entriesOf([...others, { ...identity, time, fields }]);
}

/** The owners without what a change took from them. */
export function withdraw(owners: readonly Owner[], changes: Comparison): Owner[] {
  const taken = union(changes.added, union(changes.modified, changes.removed));
  return owners.flatMap((owner) => {
    if (isEmpty(intersection(owner.fields, taken))) return [owner];
    const fields = difference(owner.fields, taken);
    return isEmpty(fields) ? [] : [{ ...owner, fields }];
  });
}

export function isSame(a: Omit<Owner, 'time' | 'fields'>, b: Omit<Owner, 'time' | 'fields'>): boolean {
  return (
    a.manager === b.manager &&
    a.operation === b.operation &&
    a.apiVersion === b.apiVersion &&
    a.subresource === b.subresource
  );
}

const systemFields = new Set([
  ...['name', 'namespace', 'creationTimestamp', 'selfLink', 'uid', 'generation', 'managedFields', 'resourceVersion'],
  ...['deletionTimestamp', 'deletionGracePeriodSeconds', 'generateName'],
]);

/** The object without what nobody owns: its identity and what the server writes in its metadata. */
export function ownable(object: Fields): Fields {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = object;
  const kept: Fields = {};
  for (const [name, value] of Object.entries(fieldsOf(metadata))) if (!systemFields.has(name)) kept[name] = value;
  return Object.keys(kept).length === 0 ? rest : { ...rest, metadata: kept };
}

/** The owners that an object's managedFields name. */
export function ownersOf(object: Fields): Owner[] {
  const entries = fieldsOf(object.metadata).managedFields;
  if (!Array.isArray(entries)) return [];
  const text = (value: unknown): string => (typeof value === 'string' ? value : '');
  return entries.filter(isFields).map((entry) => ({
    manager: text(entry.manager),
    operation: entry.operation === 'Apply' ? 'Apply' : 'Update',
    apiVersion: text(entry.apiVersion),
    subresource: text(entry.subresource),
    time: typeof entry.time === 'string' ? entry.time : undefined,
    fields: parseFields(entry.fieldsV1),
  }));
}

/** The managedFields of owners, in upstream's order: applies first, then by time and name. */
export function entriesOf(owners: readonly Owner[]): ManagedFieldsEntry[] {
  const key = (owner: Owner): string =>
    [owner.operation, owner.time ?? '', owner.manager, owner.apiVersion, owner.subresource].join('\0');
  return [...owners]
    .sort((a, b) => (key(a) < key(b) ? -1 : 1))
    .map((owner) => ({
      manager: owner.manager,
      operation: owner.operation,
      apiVersion: owner.apiVersion,
      ...(owner.time === undefined ? {} : { time: owner.time }),
      fieldsType: 'FieldsV1',
      fieldsV1: formatFields(owner.fields),
      ...(owner.subresource === '' ? {} : { subresource: owner.subresource }),
    }));
}

export function timeText(now: Date): string {
  return `${now.toISOString().slice(0, 19)}Z`;
}
