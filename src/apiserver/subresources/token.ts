// serviceaccounts/token: a token for a ServiceAccount, bound to a pod where asked (TokenRequest).
import type { TokenRequest } from '../../k8s/types.generated.ts';
import type { Api, Call } from '../api.ts';
import type { TokenIssuer } from '../auth/tokens.ts';
import { readObject } from '../body.ts';
import { type Kind, shelves } from '../kinds.ts';
import { typed } from '../object.ts';
import { writeOptions } from '../options.ts';
import { find } from '../read.ts';
import { readBody } from '../respond.ts';
import { badRequest, conflict, invalid, notFound } from '../schema/errors.ts';
import { builtinSchema } from '../schema/types.ts';

const pods = { group: '', resource: 'pods' };

function boundPod(api: Api, namespace: string, request: TokenRequest): { name: string; uid: string } | undefined {
  const reference = request.spec.boundObjectRef;
  if (reference === undefined) return undefined;
  if (reference.kind !== 'Pod' || reference.apiVersion !== 'v1')
    throw badRequest(`cannot bind token for object of type ${reference.apiVersion}, Kind=${reference.kind}`);
  const name = reference.name ?? '';
  const pod = api.storage.get(shelves.pods, namespace, name);
  if (pod === undefined) throw notFound(pods, name);
  const uid = pod.metadata.uid ?? '';
  if (reference.uid && reference.uid !== uid)
    throw conflict(
      pods,
      name,
      `the UID in the bound object reference (${reference.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  return { name, uid };
}

export async function createToken(
  api: Api,
  kind: Kind,
  call: Call,
  tokens: TokenIssuer,
  issuer: string,
): Promise<unknown> {
  const { namespace, name } = call.info;
  const account = find(api, kind, namespace, name);
  const body = await readBody(call.request);
  const request = typed<TokenRequest>(
    readObject(
      {
        apiVersion: 'authentication.k8s.io/v1',
        kind: 'TokenRequest',
        schema: builtinSchema('io.k8s.api.authentication.v1.TokenRequest'),
      },
      call,
      body,
      writeOptions(call),
    ),
  );
  const spec = request.spec ?? { audiences: [] };
  const audiences = spec.audiences?.length ? spec.audiences : [issuer];
  const expirationSeconds = spec.expirationSeconds ?? 3600;
  const pod = boundPod(api, namespace, { ...request, spec });
  try {
    const status = await tokens.issueToken({
      serviceAccount: { namespace, name, uid: account.metadata.uid ?? '' },
      audiences,
      expirationSeconds,
      ...(pod === undefined ? {} : { boundPod: pod }),
    });
    return { ...request, metadata: { name, namespace }, spec: { ...spec, audiences, expirationSeconds }, status };
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw invalid({ group: 'authentication.k8s.io', kind: 'TokenRequest' }, '', [
      {
        path: 'spec.expirationSeconds',
        type: 'Invalid',
        value: expirationSeconds,
        detail: error.message.replace(/^spec\.expirationSeconds: /, ''),
      },
    ]);
  }
}
