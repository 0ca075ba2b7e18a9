// create, update and patch: from the request's body to the store.
import { randomUUID } from 'node:crypto';
import type { ManagedFieldsEntry } from '../k8s/types.generated.ts';
import { checkGrant } from './admission/grants.ts';
import { awaitServiceAccount } from './admission/pod.ts';
import { type Api, type Call, timestamp } from './api.ts';
import type { User } from './auth/authenticate.ts';
import { checkObject, expectedOf, readObject } from './body.ts';
import { isFinished } from './delete.ts';
import { apiVersionOf, type Kind, resourceOf, shelves } from './kinds.ts';
import { checkName, fillName } from './names.ts';
import { type ApiObject, isFields, sameJson } from './object.ts';
import { type WriteOptions, writeOptions } from './options.ts';
import { find, present } from './read.ts';
import { readBody } from './respond.ts';
import { serverSideApply } from './schema/apply.ts';
import { decodeBody } from './schema/decode.ts';
import { alreadyExists, badRequest, conflict, invalid, notFound, unsupportedMediaType } from './schema/errors.ts';
import { trackUpdate } from './schema/managed-fields.ts';
import { applyPatch } from './schema/patch.ts';
import { prepareCreate, prepareUpdate } from './strategy.ts';

/** Stores an object of a kind, and returns it as the kind shows it; a dry run only returns it. */
function store(api: Api, kind: Kind, object: ApiObject, dryRun: boolean): ApiObject {
  if (dryRun) return object;
  return present(kind, api.storage.put(kind.storage, kind.view === undefined ? object : kind.view.write(object)));
}

function setManagedFields(object: ApiObject, entries: ManagedFieldsEntry[] | undefined): void {
  if (entries === undefined || entries.length === 0) delete object.metadata.managedFields;
  else object.metadata.managedFields = entries;
}

function placeInNamespace(kind: Kind, object: ApiObject, namespace: string): void {
  const { metadata } = object;
  if (!kind.namespaced) {
    delete metadata.namespace;
    return;
  }
  if (metadata.namespace && metadata.namespace !== namespace)
    throw badRequest('the namespace of the provided object does not match the namespace sent on the request');
  metadata.namespace = namespace;
}

/** What only the server sets, as it is on a new object. */
function freshMetadata(object: ApiObject, now: Date): void {
  const { metadata } = object;
  for (const field of [
    'resourceVersion',
    'selfLink',
    'generation',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
  ] as const)
    delete metadata[field];
  metadata.uid = randomUUID();
  metadata.creationTimestamp = timestamp(now);
}

export interface CreateOptions {
  readonly dryRun: boolean;
  readonly manager: string;
  /** The fields' owners where the caller knows them (server-side apply). */
  readonly managedFields?: ManagedFieldsEntry[];
  /** Who writes it; the server itself where absent. */
  readonly user?: User;
}

/** Creates an object whose fields are checked. Throws what admission and validation have against it. */
export function createObject(
  api: Api,
  kind: Kind,
  object: ApiObject,
  namespace: string,
  options: CreateOptions,
): ApiObject {
  placeInNamespace(kind, object, namespace);
  const { metadata } = object;
  if (metadata.resourceVersion) throw badRequest('resourceVersion should not be set on objects to be created');
  fillName(object);
  freshMetadata(object, api.now());
  delete metadata.managedFields;
  prepareCreate(api, kind, object);
  if (options.user !== undefined) checkGrant(api.policy, options.user, kind, object, undefined);
  const name = metadata.name ?? '';
  if (api.storage.get(kind.storage, metadata.namespace ?? '', name) !== undefined)
    throw alreadyExists(resourceOf(kind), name);
  setManagedFields(
    object,
    options.managedFields ??
      trackUpdate({
        old: undefined,
        updated: object,
        schema: kind.schema(),
        manager: options.manager,
        apiVersion: apiVersionOf(kind),
        now: api.now(),
      }),
  );
  return store(api, kind, object, options.dryRun);
}

