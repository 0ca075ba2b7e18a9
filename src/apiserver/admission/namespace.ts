// Objects live in a namespace that exists and is not being deleted (kubernetes, NamespaceLifecycle admission).
import { type Kind, resourceOf, shelves } from '../kinds.ts';
import type { ApiObject } from '../object.ts';
import { forbidden, notFound } from '../schema/errors.ts';
import type { Storage } from '../storage.ts';

/** Namespaces that cannot be deleted: the cluster's own. */
export const immortal: ReadonlySet<string> = new Set(['default', 'kube-system', 'kube-public']);

/** Throws 404 where the new object's namespace is not there, 403 where it is terminating. */
export function checkNamespace(storage: Storage, kind: Kind, object: ApiObject): void {
  if (!kind.namespaced) return;
  const { namespace = '', name = '' } = object.metadata;
  const found = storage.get(shelves.namespaces, '', namespace);
  if (found === undefined) throw notFound({ group: '', resource: 'namespaces' }, namespace);
  if (found.metadata.deletionTimestamp === undefined) return;
  throw forbidden(
    resourceOf(kind),
    name,
    `unable to create new content in namespace ${namespace} because it is being terminated`,
    [
      {
        reason: 'NamespaceTerminating',
        message: `namespace ${namespace} is being terminated`,
        field: 'metadata.namespace',
      },
    ],
  );
}
