// Keeps the served kinds in step with the stored CustomResourceDefinitions, and deletes the objects of a deleted one.
import type { CustomResourceDefinition } from '../k8s/types.generated.ts';
import type { Api } from './api.ts';
import { cleanupFinalizer, kindsOf } from './definitions.ts';
import { deleteObject } from './delete.ts';
import { shelves } from './kinds.ts';
import { type ApiObject, typed } from './object.ts';
import { readDeleteOptions } from './options.ts';

/** Registers what is stored, then follows the changes. Call it once, before the server listens. */
export function followDefinitions(api: Api): void {
  const waiting = new Set<string>();
  const register = (object: ApiObject, gone: boolean): void => {
    const name = object.metadata.name ?? '';
    api.registry.replaceCustom(name, gone ? [] : kindsOf(typed<CustomResourceDefinition>(object)));
    // Writes wait until all listeners of this change were called: they must see the revisions in order.
    if (!gone && object.metadata.deletionTimestamp !== undefined) queueMicrotask(() => cleanUp(api, name, waiting));
  };
  for (const object of api.storage.list(shelves.definitions)) register(object, false);
  api.storage.subscribe(shelves.definitions, ({ object, deleted }) => register(object, deleted));
}

/** Deletes the objects of a terminating CRD; when the last is gone (some may wait for finalizers), the CRD goes too. */
function cleanUp(api: Api, name: string, waiting: Set<string>): void {
  const stored = api.storage.get(shelves.definitions, '', name);
  if (stored === undefined || !stored.metadata.finalizers?.includes(cleanupFinalizer)) return;
  const { spec } = typed<CustomResourceDefinition>(stored);
  const shelf = `${spec.group}/${spec.names.plural}`;
  const [kind] = kindsOf(typed<CustomResourceDefinition>(stored));
  if (kind !== undefined) {
    for (const { metadata } of api.storage.list(shelf)) {
      if (metadata.deletionTimestamp === undefined)
        deleteObject(api, kind, metadata.namespace ?? '', metadata.name ?? '', readDeleteOptions({}));
    }
  }
  if (api.storage.list(shelf).length === 0) {
    finish(api, stored);
    return;
  }
  if (waiting.has(name)) return;
  waiting.add(name);
  const unsubscribe = api.storage.subscribe(shelf, ({ deleted }) => {
    if (!deleted || api.storage.list(shelf).length > 0) return;
    unsubscribe();
    waiting.delete(name);
    queueMicrotask(() => cleanUp(api, name, waiting));
  });
}

function finish(api: Api, stored: ApiObject): void {
  const { name = '' } = stored.metadata;
  const finalizers = (stored.metadata.finalizers ?? []).filter((finalizer) => finalizer !== cleanupFinalizer);
  if (finalizers.length === 0) {
    api.storage.delete(shelves.definitions, '', name);
    return;
  }
  api.storage.put(shelves.definitions, { ...stored, metadata: { ...stored.metadata, finalizers } });
}

/** Whether new objects of a CRD are refused because it is being deleted. */
export function isTerminating(api: Api, definition: string): boolean {
  return api.storage.get(shelves.definitions, '', definition)?.metadata.deletionTimestamp !== undefined;
}
