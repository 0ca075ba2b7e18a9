// get and list: selection, paging, the consistency that a client asks for, and the form of the answer.
import type { Api, Call } from './api.ts';
import { apiVersionOf, type Kind, resourceOf } from './kinds.ts';
import type { Form } from './negotiate.ts';
import type { ApiObject } from './object.ts';
import { numberOf } from './respond.ts';
import { badRequest, gone, notFound, StatusError, timeout } from './schema/errors.ts';
import { selection } from './selection.ts';
import { type TableOptions, tableOf } from './table/table.ts';

/** A stored object as a kind shows it: in the version, or the other view, that was asked for. */
export function present(kind: Kind, stored: ApiObject): ApiObject {
  if (kind.view !== undefined) return kind.view.read(stored);
  const apiVersion = apiVersionOf(kind);
  return stored.apiVersion === apiVersion ? stored : { ...stored, apiVersion };
}

/** The object, or 404. */
export function find(api: Api, kind: Kind, namespace: string, name: string): ApiObject {
  const object = api.storage.get(kind.storage, namespace, name);
  if (object === undefined) throw notFound(resourceOf(kind), name);
  return object;
}

/** Only kind, version and metadata (PartialObjectMetadata). */
export const partial = (object: ApiObject, version: string): unknown => ({
  kind: 'PartialObjectMetadata',
  apiVersion: `meta.k8s.io/${version}`,
  metadata: object.metadata,
});

/** One object in the form that the client asked for. */
export function shape(
  kind: Kind,
  object: ApiObject,
  form: Form,
  query: URLSearchParams,
  options: Pick<TableOptions, 'printer'> = {},
): unknown {
  if (form.as === 'object') return object;
  if (form.as === 'metadata') return partial(object, form.version);
  return tableOf(kind, [object], {
    version: form.version,
    includeObject: query.get('includeObject'),
    resourceVersion: object.metadata.resourceVersion ?? '',
    ...options,
  });
}

export function readOne(api: Api, kind: Kind, call: Call): unknown {
  const { namespace, name } = call.info;
  checkRevision(api, call.query);
  return shape(kind, present(kind, find(api, kind, namespace, name)), call.form, call.query);
}

/** A revision of a query that lies in the future gets 504, which clients answer by trying again. */
export function checkRevision(api: Api, query: URLSearchParams): number | undefined {
  const text = query.get('resourceVersion');
  if (text === null || text === '') return undefined;
  if (!/^\d+$/.test(text))
    throw badRequest(`Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`);
  const revision = Number(text);
  if (revision > api.storage.revision) throw tooLargeRevision(revision, api.storage.revision);
  return revision;
}

function tooLargeRevision(wanted: number, current: number): StatusError {
  return timeout(`Too large resource version: ${wanted}, current: ${current}`, 1, [
    { reason: 'ResourceVersionTooLarge', message: 'Too large resource version' },
  ]);
}

/** A continue token; its `start` is the key and a NUL, the first key after it (apiserver, pkg/storage/continue.go). */
interface Continue {
  readonly revision: number;
  /** The key (`namespace/name`) of the last object of the page before. */
  readonly after: string;
}

const encodeContinue = ({ revision, after }: Continue): string =>
  Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: revision, start: `${after}\u0000` })).toString('base64url');

function decodeContinue(token: string, current: number): Continue {
  const invalid = (): StatusError => badRequest('continue key is not valid: invalid token');
  let read: unknown;
  try {
    read = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
  } catch {
    throw invalid();
  }
  if (typeof read !== 'object' || read === null || !('rv' in read) || !('start' in read)) throw invalid();
  if (typeof read.rv !== 'number' || typeof read.start !== 'string') throw invalid();
  return { revision: read.rv < 0 ? current : read.rv, after: read.start.slice(0, -1) };
}

