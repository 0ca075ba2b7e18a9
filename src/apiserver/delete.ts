// delete and deletecollection: grace, finalizers, what happens to dependents (apiserver, pkg/registry/generic/registry/store.go).
import { immortal } from './admission/namespace.ts';
import { type Api, type Call, timestamp } from './api.ts';
import { type Kind, resourceOf, shelves } from './kinds.ts';
import { type ApiObject, sameJson, valueAt } from './object.ts';
import { type DeleteOptions, deleteOptions, type Propagation } from './options.ts';
import { find, present, select } from './read.ts';
import { addWarnings, readBody } from './respond.ts';
import { conflict, forbidden } from './schema/errors.ts';

/** Finalizers that the garbage collector acts on. */
const orphanFinalizer = 'orphan';
const foregroundFinalizer = 'foregroundDeletion';

const finalizersOf = (object: ApiObject): readonly string[] => object.metadata.finalizers ?? [];

/** A namespace's own finalizers are in its spec: its content goes before it. */
function specFinalizers(object: ApiObject): readonly unknown[] {
  const finalizers = object.kind === 'Namespace' ? valueAt(object, 'spec', 'finalizers') : undefined;
  return Array.isArray(finalizers) ? finalizers : [];
}

/** Whether an object that is being deleted has nothing left to wait for. */
export function isFinished(object: ApiObject): boolean {
  const { deletionTimestamp, deletionGracePeriodSeconds } = object.metadata;
  if (deletionTimestamp === undefined) return false;
  return (
    finalizersOf(object).length === 0 && specFinalizers(object).length === 0 && (deletionGracePeriodSeconds ?? 0) === 0
  );
}

export interface Deletion {
  /** The last state of the object, or its state while it waits for its finalizers or its kubelet. */
  readonly object: ApiObject;
  /** Whether it is gone. */
  readonly gone: boolean;
}

function checkPreconditions(kind: Kind, object: ApiObject, options: DeleteOptions): void {
  const { uid, resourceVersion, name = '' } = object.metadata;
  if (options.uid !== undefined && options.uid !== uid)
    throw conflict(
      resourceOf(kind),
      name,
      `Precondition failed: UID in precondition: ${options.uid}, UID in object meta: ${uid}`,
    );
  if (options.resourceVersion !== undefined && options.resourceVersion !== resourceVersion)
    throw conflict(
      resourceOf(kind),
      name,
      `Precondition failed: ResourceVersion in precondition: ${options.resourceVersion}, ResourceVersion in object meta: ${resourceVersion}`,
    );
}

/** The finalizers that the wished propagation gives the object. Jobs keep their pods where nothing is said. */
function finalizersFor(kind: Kind, object: ApiObject, propagation: Propagation | undefined): string[] {
  const before = finalizersOf(object);
  const others = before.filter((finalizer) => finalizer !== orphanFinalizer && finalizer !== foregroundFinalizer);
  if (propagation === 'Orphan') return [...others, orphanFinalizer];
  if (propagation === 'Foreground') return [...others, foregroundFinalizer];
  if (propagation === 'Background') return others;
  if (before.includes(orphanFinalizer)) return [...others, orphanFinalizer];
  if (before.includes(foregroundFinalizer)) return [...others, foregroundFinalizer];
  return kind.storage === 'batch/jobs' ? [...others, orphanFinalizer] : others;
}

/** Seconds that the object still has: only a pod on a node gets any. */
function graceFor(kind: Kind, object: ApiObject, options: DeleteOptions): number {
  if (kind.storage !== shelves.pods) return 0;
  const phase = valueAt(object, 'status', 'phase');
  if (!valueAt(object, 'spec', 'nodeName') || phase === 'Failed' || phase === 'Succeeded') return 0;
  const own = valueAt(object, 'spec', 'terminationGracePeriodSeconds');
  const wanted = options.gracePeriodSeconds ?? (typeof own === 'number' ? own : 30);
  return wanted < 0 ? 1 : wanted;
}