export interface Update {
  /** Empty for the object itself. */
  readonly subresource: string;
  readonly dryRun: boolean;
  readonly manager: string;
  /** Makes the new state out of a copy of the present one; it may change that copy. */
  readonly change: (old: ApiObject) => ApiObject;
  /** Whether `change` has set managedFields itself (server-side apply). */
  readonly ownsFields?: boolean;
  /** Who writes it; the server itself where absent. */
  readonly user?: User;
}

/** Replaces an object. Returns the stored state: the present one where nothing changes. */
export function updateObject(api: Api, kind: Kind, namespace: string, name: string, update: Update): ApiObject {
  const old = present(kind, find(api, kind, namespace, name));
  const object = update.change(structuredClone(old));
  checkName(object, name);
  placeInNamespace(kind, object, namespace);
  checkPreconditions(kind, object, old);
  keepSystemFields(object, old, update.ownsFields === true);
  prepareUpdate(api, kind, object, old, update.subresource);
  checkFinalizers(kind, object, old);
  if (update.user !== undefined) checkGrant(api.policy, update.user, kind, object, old);
  if (update.ownsFields !== true) {
    const subresource = update.subresource === '' ? {} : { subresource: update.subresource };
    setManagedFields(
      object,
      trackUpdate({
        old,
        updated: object,
        schema: kind.schema(),
        manager: update.manager,
        apiVersion: apiVersionOf(kind),
        now: api.now(),
        ...subresource,
      }),
    );
  }
  if (sameJson(object, old)) return old;
  if (isFinished(object) && !update.dryRun) return finish(api, kind, object);
  return store(api, kind, object, update.dryRun);
}

/** The last finalizer is gone: the object goes too. */
function finish(api: Api, kind: Kind, object: ApiObject): ApiObject {
  const { namespace = '', name = '' } = object.metadata;
  return present(kind, api.storage.delete(kind.storage, namespace, name) ?? object);
}

function checkPreconditions(kind: Kind, object: ApiObject, old: ApiObject): void {
  const { uid, resourceVersion, name = '' } = object.metadata;
  if (uid && uid !== old.metadata.uid)
    throw conflict(
      resourceOf(kind),
      name,
      `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${old.metadata.uid}`,
    );
  if (resourceVersion && resourceVersion !== '0' && resourceVersion !== old.metadata.resourceVersion)
    throw conflict(resourceOf(kind), name);
}

function keepSystemFields(object: ApiObject, old: ApiObject, ownsFields: boolean): void {
  const fields = [
    'uid',
    'resourceVersion',
    'creationTimestamp',
    'deletionTimestamp',
    'deletionGracePeriodSeconds',
    'generation',
    'generateName',
    ...(ownsFields ? [] : (['managedFields'] as const)),
  ] as const;
  const kept: Partial<ApiObject['metadata']> = {};
  for (const field of fields) {
    delete object.metadata[field];
    if (old.metadata[field] !== undefined) Object.assign(kept, { [field]: old.metadata[field] });
  }
  delete object.metadata.selfLink;
  Object.assign(object.metadata, kept);
}

/** An object that is being deleted gets no new finalizers. */
function checkFinalizers(kind: Kind, object: ApiObject, old: ApiObject): void {
  if (old.metadata.deletionTimestamp === undefined) return;
  const before = new Set(old.metadata.finalizers ?? []);
  const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
  if (added.length === 0) return;
  throw invalid({ group: kind.group, kind: kind.kind }, object.metadata.name ?? '', [
    {
      path: 'metadata.finalizers',
      type: 'Forbidden',
      detail: `no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((text) => JSON.stringify(text)).join(', ')}}`,
    },
  ]);
}

/** POST. */
export async function create(api: Api, kind: Kind, call: Call): Promise<ApiObject> {
  const options = writeOptions(call);
  const object = readObject(expectedOf(kind), call, await readBody(call.request), options);
  if (kind.storage === shelves.pods) await awaitServiceAccount(object, call.info.namespace, api.storage);
  return createObject(api, kind, object, call.info.namespace, { ...options, user: call.user });
}

