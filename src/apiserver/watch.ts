// Watches: the stream of changes of a selection, from a revision on, as lines of JSON.
import type { Api, Call } from './api.ts';
import { apiVersionOf, type Kind } from './kinds.ts';
import { type ApiObject, fieldsOf } from './object.ts';
import { checkRevision, partial, present } from './read.ts';
import { numberOf, statusOf } from './respond.ts';
import { badRequest } from './schema/errors.ts';
import { selection } from './selection.ts';
import type { Change } from './storage.ts';
import { tableOf } from './table/table.ts';

type EventType = 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK' | 'ERROR';

/** How often a watch that asked for it is told the current revision. */
const bookmarkMilliseconds = 60_000;
/** A client that does not read is cut off when this much waits for it; it comes back and lists again. */
const maximumBacklog = 64 * 1024 * 1024;

const initialEventsEnd = { 'k8s.io/initial-events-end': 'true' };

/** All running watches of a server. One timer serves all bookmarks, so that an idle server wakes once a minute. */
export class Watches {
  readonly #running = new Set<Watch>();
  readonly #timer = setInterval(() => {
    for (const watch of this.#running) watch.bookmark();
  }, bookmarkMilliseconds).unref();

  /** Answers a call with a watch: the response stays open until its timeout, or until the client leaves. */
  start(api: Api, kind: Kind, call: Call): void {
    const from = startOf(api, call);
    const watch = new Watch(api, kind, call, () => this.#running.delete(watch));
    this.#running.add(watch);
    watch.run(from);
  }

  /** Ends every watch. */
  stop(): void {
    clearInterval(this.#timer);
    for (const watch of [...this.#running]) watch.end();
  }
}

interface Start {
  /** Whether the current objects are sent first, as ADDED. */
  readonly initial: boolean;
  /** Whether a marked bookmark follows them. */
  readonly marked: boolean;
  readonly revision: number;
}

/** Where a watch begins (apimachinery, meta/internalversion/validation; KEP-3157). */
function startOf(api: Api, call: Call): Start {
  const { query } = call;
  const asked = checkRevision(api, query);
  const match = query.get('resourceVersionMatch') ?? '';
  const sendInitial = query.get('sendInitialEvents');
  const forbid = (field: string, why: string): never => {
    throw badRequest(`ListOptions.meta.k8s.io "" is invalid: ${field}: Forbidden: ${why}`);
  };
  if (sendInitial !== null && match !== 'NotOlderThan')
    forbid('resourceVersionMatch', 'sendInitialEvents requires setting resourceVersionMatch to NotOlderThan');
  if (sendInitial === null && match !== '')
    forbid('resourceVersionMatch', 'resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided');
  const bookmarks = wantsBookmarks(query);
  if (sendInitial === 'true') return { initial: true, marked: bookmarks, revision: api.storage.revision };
  if (sendInitial === null && (asked === undefined || asked === 0))
    return { initial: true, marked: false, revision: api.storage.revision };
  return { initial: false, marked: false, revision: asked ?? api.storage.revision };
}

const wantsBookmarks = (query: URLSearchParams): boolean =>
  ['true', '1'].includes(query.get('allowWatchBookmarks') ?? '');

class Watch {
  readonly #api: Api;
  readonly #kind: Kind;
  readonly #call: Call;
  readonly #matches: (object: ApiObject) => boolean;
  readonly #namespace: string | undefined;
  readonly #bookmarks: boolean;
  readonly #onEnd: () => void;
  #unsubscribe: (() => void) | undefined;
  #timeout: NodeJS.Timeout | undefined;
  #columnsSent = false;
  #ended = false;

  constructor(api: Api, kind: Kind, call: Call, onEnd: () => void) {
    this.#api = api;
    this.#kind = kind;
    this.#call = call;
    this.#matches = selection(kind, call.query);
    this.#namespace = kind.namespaced && call.info.namespace !== '' ? call.info.namespace : undefined;
    this.#bookmarks = wantsBookmarks(call.query);
    this.#onEnd = onEnd;
  }

  run({ initial, marked, revision }: Start): void {
    const { response, query } = this.#call;
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-cache, private' });
    response.flushHeaders();
    response.on('close', () => this.end());
    const seconds = numberOf(query, 'timeoutSeconds') ?? 1800 * (1 + Math.random());
    this.#timeout = setTimeout(() => {
      this.bookmark();
      this.end();
    }, seconds * 1000).unref();
    try {
      if (initial) this.#sendCurrent();
      else for (const change of this.#api.storage.changesSince(this.#kind.storage, revision)) this.#onChange(change);
    } catch (error) {
      this.#send('ERROR', JSON.stringify(statusOf(error, this.#api.log)));
      this.end();
      return;
    }
    if (marked) this.#sendBookmark(initialEventsEnd);
    this.#unsubscribe = this.#api.storage.subscribe(this.#kind.storage, (change) => this.#onChange(change));
  }

  bookmark(): void {
    if (this.#bookmarks && !this.#ended) this.#sendBookmark();
  }

  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#timeout);
    this.#unsubscribe?.();
    this.#call.response.end();
    this.#onEnd();
  }

  #sendCurrent(): void {
    for (const stored of this.#api.storage.list(this.#kind.storage, this.#namespace)) {
      const object = present(this.#kind, stored);
      if (this.#matches(object)) this.#sendObject('ADDED', object);
    }
  }

  /** A change of the selection: an object that begins or ends to match is added or deleted for this watch. */
  #onChange({ object: stored, old, deleted, json, revision }: Change): void {
    if (this.#namespace !== undefined && stored.metadata.namespace !== this.#namespace) return;
    const object = present(this.#kind, stored);
    const before = old === undefined ? undefined : present(this.#kind, old);
    const did = before !== undefined && this.#matches(before);
    const does = !deleted && this.#matches(object);
    if (does) this.#sendObject(did ? 'MODIFIED' : 'ADDED', object, object === stored ? json : undefined);
    else if (did && deleted) this.#sendObject('DELETED', object, object === stored ? json : undefined);
    else if (did)
      this.#sendObject('DELETED', {
        ...before,
        metadata: { ...before.metadata, resourceVersion: String(revision) },
      });
  }

  #sendObject(type: EventType, object: ApiObject, json?: string): void {
    const { form, query } = this.#call;
    if (form.as === 'object') this.#send(type, json ?? JSON.stringify(object));
    else if (form.as === 'metadata') this.#send(type, JSON.stringify(partial(object, form.version)));
    else {
      const table = tableOf(this.#kind, [object], {
        version: form.version,
        includeObject: query.get('includeObject'),
        resourceVersion: object.metadata.resourceVersion ?? '',
        withoutColumns: this.#columnsSent,
      });
      this.#columnsSent = true;
      this.#send(type, JSON.stringify(table));
    }
  }

  #sendBookmark(annotations?: Record<string, string>): void {
    const { form } = this.#call;
    const metadata = {
      resourceVersion: String(this.#api.storage.revision),
      creationTimestamp: null,
      ...fieldsOf(annotations === undefined ? {} : { annotations }),
    };
    const names =
      form.as === 'object'
        ? { kind: this.#kind.kind, apiVersion: apiVersionOf(this.#kind) }
        : { kind: form.as === 'table' ? 'Table' : 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${form.version}` };
    this.#send('BOOKMARK', JSON.stringify({ ...names, metadata }));
  }

  #send(type: EventType, json: string): void {
    if (this.#ended) return;
    const { response } = this.#call;
    if (response.writableLength > maximumBacklog) {
      response.destroy();
      this.end();
      return;
    }
    response.write(`{"type":"${type}","object":${json}}\n`);
  }
}