/** The metadata of an object that is to go after `grace` seconds; a deletion under way is only ever brought forward. */
function markDeleted(object: ApiObject, grace: number, now: Date): ApiObject {
  const { metadata } = object;
  const running = metadata.deletionTimestamp;
  const generation = metadata.generation === undefined ? {} : { generation: metadata.generation + 1 };
  if (running === undefined) {
    const at = new Date(now.getTime() + grace * 1000);
    return {
      ...object,
      metadata: { ...metadata, ...generation, deletionTimestamp: timestamp(at), deletionGracePeriodSeconds: grace },
    };
  }
  const before = metadata.deletionGracePeriodSeconds ?? 0;
  if (grace >= before) return object;
  const at = new Date(Date.parse(running) - (before - grace) * 1000);
  return {
    ...object,
    metadata: { ...metadata, deletionTimestamp: timestamp(at), deletionGracePeriodSeconds: grace },
  };
}

/** Deletes an object, or begins to. */
export function deleteObject(api: Api, kind: Kind, namespace: string, name: string, options: DeleteOptions): Deletion {
  const stored = find(api, kind, namespace, name);
  checkPreconditions(kind, stored, options);
  if (kind.storage === shelves.namespaces && immortal.has(name))
    throw forbidden(resourceOf(kind), name, 'this namespace may not be deleted');
  const grace = graceFor(kind, stored, options);
  const finalizers = finalizersFor(kind, stored, options.propagation);
  const waits = finalizers.length > 0 || specFinalizers(stored).length > 0 || grace > 0;
  if (!waits) {
    const last = options.dryRun ? stored : (api.storage.delete(kind.storage, namespace, name) ?? stored);
    return { object: present(kind, last), gone: true };
  }
  const marked = markDeleted(stored, grace, api.now());
  const next: ApiObject = { ...marked, metadata: { ...marked.metadata, finalizers } };
  if (finalizers.length === 0) delete next.metadata.finalizers;
  if (kind.storage === shelves.namespaces) next.status = { ...next.status, phase: 'Terminating' };
  if (options.dryRun || sameJson(next, stored)) return { object: present(kind, next), gone: false };
  return { object: present(kind, api.storage.put(kind.storage, next)), gone: false };
}

/** Kinds whose deletion answers with the object; the others answer with a Status. */
const answersWithObject: ReadonlySet<string> = new Set([shelves.pods, shelves.services, shelves.serviceAccounts]);

/** DELETE of one object. */
export async function remove(api: Api, kind: Kind, call: Call): Promise<unknown> {
  const { namespace, name } = call.info;
  const options = deleteOptions(call, await readBody(call.request));
  const { object, gone } = deleteObject(api, kind, namespace, name, options);
  if (kind.storage === 'batch/jobs' && options.propagation === undefined)
    addWarnings(call.response, [
      'child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning',
    ]);
  if (!gone || answersWithObject.has(kind.storage)) return object;
  return {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name,
      ...(kind.group === '' ? {} : { group: kind.group }),
      kind: kind.plural,
      uid: object.metadata.uid,
    },
  };
}

/** DELETE of a collection: the selected objects, each as by itself. */
export async function removeCollection(api: Api, kind: Kind, call: Call): Promise<unknown> {
  const options = deleteOptions(call, await readBody(call.request));
  const namespace = kind.namespaced && call.info.namespace !== '' ? call.info.namespace : undefined;
  const chosen = select(kind, call, api.storage.list(kind.storage, namespace));
  const items = chosen.map(
    ({ metadata }) => deleteObject(api, kind, metadata.namespace ?? '', metadata.name ?? '', options).object,
  );
  return {
    kind: `${kind.kind}List`,
    apiVersion: kind.group === '' ? kind.version : `${kind.group}/${kind.version}`,
    metadata: { resourceVersion: String(api.storage.revision) },
    items,
  };
}
