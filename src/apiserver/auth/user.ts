// Who sends a request, and the names that Kubernetes gives to identities.

/** An authenticated identity (authentication.k8s.io UserInfo). */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly uid?: string;
  readonly extra?: Readonly<Record<string, readonly string[]>>;
}

export const group = {
  masters: 'system:masters',
  nodes: 'system:nodes',
  authenticated: 'system:authenticated',
  unauthenticated: 'system:unauthenticated',
  serviceAccounts: 'system:serviceaccounts',
} as const;

export const anonymous: User = { name: 'system:anonymous', groups: [group.unauthenticated] };

const serviceAccountPrefix = 'system:serviceaccount:';
const nodePrefix = 'system:node:';

export const serviceAccountUser = (namespace: string, name: string): string =>
  `${serviceAccountPrefix}${namespace}:${name}`;

/** The groups that every ServiceAccount of the namespace belongs to. */
export const serviceAccountGroups = (namespace: string): string[] => [
  group.serviceAccounts,
  `${group.serviceAccounts}:${namespace}`,
];

/** The namespace and name in `system:serviceaccount:NAMESPACE:NAME`. */
export function parseServiceAccountUser(user: string): { namespace: string; name: string } | undefined {
  if (!user.startsWith(serviceAccountPrefix)) return undefined;
  const [namespace, name, ...more] = user.slice(serviceAccountPrefix.length).split(':');
  return namespace && name && more.length === 0 ? { namespace, name } : undefined;
}

/** The node's name where the user is a kubelet: `system:node:NAME` in the group system:nodes. */
export function nodeOf(user: User): string | undefined {
  return user.groups.includes(group.nodes) && user.name.startsWith(nodePrefix)
    ? user.name.slice(nodePrefix.length)
    : undefined;
}
