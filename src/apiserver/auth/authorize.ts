// May this user do this? Role-based access control (RBAC) as a pure function of the stored roles and bindings.
// Matching as Kubernetes' pkg/apis/rbac/v1/evaluation_helpers.go does it.
import type {
  ClusterRole,
  ClusterRoleBinding,
  Pod,
  PolicyRule,
  Role,
  RoleBinding,
  Subject,
} from '../../k8s/types.generated.ts';
import { authorizeNode } from './node.ts';
import { group as groups, nodeOf, serviceAccountUser, type User } from './user.ts';

/** What is asked for: an object of the API, or a path beside it such as /metrics. */
export type Attributes = ResourceAttributes | PathAttributes;

export interface ResourceAttributes {
  readonly verb: string;
  /** Empty for the core group. */
  readonly group: string;
  readonly resource: string;
  readonly subresource?: string | undefined;
  /** For list and watch: the value of the field selector metadata.name, where there is one. */
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
}

export interface PathAttributes {
  readonly verb: string;
  readonly path: string;
}

/** The API server's own storage, as far as decisions about access read it. */
export interface PolicySource {
  clusterRole(name: string): ClusterRole | undefined;
  clusterRoles(): readonly ClusterRole[];
  role(namespace: string, name: string): Role | undefined;
  clusterRoleBindings(): readonly ClusterRoleBinding[];
  roleBindings(namespace: string): readonly RoleBinding[];
  /** The pods bound to this node: what a kubelet may read depends on them. */
  podsOnNode(nodeName: string): readonly Pod[];
  /** Lets a node that writes to a pod which has gone be told so (404) in place of being refused. */
  pod?(namespace: string, name: string): Pod | undefined;
}

export interface Decision {
  readonly allowed: boolean;
  /** Which binding allows it; why not, where more can be said than that nothing allows it. */
  readonly reason: string;
}

/** A rule together with what grants it. */
export interface GrantedRule {
  readonly rule: PolicyRule;
  readonly reason: string;
}

/** system:masters may do all; then nodes by what runs on them (node.ts); then RBAC. Nothing is denied explicitly. */
export function authorize(user: User, attributes: Attributes, policy: PolicySource): Decision {
  if (user.groups.includes(groups.masters)) return { allowed: true, reason: '' };
  let reason = '';
  const nodeName = nodeOf(user);
  if (nodeName !== undefined && !('path' in attributes)) {
    const decision = authorizeNode(nodeName, attributes, policy);
    if (decision.allowed) return decision;
    reason = decision.reason;
  }
  const namespace = 'path' in attributes ? undefined : attributes.namespace;
  for (const granted of rulesOf(user, namespace, policy)) {
    if (ruleAllows(granted.rule, attributes)) return { allowed: true, reason: granted.reason };
  }
  return { allowed: false, reason };
}

/** The text of the 403, as Kubernetes words it (apiserver/pkg/endpoints/handlers/responsewriters/errors.go). */
export function forbiddenMessage(user: User, attributes: Attributes, reason = ''): string {
  const suffix = reason === '' ? '' : `: ${reason}`;
  const who = `User ${JSON.stringify(user.name)} cannot ${attributes.verb}`;
  if ('path' in attributes) return `forbidden: ${who} path ${JSON.stringify(attributes.path)}${suffix}`;
  const { group, resource, subresource, name, namespace } = attributes;
  const what = subresource ? `${resource}/${subresource}` : resource;
  const kind = group === '' ? resource : `${resource}.${group}`;
  const object = name ? `${kind} ${JSON.stringify(name)} is forbidden` : `${kind} is forbidden`;
  const where = namespace ? `in the namespace ${JSON.stringify(namespace)}` : 'at the cluster scope';
  return `${object}: ${who} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}${suffix}`;
}

/** Every rule that holds for the user: in the cluster, and in the namespace where one is given. */
export function* rulesOf(user: User, namespace: string | undefined, policy: PolicySource): Generator<GrantedRule> {
  for (const binding of policy.clusterRoleBindings()) {
    const subject = binding.subjects?.find((one) => isSubject(one, user, ''));
    if (subject === undefined) continue;
    const role = policy.clusterRole(binding.roleRef.name);
    const reason = `RBAC: allowed by ClusterRoleBinding ${JSON.stringify(binding.metadata.name)} of ClusterRole ${JSON.stringify(binding.roleRef.name)} to ${describe(subject)}`;
    for (const rule of clusterRoleRules(role, policy)) yield { rule, reason };
  }
  if (!namespace) return;
  for (const binding of policy.roleBindings(namespace)) {
    const subject = binding.subjects?.find((one) => isSubject(one, user, namespace));
    if (subject === undefined) continue;
    const { kind, name } = binding.roleRef;
    const rules =
      kind === 'ClusterRole'
        ? clusterRoleRules(policy.clusterRole(name), policy)
        : (policy.role(namespace, name)?.rules ?? []);
    const where = JSON.stringify(`${binding.metadata.name}/${namespace}`);
    const reason = `RBAC: allowed by RoleBinding ${where} of ${kind} ${JSON.stringify(name)} to ${describe(subject)}`;
    for (const rule of rules) yield { rule, reason };
  }
}

/** The role's own rules and those of the roles that its aggregationRule selects. */
function clusterRoleRules(role: ClusterRole | undefined, policy: PolicySource): PolicyRule[] {
  const selectors = role?.aggregationRule?.clusterRoleSelectors ?? [];
  const aggregated = selectors.length === 0 ? [] : policy.clusterRoles().filter((one) => one !== role);
  return [
    ...(role?.rules ?? []),
    ...aggregated
      .filter((one) =>
        selectors.some(({ matchLabels = {} }) => {
          const wanted = Object.entries(matchLabels);
          return wanted.length > 0 && wanted.every(([key, value]) => one.metadata.labels?.[key] === value);
        }),
      )
      .flatMap((one) => one.rules ?? []),
  ];
}

function isSubject(subject: Subject, user: User, bindingNamespace: string): boolean {
  switch (subject.kind) {
    case 'User':
      return subject.name === user.name;
    case 'Group':
      return user.groups.includes(subject.name);
    case 'ServiceAccount': {
      const namespace = subject.namespace || bindingNamespace;
      return namespace !== '' && serviceAccountUser(namespace, subject.name) === user.name;
    }
    default:
      return false;
  }
}

function describe(subject: Subject): string {
  const name = subject.namespace ? `${subject.name}/${subject.namespace}` : subject.name;
  return `${subject.kind} ${JSON.stringify(name)}`;
}

export function ruleAllows(rule: PolicyRule, attributes: Attributes): boolean {
  if (!includes(rule.verbs, attributes.verb)) return false;
  if ('path' in attributes)
    return (rule.nonResourceURLs ?? []).some(
      (url) =>
        url === '*' || url === attributes.path || (url.endsWith('*') && attributes.path.startsWith(url.slice(0, -1))),
    );
  const { group, resource, subresource, name } = attributes;
  if (!includes(rule.apiGroups, group)) return false;
  const what = subresource ? `${resource}/${subresource}` : resource;
  const matches = rule.resources?.some(
    (one) =>
      one === '*' || one === what || (subresource !== undefined && subresource !== '' && one === `*/${subresource}`),
  );
  if (!matches) return false;
  return !rule.resourceNames?.length || (name !== undefined && rule.resourceNames.includes(name));
}

function includes(allowed: readonly string[] | undefined, value: string): boolean {
  return allowed?.some((one) => one === '*' || one === value) ?? false;
}
