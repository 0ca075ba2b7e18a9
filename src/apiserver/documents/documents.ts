// Everything that is not an object: discovery, version, health, OpenAPI.
import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { aggregated, coreVersions, groupDocument, groupList, resourceList } from '../discovery.ts';
import { negotiateDiscovery } from '../negotiate.ts';
import type { Registry } from '../registry.ts';
import { sendJson, sendText } from '../respond.ts';
import { pathNotFound } from '../schema/errors.ts';
import { openApiV2, openApiV2Json } from './openapi-v2.ts';
import { openApiV3, openApiV3Index } from './openapi-v3.ts';

/** The version of Kubernetes whose API this is; kubectl compares it with its own. */
const gitVersion = 'v1.36.0+weft';

const version = {
  major: '1',
  minor: '36',
  gitVersion,
  gitCommit: '',
  gitTreeState: 'clean',
  buildDate: '1970-01-01T00:00:00Z',
  goVersion: '',
  compiler: '',
  platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
};

interface Document {
  readonly type: string;
  readonly body: string | Buffer;
}

const json = (value: unknown, type = 'application/json'): Document => ({ type, body: JSON.stringify(value) });

type Form = '' | 'plain' | 'v2' | 'v2beta1' | 'protobuf';

function formOf(path: string, accept = ''): Form {
  if (path === '/api' || path === '/apis') return negotiateDiscovery(accept);
  return path === '/openapi/v2' && accept.includes('protobuf') ? 'protobuf' : '';
}

/** The path of an OpenAPI v3 document that carries its hash always leads to the same document: kubectl keeps it. */
const isLasting = (path: string, query: URLSearchParams): boolean =>
  path.startsWith('/openapi/v3/') && query.get('hash') !== null;

const lasting = (): Record<string, string> => ({
  'cache-control': 'public',
  expires: new Date(Date.now() + 365 * 24 * 3_600_000).toUTCString(),
});

/** That it answers is all there is to check. */
function sendHealth(name: string, verbose: boolean, response: ServerResponse): void {
  const text = verbose ? `[+]ping ok\n${name} check passed\n` : 'ok';
  sendText(response, 200, text, 'text/plain; charset=utf-8');
}

/** Answers from documents that are made on first use, and again after the kinds have changed. */
export class Documents {
  readonly #registry: Registry;
  readonly #made = new Map<string, Document>();
  #revision: number;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#revision = registry.revision;
  }

  /** Throws 404 for a path that there is nothing at. */
  answer(path: string, query: URLSearchParams, request: IncomingMessage, response: ServerResponse): void {
    const health = /^\/(healthz|livez|readyz)(?:\/|$)/.exec(path)?.[1];
    if (health !== undefined) sendHealth(health, query.has('verbose'), response);
    else if (path === '/version') sendJson(response, 200, version);
    else this.#sendDocument(path, query, request, response);
  }

  #sendDocument(path: string, query: URLSearchParams, request: IncomingMessage, response: ServerResponse): void {
    const document = this.#find(path.replace(/\/$/, ''), request.headers.accept);
    if (document === undefined) throw pathNotFound();
    const etag = `"${createHash('sha256').update(document.body).digest('hex').slice(0, 32)}"`;
    response.setHeader('etag', etag);
    response.setHeader('vary', 'Accept');
    if (request.headers['if-none-match'] === etag) response.writeHead(304).end();
    else sendText(response, 200, document.body, document.type, isLasting(path, query) ? lasting() : undefined);
  }

  #find(path: string, accept: string | undefined): Document | undefined {
    if (this.#revision !== this.#registry.revision) {
      this.#made.clear();
      this.#revision = this.#registry.revision;
    }
    const form = formOf(path, accept);
    const key = `${path} ${form}`;
    const known = this.#made.get(key);
    if (known !== undefined) return known;
    const made = this.#make(path, form);
    if (made !== undefined) this.#made.set(key, made);
    return made;
  }

  #make(path: string, form: Form): Document | undefined {
    const registry = this.#registry;
    if (form === 'v2' || form === 'v2beta1')
      return json(
        aggregated(registry, path === '/api', form),
        `application/json;g=apidiscovery.k8s.io;v=${form};as=APIGroupDiscoveryList`,
      );
    if (path === '') return json({ paths: pathsOf(registry) });
    if (path === '/api') return json(coreVersions());
    if (path === '/apis') return json(groupList(registry));
    if (path === '/openapi/v3') return json(openApiV3Index(registry));
    if (path === '/openapi/v2') return form === 'protobuf' ? openApiV2(registry) : json(openApiV2Json(registry));
    const [, root, ...parts] = path.split('/');
    if (root === 'openapi' && parts[0] === 'v3') return optional(openApiV3(registry, parts.slice(1).join('/')));
    if (root === 'api' && parts.length === 1) return optional(resourceList(registry, '', parts[0] ?? ''));
    if (root !== 'apis') return undefined;
    const [name = '', one] = parts;
    const group = registry.groups().find((entry) => entry.name === name && name !== '');
    if (group === undefined || parts.length > 2) return undefined;
    return one === undefined ? json(groupDocument(group)) : optional(resourceList(registry, name, one));
  }
}

/** `/`: what there is to ask for. */
const pathsOf = (registry: Registry): string[] =>
  [
    ...registry.groups().flatMap(({ name, versions }) => {
      const root = name === '' ? '/api' : `/apis/${name}`;
      return [root, ...versions.map((version) => `${root}/${version}`)];
    }),
    ...['/apis', '/healthz', '/livez', '/openapi/v2', '/openapi/v3', '/readyz', '/version'],
  ].sort();

const optional = (value: unknown): Document | undefined => (value === undefined ? undefined : json(value));
