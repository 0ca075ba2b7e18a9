// The options that writes share: dry run, field manager, field validation, and those of a deletion.
import type { Call } from './api.ts';
import { fieldsOf } from './object.ts';
import { numberOf } from './respond.ts';
import { decodeBody } from './schema/decode.ts';
import { badRequest, invalid } from './schema/errors.ts';
import { builtinSchema } from './schema/types.ts';

export interface WriteOptions {
  readonly dryRun: boolean;
  /** Who the written fields belong to (`metadata.managedFields`). */
  readonly manager: string;
  /** What happens to unknown and duplicate fields: refused, warned of, dropped. */
  readonly validation: 'Strict' | 'Warn' | 'Ignore';
}

function checkDryRun(values: readonly unknown[], kind: string): boolean {
  for (const value of values) {
    if (value !== 'All')
      throw invalid({ group: 'meta.k8s.io', kind }, '', [
        { path: 'dryRun', type: 'NotSupported', value, supported: ['All'] },
      ]);
  }
  return values.length > 0;
}

/** The options of a create, update or patch. Throws for values that there are none of. */
export function writeOptions(call: Call): WriteOptions {
  const { query, request } = call;
  const validation = query.get('fieldValidation') || 'Warn';
  if (validation !== 'Strict' && validation !== 'Warn' && validation !== 'Ignore')
    throw invalid({ group: 'meta.k8s.io', kind: 'CreateOptions' }, '', [
      {
        path: 'fieldValidation',
        type: 'NotSupported',
        value: validation,
        supported: ['Ignore', 'Strict', 'Warn'],
      },
    ]);
  const manager = query.get('fieldManager') ?? '';
  if (manager.length > 128) throw badRequest('fieldManager: may not be more than 128 bytes');
  return {
    dryRun: checkDryRun(query.getAll('dryRun'), 'CreateOptions'),
    manager: manager || (request.headers['user-agent'] ?? 'unknown').split('/')[0]?.slice(0, 128) || 'unknown',
    validation,
  };
}

export type Propagation = 'Background' | 'Foreground' | 'Orphan';

export interface DeleteOptions {
  readonly dryRun: boolean;
  readonly gracePeriodSeconds: number | undefined;
  readonly propagation: Propagation | undefined;
  readonly uid: string | undefined;
  readonly resourceVersion: string | undefined;
}

const isPropagation = (value: unknown): value is Propagation =>
  value === 'Background' || value === 'Foreground' || value === 'Orphan';

/** The options of a deletion, from the body where there is one, else from the query. */
export function deleteOptions(call: Call, body: Buffer): DeleteOptions {
  const { query, request } = call;
  const schema = builtinSchema('io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions');
  const given = body.length === 0 ? {} : decodeBody(request.headers['content-type'], body, schema).object;
  return readDeleteOptions(given, query);
}

/** DeleteOptions as an object has them (a body, or a part of an Eviction). */
export function readDeleteOptions(given: Record<string, unknown>, query = new URLSearchParams()): DeleteOptions {
  const grace = given.gracePeriodSeconds ?? numberOf(query, 'gracePeriodSeconds');
  if (grace !== undefined && grace !== null && (typeof grace !== 'number' || !Number.isInteger(grace)))
    throw badRequest('gracePeriodSeconds must be a whole number of seconds');
  const orphan = given.orphanDependents ?? query.get('orphanDependents');
  const propagation = given.propagationPolicy ?? query.get('propagationPolicy') ?? legacyPropagation(orphan);
  if (propagation !== undefined && propagation !== null && !isPropagation(propagation))
    throw invalid({ group: 'meta.k8s.io', kind: 'DeleteOptions' }, '', [
      {
        path: 'propagationPolicy',
        type: 'NotSupported',
        value: propagation,
        supported: ['Background', 'Foreground', 'Orphan', 'nil'],
      },
    ]);
  const preconditions = fieldsOf(given.preconditions);
  const text = (value: unknown): string | undefined => (typeof value === 'string' && value !== '' ? value : undefined);
  const dryRun = given.dryRun;
  return {
    dryRun: checkDryRun(Array.isArray(dryRun) ? dryRun : query.getAll('dryRun'), 'DeleteOptions'),
    gracePeriodSeconds: typeof grace === 'number' ? grace : undefined,
    propagation: propagation ?? undefined,
    uid: text(preconditions.uid),
    resourceVersion: text(preconditions.resourceVersion),
  };
}

function legacyPropagation(orphan: unknown): Propagation | undefined {
  if (orphan === undefined || orphan === null) return undefined;
  return orphan === true || orphan === 'true' ? 'Orphan' : 'Background';
}
