// The review kinds: requests that are not stored but answered (may I, may they, who am I, whose token is this).
import type {
  LocalSubjectAccessReview,
  NonResourceAttributes,
  ResourceAttributes as ReviewedResource,
  SelfSubjectAccessReview,
  SelfSubjectReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  SubjectAccessReviewSpec,
  SubjectAccessReviewStatus,
  TokenReview,
  UserInfo,
} from '../../k8s/types.generated.ts';
import type { Authenticator } from './authenticate.ts';
import { type Attributes, authorize, type PolicySource, rulesOf } from './authorize.ts';
import { group, type User } from './user.ts';

/** `kubectl auth can-i`. */
export function answerSelfSubjectAccessReview(
  review: SelfSubjectAccessReview,
  user: User,
  policy: PolicySource,
): SelfSubjectAccessReview {
  return { ...review, status: decide(user, review.spec, policy) };
}

export function answerSubjectAccessReview<T extends SubjectAccessReview | LocalSubjectAccessReview>(
  review: T,
  policy: PolicySource,
): T {
  return { ...review, status: decide(userOfSpec(review.spec), review.spec, policy) };
}

/** `kubectl auth can-i --list`. */
export function answerSelfSubjectRulesReview(
  review: SelfSubjectRulesReview,
  user: User,
  policy: PolicySource,
): SelfSubjectRulesReview {
  const rules = user.groups.includes(group.masters)
    ? [
        { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
        { verbs: ['*'], nonResourceURLs: ['*'] },
      ]
    : [...rulesOf(user, review.spec.namespace, policy)].map(({ rule }) => rule);
  return {
    ...review,
    status: {
      incomplete: false,
      resourceRules: rules.filter((rule) => rule.resources !== undefined),
      nonResourceRules: rules.filter((rule) => rule.nonResourceURLs !== undefined),
    },
  };
}

/** `kubectl auth whoami`. */
export function answerSelfSubjectReview(review: SelfSubjectReview, user: User): SelfSubjectReview {
  return { ...review, status: { userInfo: userInfo(user) } };
}

export async function answerTokenReview(review: TokenReview, authenticator: Authenticator): Promise<TokenReview> {
  const { token, audiences } = review.spec;
  const found =
    token === undefined
      ? undefined
      : await authenticator.authenticateToken(token, audiences?.length ? audiences : undefined);
  return {
    ...review,
    status: found
      ? { authenticated: true, user: userInfo(found.user), audiences: [...found.audiences] }
      : { authenticated: false, error: 'the token is not valid' },
  };
}

function decide(
  user: User,
  spec: { resourceAttributes?: ReviewedResource; nonResourceAttributes?: NonResourceAttributes },
  policy: PolicySource,
): SubjectAccessReviewStatus {
  return authorize(user, attributesOf(spec), policy);
}

function attributesOf(spec: {
  resourceAttributes?: ReviewedResource;
  nonResourceAttributes?: NonResourceAttributes;
}): Attributes {
  if (spec.nonResourceAttributes)
    return { verb: spec.nonResourceAttributes.verb ?? '', path: spec.nonResourceAttributes.path ?? '' };
  const {
    verb = '',
    group: apiGroup = '',
    resource = '',
    subresource,
    name,
    namespace,
  } = spec.resourceAttributes ?? {};
  return {
    verb,
    group: apiGroup,
    resource,
    // Empty means all of them in a review, which is what an absent one means here.
    subresource: subresource || undefined,
    name: name || undefined,
    namespace: namespace || undefined,
  };
}

function userOfSpec(spec: SubjectAccessReviewSpec): User {
  return {
    name: spec.user ?? '',
    groups: spec.groups ?? [],
    ...(spec.uid !== undefined && { uid: spec.uid }),
    ...(spec.extra && { extra: spec.extra }),
  };
}

function userInfo(user: User): UserInfo {
  return {
    username: user.name,
    groups: [...user.groups],
    ...(user.uid !== undefined && { uid: user.uid }),
    ...(user.extra && {
      extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])),
    }),
  };
}
