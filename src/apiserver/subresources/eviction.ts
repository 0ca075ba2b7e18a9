// pods/eviction: a deletion that disruption budgets could refuse; none are served, so it is always allowed.
import type { Api, Call } from '../api.ts';
import { deleteObject } from '../delete.ts';
import type { Kind } from '../kinds.ts';
import { fieldsOf } from '../object.ts';
import { readDeleteOptions } from '../options.ts';
import { readBody } from '../respond.ts';
import { decodeBody } from '../schema/decode.ts';
import { badRequest } from '../schema/errors.ts';
import { builtinSchema } from '../schema/types.ts';
import { success } from './success.ts';

export async function evict(api: Api, kind: Kind, call: Call): Promise<unknown> {
  const { namespace, name } = call.info;
  const schema = builtinSchema('io.k8s.api.policy.v1.Eviction');
  const { object } = decodeBody(call.request.headers['content-type'], await readBody(call.request), schema);
  const named = fieldsOf(object.metadata).name;
  if (named !== undefined && named !== name)
    throw badRequest(`name in URL does not match name in Eviction object: ${name} and ${String(named)}`);
  deleteObject(api, kind, namespace, name, readDeleteOptions(fieldsOf(object.deleteOptions), call.query));
  return success(201);
}
