// The URL paths of the Kubernetes API: collections, objects, subresources, and the query of a selection.
import type { Selection } from './client.ts';
import type { KubeObject, ObjectKey, Resource } from './object.ts';

/** The path of a collection: `/api/v1/namespaces/x/pods`, `/apis/apps/v1/deployments`. */
export function collectionPath(resource: Resource<KubeObject>, namespace?: string): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const scope =
    resource.namespaced && namespace !== undefined && namespace !== ''
      ? `/namespaces/${encodeURIComponent(namespace)}`
      : '';
  return `${root}${scope}/${resource.plural}`;
}

/** The path of one object or of its subresource. A RangeError where a namespaced kind comes without a namespace. */
export function objectPath(resource: Resource<KubeObject>, key: ObjectKey, subresource?: string): string {
  if (key.name === '') throw new RangeError(`a ${resource.kind} cannot be addressed without a name`);
  if (resource.namespaced && (key.namespace === undefined || key.namespace === ''))
    throw new RangeError(`${resource.kind} '${key.name}' cannot be addressed without its namespace`);
  const path = `${collectionPath(resource, key.namespace)}/${encodeURIComponent(key.name)}`;
  return subresource === undefined ? path : `${path}/${subresource}`;
}

/** The query of a selection with further parameters; undefined ones are left out. Begins with `?` unless empty. */
export function queryOf(
  selection: Pick<Selection, 'labelSelector' | 'fieldSelector'>,
  more: Readonly<Record<string, string | number | boolean | undefined>> = {},
): string {
  const query = new URLSearchParams();
  const { labelSelector, fieldSelector } = selection;
  for (const [name, value] of Object.entries({ labelSelector, fieldSelector, ...more }))
    if (value !== undefined && value !== '') query.set(name, String(value));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}
