// Acting as someone else (kubectl --as, --as-group): allowed where the sender may `impersonate` that user and groups.
import type { IncomingHttpHeaders } from 'node:http';
import { withAuthenticated } from './authenticate.ts';
import { authorize, forbiddenMessage, type PolicySource, type ResourceAttributes } from './authorize.ts';
import { anonymous, group, parseServiceAccountUser, serviceAccountGroups, type User } from './user.ts';

export type Impersonation = { readonly user: User } | { readonly forbidden: string } | { readonly invalid: string };

const extraPrefix = 'impersonate-extra-';

/**
 * The user as whom the request is to be done: the sender itself where there is no Impersonate- header. `forbidden` is
 * the message of a 403, `invalid` that of a 400. Rules: apiserver/pkg/endpoints/filters/impersonation.
 */
export function impersonate(sender: User, headers: IncomingHttpHeaders, policy: PolicySource): Impersonation {
  const name = one(headers['impersonate-user']);
  const groups = many(headers['impersonate-group']);
  const uid = one(headers['impersonate-uid']);
  const extra: Record<string, string[]> = {};
  for (const [header, value] of Object.entries(headers)) {
    if (header.startsWith(extraPrefix)) extra[decodeURIComponent(header.slice(extraPrefix.length))] = many(value);
  }
  if (name === undefined) {
    return groups.length > 0 || uid !== undefined || Object.keys(extra).length > 0
      ? { invalid: 'requested impersonation of groups, a uid or extra fields without impersonating a user' }
      : { user: sender };
  }
  const account = parseServiceAccountUser(name);
  const wanted: ResourceAttributes[] = [
    account
      ? { verb: 'impersonate', group: '', resource: 'serviceaccounts', ...account }
      : { verb: 'impersonate', group: '', resource: 'users', name },
    ...groups.map((one) => ({ verb: 'impersonate', group: '', resource: 'groups', name: one })),
    ...(uid === undefined
      ? []
      : [{ verb: 'impersonate', group: 'authentication.k8s.io', resource: 'uids', name: uid }]),
    ...Object.entries(extra).flatMap(([subresource, values]) =>
      values.map((value) => ({
        verb: 'impersonate',
        group: 'authentication.k8s.io',
        resource: 'userextras',
        subresource,
        name: value,
      })),
    ),
  ];
  for (const attributes of wanted) {
    const { allowed, reason } = authorize(sender, attributes, policy);
    if (!allowed) return { forbidden: forbiddenMessage(sender, attributes, reason) };
  }
  const given = account && groups.length === 0 ? serviceAccountGroups(account.namespace) : groups;
  const all = name === anonymous.name ? [...given, group.unauthenticated] : withAuthenticated(given);
  return { user: { name, groups: all, ...(uid !== undefined && { uid }), extra } };
}

function one(header: string | string[] | undefined): string | undefined {
  return many(header)[0];
}

/** Node joins repeated unknown headers with a comma; names of users and groups hold none. */
function many(header: string | string[] | undefined): string[] {
  return [header ?? []]
    .flat()
    .flatMap((value) => value.split(','))
    .map((value) => value.trim())
    .filter((value) => value !== '');
}
