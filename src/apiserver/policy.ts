// What decisions about access read: roles, bindings and the pods of nodes, straight from the storage.
import type { ClusterRole, ClusterRoleBinding, Pod, Role, RoleBinding } from '../k8s/types.generated.ts';
import type { PolicySource } from './auth/authorize.ts';
import { shelves } from './kinds.ts';
import { type ApiObject, typed } from './object.ts';
import type { Storage } from './storage.ts';

/** Follows the pods so that "which pods run on this node" needs no search. */
export function createPolicySource(storage: Storage): PolicySource {
  const byNode = new Map<string, Map<string, Pod>>();
  const nodeOf = (object: ApiObject): string => typed<Pod>(object).spec.nodeName ?? '';
  const add = (object: ApiObject): void => {
    const node = nodeOf(object);
    if (node === '') return;
    const pods = byNode.get(node) ?? new Map<string, Pod>();
    pods.set(object.metadata.uid ?? '', typed<Pod>(object));
    byNode.set(node, pods);
  };
  for (const object of storage.list(shelves.pods)) add(object);
  storage.subscribe(shelves.pods, ({ object, deleted }) => {
    if (deleted) byNode.get(nodeOf(object))?.delete(object.metadata.uid ?? '');
    else add(object);
  });
  const one = <T extends ApiObject | ClusterRole | Role>(
    shelf: string,
    namespace: string,
    name: string,
  ): T | undefined => {
    const object = storage.get(shelf, namespace, name);
    return object === undefined ? undefined : typed<T>(object);
  };
  return {
    clusterRole: (name) => one<ClusterRole>(shelves.clusterRoles, '', name),
    clusterRoles: () => storage.list(shelves.clusterRoles).map((object) => typed<ClusterRole>(object)),
    role: (namespace, name) => one<Role>(shelves.roles, namespace, name),
    clusterRoleBindings: () =>
      storage.list(shelves.clusterRoleBindings).map((object) => typed<ClusterRoleBinding>(object)),
    roleBindings: (namespace) =>
      storage.list(shelves.roleBindings, namespace).map((object) => typed<RoleBinding>(object)),
    podsOnNode: (node) => [...(byNode.get(node)?.values() ?? [])],
  };
}