/** Rules of the consistency parameters (apimachinery, meta/internalversion/validation). */
function checkListOptions(query: URLSearchParams): void {
  const match = query.get('resourceVersionMatch');
  const revision = query.get('resourceVersion') ?? '';
  const forbid = (field: string, why: string): never => {
    throw badRequest(`ListOptions.meta.k8s.io "" is invalid: ${field}: Forbidden: ${why}`);
  };
  if (query.has('sendInitialEvents')) forbid('sendInitialEvents', 'sendInitialEvents is forbidden for list');
  if (match === null || match === '') return;
  if (query.get('continue'))
    forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden when continue is provided');
  if (revision === '')
    forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden unless resourceVersion is provided');
  if (match !== 'Exact' && match !== 'NotOlderThan')
    throw badRequest(
      `ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Unsupported value: "${match}": supported values: "Exact", "NotOlderThan", ""`,
    );
  if (match === 'Exact' && revision === '0')
    forbid('resourceVersionMatch', 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"');
}

const orderOf = (object: ApiObject): string => `${object.metadata.namespace ?? ''}/${object.metadata.name ?? ''}`;

interface Page {
  readonly items: readonly ApiObject[];
  readonly revision: number;
  readonly next: string | undefined;
  readonly remaining: number | undefined;
}

/** The objects that a list or deletecollection means, before paging. */
export function select(kind: Kind, call: Call, objects: readonly ApiObject[]): ApiObject[] {
  const matches = selection(kind, call.query);
  return objects.map((object) => present(kind, object)).filter(matches);
}

function page(api: Api, kind: Kind, call: Call): Page {
  const { query } = call;
  checkListOptions(query);
  const namespace = call.info.namespace === '' || !kind.namespaced ? undefined : call.info.namespace;
  const token = query.get('continue');
  const from = token ? decodeContinue(token, api.storage.revision) : undefined;
  const asked = from === undefined ? checkRevision(api, query) : undefined;
  const exact = query.get('resourceVersionMatch') === 'Exact' ? asked : undefined;
  const revision = from?.revision ?? exact ?? api.storage.revision;
  const all = readAt(api, kind, namespace, revision, from);
  const limit = numberOf(query, 'limit') ?? 0;
  const rest = from === undefined ? all : all.slice(firstAfter(all, from.after));
  if (limit <= 0) return { items: select(kind, call, rest), revision, next: undefined, remaining: undefined };
  // Of a list of many pages each looks only at its own objects.
  const matches = selection(kind, query);
  const items: ApiObject[] = [];
  for (const [index, object] of rest.entries()) {
    const presented = present(kind, object);
    if (!matches(presented)) continue;
    const last = items.at(-1);
    if (last !== undefined && items.length === limit) {
      const plain = !query.get('labelSelector') && !query.get('fieldSelector');
      const next = encodeContinue({ revision, after: orderOf(last) });
      return { items, revision, next, remaining: plain ? rest.length - index : undefined };
    }
    items.push(presented);
  }
  return { items, revision, next: undefined, remaining: undefined };
}

/** The index of the first object after that key, in a list that is ordered by its keys. */
function firstAfter(all: readonly ApiObject[], key: string): number {
  let [low, high] = [0, all.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    const object = all[middle];
    if (object !== undefined && orderOf(object) > key) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The list at a revision; where a page's snapshot is forgotten, 410 with a token that goes on from the present. */
function readAt(
  api: Api,
  kind: Kind,
  namespace: string | undefined,
  revision: number,
  from: Continue | undefined,
): readonly ApiObject[] {
  if (revision >= api.storage.revision) return api.storage.list(kind.storage, namespace);
  if (revision >= api.storage.horizon) return api.storage.listAt(kind.storage, namespace, revision);
  const error = gone(
    from === undefined
      ? `The provided resource version ${revision} is too old`
      : 'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.',
  );
  if (from === undefined) throw error;
  throw new StatusError({
    ...error.status,
    metadata: { continue: encodeContinue({ revision: -1, after: from.after }) },
  });
}

export function readList(api: Api, kind: Kind, call: Call): unknown {
  const { items, revision, next, remaining } = page(api, kind, call);
  const metadata = {
    resourceVersion: String(revision),
    ...(next === undefined ? {} : { continue: next }),
    ...(remaining === undefined ? {} : { remainingItemCount: remaining }),
  };
  if (call.form.as === 'table')
    return tableOf(kind, items, {
      version: call.form.version,
      includeObject: call.query.get('includeObject'),
      resourceVersion: String(revision),
      metadata,
    });
  if (call.form.as === 'metadata') {
    const { version } = call.form;
    return {
      kind: 'PartialObjectMetadataList',
      apiVersion: `meta.k8s.io/${version}`,
      metadata,
      items: items.map((object) => partial(object, version)),
    };
  }
  return { kind: `${kind.kind}List`, apiVersion: apiVersionOf(kind), metadata, items };
}
