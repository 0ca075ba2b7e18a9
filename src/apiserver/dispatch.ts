// Which part of the server answers a request for a resource.
import type { Api, Call } from './api.ts';
import type { Authenticator } from './auth/authenticate.ts';
import type { TokenIssuer } from './auth/tokens.ts';
import { isTerminating } from './custom-resources.ts';
import { remove, removeCollection } from './delete.ts';
import { type Kind, resourceOf, type Subresource, verbsOf } from './kinds.ts';
import { readList, readOne, shape } from './read.ts';
import { sendJson } from './respond.ts';
import { badRequest, methodNotAllowed, pathNotFound } from './schema/errors.ts';
import type { BackendTls } from './streaming/proxy.ts';
import { bind } from './subresources/binding.ts';
import { evict } from './subresources/eviction.ts';
import { review } from './subresources/reviews.ts';
import { getScale, patchScale, updateScale } from './subresources/scale.ts';
import { isStream, proxy, streamLog, streamPod, type Upgrade } from './subresources/streams.ts';
import { createToken } from './subresources/token.ts';
import { scalePrinter } from './table/workloads.ts';
import type { Watches } from './watch.ts';
import { create, patch, update } from './write.ts';

/** What answering needs besides the stored state. */
export interface Services {
  readonly api: Api;
  readonly watches: Watches;
  readonly authenticator: Authenticator;
  readonly tokens: TokenIssuer;
  readonly issuer: string;
  readonly kubelet: BackendTls;
}

const notAllowed = (kind: Kind, verb: string): Error => methodNotAllowed(resourceOf(kind), verb);

/** Answers one call. Throws what is wrong with it as long as nothing was sent. */
export async function dispatch(services: Services, call: Call, upgrade: Upgrade | undefined): Promise<void> {
  const { api } = services;
  const { group, version, plural, subresource } = call.info;
  const reviewKind = api.registry.review(group, version, plural);
  if (reviewKind !== undefined) {
    sendJson(call.response, 201, await review(reviewKind, call, services.authenticator, api.policy));
    return;
  }
  const kind = api.registry.find(group, version, plural);
  if (kind === undefined) throw pathNotFound();
  checkScope(kind, call);
  // Requests for a namespace carry its name as their namespace, for the access rules; the object itself is in none.
  const placed = kind.namespaced ? call : { ...call, info: { ...call.info, namespace: '' } };
  if (subresource !== '') return dispatchSubresource(services, kind, placed, upgrade);
  return dispatchResource(services, kind, placed);
}

/** Throws where the verb does not fit the path: an object is created in its collection, and changed by its name. */
function checkScope(kind: Kind, call: Call): void {
  const { namespace, name, verb, plural, subresource } = call.info;
  if (verb === 'create' && name !== '' && subresource === '') throw notAllowed(kind, verb);
  if ((verb === 'update' || verb === 'patch') && name === '') throw notAllowed(kind, verb);
  if (!kind.namespaced) {
    // /namespaces/x carries its own name as the namespace.
    if (namespace !== '' && plural !== 'namespaces') throw pathNotFound();
    return;
  }
  if (namespace !== '') return;
  if (name !== '') throw pathNotFound();
  if (verb !== 'list' && verb !== 'watch') throw notAllowed(kind, verb);
}

async function dispatchResource({ api, watches }: Services, kind: Kind, call: Call): Promise<void> {
  const { response, form, query } = call;
  const reply = (code: number, object: Parameters<typeof shape>[1]): void =>
    sendJson(response, code, shape(kind, object, form, query));
  if (!verbsOf(kind).includes(call.info.verb)) throw notAllowed(kind, call.info.verb);
  switch (call.info.verb) {
    case 'get':
      return sendJson(response, 200, readOne(api, kind, call));
    case 'list':
      return sendJson(response, 200, readList(api, kind, call));
    case 'watch':
      return watches.start(api, kind, call);
    case 'create':
      if (kind.custom !== undefined && isTerminating(api, kind.custom.definition))
        throw methodNotAllowed(
          resourceOf(kind),
          'create not allowed while custom resource definition is terminating: create',
        );
      return reply(201, await create(api, kind, call));
    case 'update':
      return reply(200, await update(api, kind, call));
    case 'patch': {
      const { object, created } = await patch(api, kind, call);
      return reply(created ? 201 : 200, object);
    }
    case 'delete':
      return sendJson(response, 200, await remove(api, kind, call));
    case 'deletecollection':
      return sendJson(response, 200, await removeCollection(api, kind, call));
  }
}

async function dispatchSubresource(
  services: Services,
  kind: Kind,
  call: Call,
  upgrade: Upgrade | undefined,
): Promise<void> {
  const { api } = services;
  const { subresource, verb } = call.info;
  const known = kind.subresources.find((one) => one === subresource);
  if (known === undefined) throw pathNotFound();
  if (isStream(known)) {
    if (upgrade === undefined) throw badRequest('Upgrade request required');
    return streamPod(api, kind, call, services.kubelet, upgrade);
  }
  if (known === 'log') return streamLog(api, kind, call, services.kubelet);
  if (known === 'proxy') return proxy(api, kind, call, services.kubelet, upgrade);
  const answer = await answerSubresource(services, kind, call, known);
  sendJson(call.response, verb === 'create' ? 201 : 200, answer);
}

async function answerSubresource(
  { api, tokens, issuer }: Services,
  kind: Kind,
  call: Call,
  subresource: Subresource,
): Promise<unknown> {
  const { verb } = call.info;
  switch (`${verb} ${subresource}`) {
    case 'get status':
    case 'get ephemeralcontainers':
      return readOne(api, kind, call);
    case 'update status':
    case 'update finalize':
    case 'update ephemeralcontainers':
      return shape(kind, await update(api, kind, call), call.form, call.query);
    case 'patch status':
    case 'patch ephemeralcontainers':
      return shape(kind, (await patch(api, kind, call)).object, call.form, call.query);
    case 'get scale':
      return shape(kind, getScale(api, kind, call), call.form, call.query, { printer: scalePrinter });
    case 'update scale':
      return updateScale(api, kind, call);
    case 'patch scale':
      return patchScale(api, kind, call);
    case 'create binding':
      return bind(api, kind, call);
    case 'create eviction':
      return evict(api, kind, call);
    case 'create token':
      return createToken(api, kind, call, tokens, issuer);
    default:
      throw notAllowed(kind, verb);
  }
}