/** PUT, of the object or of its status or finalizers. */
export async function update(api: Api, kind: Kind, call: Call): Promise<ApiObject> {
  const { namespace, name, subresource } = call.info;
  const options = writeOptions(call);
  const object = readObject(expectedOf(kind), call, await readBody(call.request), options);
  return updateObject(api, kind, namespace, name, { ...options, user: call.user, subresource, change: () => object });
}

const patchTypes: Readonly<Record<string, 'json' | 'merge' | 'strategic' | 'apply'>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};

/** The patch form that the content type names. Throws 415 for others. */
export function patchTypeOf(contentType: string | undefined): 'json' | 'merge' | 'strategic' | 'apply' {
  const type = patchTypes[contentType?.split(';')[0]?.trim().toLowerCase() ?? ''];
  if (type === undefined)
    throw unsupportedMediaType(
      `the body of the request was in an unknown format - accepted media types include: ${Object.keys(patchTypes).join(', ')}`,
    );
  return type;
}

/** The patch as data. Throws 400 where it is no JSON. */
export function readPatch(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch (error) {
    throw badRequest(`error decoding patch: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** PATCH. The answer says whether the object was created, which server-side apply does where there is none. */
export async function patch(api: Api, kind: Kind, call: Call): Promise<{ object: ApiObject; created: boolean }> {
  const type = patchTypeOf(call.request.headers['content-type']);
  const options = writeOptions(call);
  const body = await readBody(call.request);
  if (type === 'apply') return apply(api, kind, call, body, options);
  const { namespace, name, subresource } = call.info;
  const data = readPatch(body);
  const change = (old: ApiObject): ApiObject => {
    const patched: unknown = applyPatch(type, old, data, kind.schema());
    if (!isFields(patched)) throw badRequest('the patched object is not an object');
    return checkObject(expectedOf(kind), patched, call, options);
  };
  return {
    object: updateObject(api, kind, namespace, name, { ...options, user: call.user, subresource, change }),
    created: false,
  };
}

function apply(
  api: Api,
  kind: Kind,
  call: Call,
  body: Buffer,
  options: WriteOptions,
): { object: ApiObject; created: boolean } {
  const { namespace, name, subresource } = call.info;
  if (!call.query.get('fieldManager'))
    throw invalid({ group: 'meta.k8s.io', kind: 'PatchOptions' }, '', [
      { path: 'fieldManager', type: 'Required', detail: 'is required for apply patch' },
    ]);
  const { object, duplicates } = decodeBody('application/yaml', body, kind.schema());
  const applied = checkObject(expectedOf(kind), object, call, options, duplicates);
  if (applied.metadata.managedFields !== undefined) throw badRequest('metadata.managedFields must be nil');
  applied.metadata.name ??= name;
  checkName(applied, name);
  if (kind.namespaced) applied.metadata.namespace ??= namespace;
  const merge = (live: ApiObject | undefined): ApiObject => {
    const result = serverSideApply({
      live,
      applied,
      schema: kind.schema(),
      manager: options.manager,
      force: call.query.get('force') === 'true',
      apiVersion: apiVersionOf(kind),
      now: api.now(),
      ...(subresource === '' ? {} : { subresource }),
    });
    const { metadata } = result.object;
    const merged: ApiObject = {
      ...result.object,
      apiVersion: apiVersionOf(kind),
      kind: kind.kind,
      metadata: isFields(metadata) ? metadata : {},
    };
    setManagedFields(merged, result.managedFields);
    return merged;
  };
  if (api.storage.get(kind.storage, kind.namespaced ? namespace : '', name) === undefined) {
    if (subresource !== '') throw notFound(resourceOf(kind), name);
    if (applied.metadata.uid)
      throw conflict(
        resourceOf(kind),
        name,
        `uid mismatch: the provided object specified uid ${applied.metadata.uid}, and no existing object was found`,
      );
    const merged = merge(undefined);
    const managedFields = merged.metadata.managedFields ?? [];
    return {
      object: createObject(api, kind, merged, namespace, { ...options, user: call.user, managedFields }),
      created: true,
    };
  }
  const update: Update = { ...options, user: call.user, subresource, change: merge, ownsFields: true };
  return { object: updateObject(api, kind, namespace, name, update), created: false };
}
