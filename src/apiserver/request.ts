// What a request asks for: its path taken apart as Kubernetes does (apiserver, pkg/endpoints/request/requestinfo.go).

export type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

export interface ResourceRequest {
  readonly type: 'resource';
  readonly verb: Verb;
  readonly group: string;
  readonly version: string;
  /** Empty where the request is for all namespaces or for a cluster-scoped resource. */
  readonly namespace: string;
  readonly plural: string;
  readonly name: string;
  readonly subresource: string;
  /** What follows the subresource in the path: for proxies. */
  readonly rest: string;
}

export interface OtherRequest {
  readonly type: 'other';
  /** The HTTP method in lower case, as authorization names it. */
  readonly verb: string;
  readonly path: string;
}

export type RequestInfo = ResourceRequest | OtherRequest;

const verbOf: Readonly<Record<string, Verb>> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

const namespaceSubresources = new Set(['status', 'finalize']);

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Takes a request apart; `watch` is whether the query asks for a watch. */
export function parseRequest(method: string, path: string, query: URLSearchParams): RequestInfo {
  const segments = path.split('/').filter((segment) => segment !== '');
  const other: OtherRequest = { type: 'other', verb: method.toLowerCase(), path };
  const isCore = segments[0] === 'api';
  if (!isCore && segments[0] !== 'apis') return other;
  const start = isCore ? 2 : 3;
  const verb = verbOf[method];
  if (segments.length <= start || verb === undefined) return other;
  const parts = segments.slice(start).map(decode);
  let namespace = '';
  if (parts[0] === 'namespaces' && parts.length > 1) {
    if (parts.length > 2 && !namespaceSubresources.has(parts[2] ?? '')) {
      namespace = parts[1] ?? '';
      parts.splice(0, 2);
    } else namespace = parts[1] ?? '';
  }
  const [plural = '', name = '', subresource = '', ...rest] = parts;
  return {
    type: 'resource',
    verb: name === '' ? collectionVerb(verb, query) : verb,
    group: isCore ? '' : (segments[1] ?? ''),
    version: (isCore ? segments[1] : segments[2]) ?? '',
    namespace,
    plural,
    name,
    subresource,
    rest: rest.join('/'),
  };
}

function collectionVerb(verb: Verb, query: URLSearchParams): Verb {
  if (verb === 'delete') return 'deletecollection';
  if (verb !== 'get') return verb;
  return isTrue(query.get('watch')) ? 'watch' : 'list';
}

/** A boolean of a query: absent is false; present without a value, `1` or `true` is true. */
function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}
