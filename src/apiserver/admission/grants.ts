// Nobody grants more than they have: roles and bindings are checked against the rights of who writes them
// (kubernetes, pkg/registry/rbac/escalation_check.go).
import type { ClusterRole, PolicyRule, Role } from '../../k8s/types.generated.ts';
import { type Attributes, authorize, type PolicySource, ruleAllows, rulesOf } from '../auth/authorize.ts';
import { group, type User } from '../auth/user.ts';
import { type Kind, resourceOf } from '../kinds.ts';
import { type ApiObject, sameJson, textAt, typed } from '../object.ts';
import { forbidden } from '../schema/errors.ts';

const rbac = 'rbac.authorization.k8s.io';

/** Every single right that a rule names. */
function* rightsOf(rule: PolicyRule, namespace: string): Generator<Attributes> {
  for (const verb of rule.verbs) {
    for (const path of rule.nonResourceURLs ?? []) yield { verb, path };
    for (const apiGroup of rule.apiGroups ?? [])
      for (const full of rule.resources ?? []) {
        const [resource = '', subresource] = full.split('/');
        for (const name of rule.resourceNames?.length ? rule.resourceNames : [undefined])
          yield { verb, group: apiGroup, resource, subresource, name, namespace };
      }
  }
}

/** The rules that an object grants, and the verb on which resource that allows granting them regardless. */
interface Grant {
  readonly rules: readonly PolicyRule[];
  readonly verb: 'escalate' | 'bind';
  readonly resource: string;
  readonly name: string;
}

function grantOf(kind: Kind, object: ApiObject, policy: PolicySource): Grant | undefined {
  const { name = '', namespace = '' } = object.metadata;
  if (kind.plural === 'roles' || kind.plural === 'clusterroles') {
    return { rules: typed<Role | ClusterRole>(object).rules ?? [], verb: 'escalate', resource: kind.plural, name };
  }
  if (kind.plural !== 'rolebindings' && kind.plural !== 'clusterrolebindings') return undefined;
  const reference = { kind: textAt(object, 'roleRef', 'kind'), name: textAt(object, 'roleRef', 'name') };
  const cluster = reference.kind === 'ClusterRole';
  const role = cluster ? policy.clusterRole(reference.name) : policy.role(namespace, reference.name);
  return {
    rules: role?.rules ?? [],
    verb: 'bind',
    resource: cluster ? 'clusterroles' : 'roles',
    name: reference.name,
  };
}

/** Throws 403 where the object grants rights that the user has not, and may not grant regardless. */
export function checkGrant(
  policy: PolicySource,
  user: User,
  kind: Kind,
  object: ApiObject,
  old: ApiObject | undefined,
): void {
  if (kind.group !== rbac || user.groups.includes(group.masters)) return;
  if (old !== undefined && sameJson(old.rules, object.rules) && sameJson(old.subjects, object.subjects)) return;
  const grant = grantOf(kind, object, policy);
  if (grant === undefined) return;
  const { namespace } = object.metadata;
  const regardless = { verb: grant.verb, group: rbac, resource: grant.resource, name: grant.name, namespace };
  if (authorize(user, regardless, policy).allowed) return;
  const held = [...rulesOf(user, namespace, policy)];
  const missing = grant.rules.filter((rule) =>
    [...rightsOf(rule, namespace ?? '')].some((right) => !held.some((one) => ruleAllows(one.rule, right))),
  );
  if (missing.length === 0) return;
  const groups = user.groups.map((name) => JSON.stringify(name)).join(' ');
  throw forbidden(
    resourceOf(kind),
    object.metadata.name ?? '',
    `user ${JSON.stringify(user.name)} (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${missing.map((rule) => JSON.stringify(rule)).join('\n')}`,
  );
}
