// The review kinds: questions about access and identity, answered in the reply and stored nowhere.
import type {
  LocalSubjectAccessReview,
  SelfSubjectAccessReview,
  SelfSubjectReview,
  SelfSubjectRulesReview,
  SubjectAccessReview,
  TokenReview,
} from '../../k8s/types.generated.ts';
import type { Call } from '../api.ts';
import type { Authenticator } from '../auth/authenticate.ts';
import type { PolicySource } from '../auth/authorize.ts';
import {
  answerSelfSubjectAccessReview,
  answerSelfSubjectReview,
  answerSelfSubjectRulesReview,
  answerSubjectAccessReview,
  answerTokenReview,
} from '../auth/reviews.ts';
import { readObject } from '../body.ts';
import { typed } from '../object.ts';
import { writeOptions } from '../options.ts';
import type { ReviewKind } from '../registry.ts';
import { readBody } from '../respond.ts';
import { badRequest, methodNotAllowed } from '../schema/errors.ts';
import { builtinSchema } from '../schema/types.ts';

export async function review(
  kind: ReviewKind,
  call: Call,
  authenticator: Authenticator,
  policy: PolicySource,
): Promise<unknown> {
  if (call.info.verb !== 'create') throw methodNotAllowed({ group: kind.group, resource: kind.plural }, call.info.verb);
  const expected = {
    apiVersion: `${kind.group}/${kind.version}`,
    kind: kind.kind,
    schema: builtinSchema(kind.definition),
  };
  const object = readObject(expected, call, await readBody(call.request), writeOptions(call));
  object.spec ??= {};
  switch (kind.kind) {
    case 'TokenReview':
      return answerTokenReview(typed<TokenReview>(object), authenticator);
    case 'SelfSubjectReview':
      return answerSelfSubjectReview(typed<SelfSubjectReview>(object), call.user);
    case 'SelfSubjectAccessReview':
      return answerSelfSubjectAccessReview(typed<SelfSubjectAccessReview>(object), call.user, policy);
    case 'SelfSubjectRulesReview':
      return answerSelfSubjectRulesReview(typed<SelfSubjectRulesReview>(object), call.user, policy);
    case 'SubjectAccessReview':
      return answerSubjectAccessReview(typed<SubjectAccessReview>(object), policy);
    case 'LocalSubjectAccessReview':
      return localReview(typed<LocalSubjectAccessReview>(object), call.info.namespace, policy);
    default:
      throw badRequest(`${kind.kind} is no review kind`);
  }
}

function localReview(review: LocalSubjectAccessReview, namespace: string, policy: PolicySource): unknown {
  const asked = review.spec.resourceAttributes?.namespace;
  if (asked !== namespace)
    throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${asked ?? ''} is not ${namespace}`);
  return answerSubjectAccessReview(review, policy);
}
