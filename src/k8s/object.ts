// What all objects of the Kubernetes API have in common, and how one names a kind and an object.
import type { ObjectMeta } from './types.generated.ts';

/** Any object of the API: built in or custom. */
export interface KubeObject {
  apiVersion: string;
  kind: string;
  metadata: ObjectMeta;
}

/** An object that came from the API server: the server has given it these. */
export type Stored<T extends KubeObject> = T & {
  metadata: ObjectMeta & { name: string; uid: string; resourceVersion: string; creationTimestamp: string };
};

/** Where objects of one kind live in the API; the phantom field carries their type. */
export interface Resource<T extends KubeObject> {
  /** The API group; empty for core. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly objects?: T;
}

/** Which object: the name, and the namespace for a namespaced kind. */
export interface ObjectKey {
  readonly name: string;
  readonly namespace?: string | undefined;
}

export function apiVersionOf(resource: Pick<Resource<KubeObject>, 'group' | 'version'>): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** `namespace/name`, or the name alone for a cluster-scoped object: the key of maps and of messages. */
export function keyOf(object: { metadata: { name?: string; namespace?: string } } | ObjectKey): string {
  const { name = '', namespace } = 'metadata' in object ? object.metadata : object;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}
