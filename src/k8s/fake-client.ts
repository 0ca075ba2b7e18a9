// A test double of the client: objects in memory, with versions, conflicts, finalizers, selectors and watches.
import { createCache } from './cache.ts';
import { ApiError, type Client, type DeleteOptions, type Patch, type Selection, type WatchEvent } from './client.ts';
import type { KubeObject, Resource, Stored } from './object.ts';
import { collectionPath } from './paths.ts';
import { parseFieldSelector, parseLabelSelector } from './selectors.ts';

export interface FakeRequest {
  readonly verb: string;
  readonly path: string;
  readonly body?: unknown;
}

export interface FakeClient extends Client {
  /** What was asked of it so far, writes alone. */
  readonly requests: FakeRequest[];
  /** Answers of request(); the key is `METHOD path`. A function is called with the body. */
  readonly answers: Map<string, (body: unknown) => unknown>;
}

interface Kept {
  readonly resource: Resource<KubeObject>;
  readonly object: Stored<KubeObject>;
}

type Listener = (resource: Resource<KubeObject>, event: WatchEvent<KubeObject>, old?: Stored<KubeObject>) => void;

const refuse = (code: number, reason: string, message: string): never => {
  throw new ApiError({ apiVersion: 'v1', kind: 'Status', metadata: {}, status: 'Failure', code, reason, message });
};

/** A client of a store of its own; `seed` is what is there at first. Times come from `now` (default: the clock). */
export function createFakeClient(now: () => number = Date.now): FakeClient {
  const store = new Map<string, Kept>();
  const listeners = new Set<Listener>();
  const requests: FakeRequest[] = [];
  const answers: FakeClient['answers'] = new Map();
  const closed = new AbortController();
  let version = 0;

  const time = (): string => new Date(now()).toISOString().replace(/\.\d+Z$/, 'Z');
  const pathOf = (resource: Resource<KubeObject>, key: { name?: string; namespace?: string | undefined }): string =>
    `${collectionPath(resource, key.namespace)}/${key.name ?? ''}`;
  const kept = (resource: Resource<KubeObject>, path: string): Stored<KubeObject> =>
    store.get(path)?.object ?? refuse(404, 'NotFound', `${resource.plural} "${path.split('/').at(-1)}" not found`);
  const write = (
    resource: Resource<KubeObject>,
    path: string,
    object: KubeObject,
    type: 'ADDED' | 'MODIFIED',
  ): Stored<KubeObject> => {
    const old = store.get(path)?.object;
    const stored = structuredClone(object) as Stored<KubeObject>;
    stored.metadata.resourceVersion = String(++version);
    if (stored.metadata.deletionTimestamp !== undefined && !hasFinalizers(stored)) return erase(resource, path, stored);
    store.set(path, { resource, object: stored });
    for (const listener of listeners) listener(resource, { type, object: stored }, old);
    return stored;
  };
  const erase = (resource: Resource<KubeObject>, path: string, last: Stored<KubeObject>): Stored<KubeObject> => {
    store.delete(path);
    const object = structuredClone(last);
    object.metadata.resourceVersion = String(++version);
    for (const listener of listeners) listener(resource, { type: 'DELETED', object });
    return object;
  };
  const replace = (resource: Resource<KubeObject>, body: KubeObject, subresource?: string): Stored<KubeObject> => {
    const path = pathOf(resource, body.metadata);
    const old = kept(resource, path);
    const { resourceVersion } = body.metadata;
    if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion)
      refuse(409, 'Conflict', `Operation cannot be fulfilled on ${resource.plural} "${body.metadata.name}"`);
    const next = merged(old, body, subresource);
    const unchanged = (object: KubeObject): string =>
      JSON.stringify({ ...object, metadata: { ...object.metadata, resourceVersion: '', generation: 0 } });
    return unchanged(next) === unchanged(old) ? old : write(resource, path, next, 'MODIFIED');
  };
  const remove = (resource: Resource<KubeObject>, path: string, options: DeleteOptions = {}): void => {
    const object = structuredClone(kept(resource, path));
    const { preconditions, propagationPolicy, gracePeriodSeconds } = options;
    if (preconditions?.uid !== undefined && preconditions.uid !== object.metadata.uid)
      refuse(409, 'Conflict', 'Precondition failed: UID in precondition does not match');
    const finalizers = object.metadata.finalizers ?? [];
    if (propagationPolicy === 'Foreground') finalizers.push('foregroundDeletion');
    if (propagationPolicy === 'Orphan') finalizers.push('orphan');
    const graceful = resource.plural === 'pods' && gracePeriodSeconds !== 0 && isBound(object);
    if (finalizers.length === 0 && !graceful) {
      erase(resource, path, object);
      return;
    }
    object.metadata.finalizers = finalizers;
    object.metadata.deletionTimestamp ??= time();
    object.metadata.deletionGracePeriodSeconds = graceful ? (gracePeriodSeconds ?? 30) : 0;
    write(resource, path, object, 'MODIFIED');
  };
  const select = (resource: Resource<KubeObject>, { namespace, labelSelector, fieldSelector }: Selection) => {
    const labels = parseLabelSelector(labelSelector ?? '');
    const fields = parseFieldSelector(fieldSelector ?? '');
    return (of: Resource<KubeObject>, object: KubeObject): boolean =>
      collectionPath(of) === collectionPath(resource) &&
      (namespace === undefined || object.metadata.namespace === namespace) &&
      labels(object.metadata.labels) &&
      fields((field) => fieldOf(object, field));
  };

  const client: FakeClient = {
    requests,
    answers,
    async get(resource, key) {
      return typed(resource, kept(resource, pathOf(resource, key)));
    },
    async list(resource, selection = {}, trim = (object) => object) {
      const matches = select(resource, selection);
      const items = [...store.values()].filter((each) => matches(each.resource, each.object));
      return { items: items.map((each) => trim(typed(resource, each.object))), resourceVersion: String(version) };
    },
    async create(resource, body) {
      const object: KubeObject = structuredClone(body);
      const { metadata } = object;
      if (metadata.name === undefined)
        metadata.name = `${metadata.generateName ?? ''}${(version + 1).toString(36).padStart(5, '0')}`;
      const path = pathOf(resource, metadata);
      if (store.has(path)) refuse(409, 'AlreadyExists', `${resource.plural} "${metadata.name}" already exists`);
      metadata.uid ??= `uid-${version + 1}`;
      metadata.creationTimestamp ??= time();
      metadata.generation ??= 1;
      const stored = write(resource, path, object, 'ADDED');
      requests.push({ verb: 'create', path, body: stored });
      return typed(resource, stored);
    },
    async update(resource, body, subresource) {
      requests.push({
        verb: 'update',
        path: `${pathOf(resource, body.metadata)}${subresource ? `/${subresource}` : ''}`,
        body,
      });
      return typed(resource, replace(resource, body, subresource));
    },
    async patch(resource, key, patch, subresource) {
      const path = pathOf(resource, key);
      requests.push({ verb: 'patch', path: `${path}${subresource ? `/${subresource}` : ''}`, body: patch.body });
      return typed(resource, replace(resource, patched(kept(resource, path), patch), subresource));
    },
    async delete(resource, key, options) {
      const path = pathOf(resource, key);
      requests.push({ verb: 'delete', path, ...(options !== undefined && { body: options }) });
      remove(resource, path, options);
    },
    async deleteCollection(resource, selection) {
      const matches = select(resource, selection);
      requests.push({ verb: 'deletecollection', path: collectionPath(resource, selection.namespace) });
      for (const [path, each] of [...store]) if (matches(each.resource, each.object)) remove(resource, path);
    },
    async *watch(resource, { resourceVersion: _from, signal, ...selection }) {
      const matches = select(resource, selection);
      const queue: WatchEvent<KubeObject>[] = [];
      let wake = (): void => undefined;
      const listener: Listener = (of, event, old) => {
        if (event.type === 'BOOKMARK') return;
        const [is, was] = [matches(of, event.object), old !== undefined && matches(of, old)];
        if (!is && !was) return;
        const type = event.type === 'DELETED' || !is ? 'DELETED' : was ? 'MODIFIED' : 'ADDED';
        queue.push({ type, object: event.object });
        wake();
      };
      const signals = AbortSignal.any([closed.signal, ...(signal === undefined ? [] : [signal])]);
      const end = (): void => wake();
      signals.addEventListener('abort', end);
      listeners.add(listener);
      try {
        while (!signals.aborted) {
          for (const event of queue.splice(0))
            yield event.type === 'BOOKMARK' ? event : { type: event.type, object: typed(resource, event.object) };
          if (queue.length === 0 && !signals.aborted)
            await new Promise<void>((resolve) => {
              wake = resolve;
            });
        }
      } finally {
        listeners.delete(listener);
        signals.removeEventListener('abort', end);
      }
    },
    cache: (resource, selection = {}, trim) =>
      createCache(client, resource, selection, {
        onProblem: (problem) => {
          throw new Error(problem);
        },
        ...(trim && { trim }),
      }),
    async request(method, path, body) {
      requests.push({ verb: method, path, body });
      const answer = answers.get(`${method} ${path}`);
      return answer === undefined ? refuse(404, 'NotFound', `${method} ${path} has no answer`) : answer(body);
    },
    async close() {
      closed.abort();
    },
  };
  return client;
}

/** The store keeps objects by their resource's path, so what is under it is of the resource's type. */
function typed<T extends KubeObject>(_resource: Resource<T>, object: Stored<KubeObject>): Stored<T> {
  return structuredClone(object) as Stored<KubeObject> as Stored<T>;
}

function hasFinalizers(object: KubeObject): boolean {
  const spec = (object as { spec?: { finalizers?: string[] } }).spec;
  const graceful = (object.metadata.deletionGracePeriodSeconds ?? 0) > 0;
  return (object.metadata.finalizers?.length ?? 0) > 0 || (spec?.finalizers?.length ?? 0) > 0 || graceful;
}

function isBound(object: KubeObject): boolean {
  return Boolean((object as { spec?: { nodeName?: string } }).spec?.nodeName);
}

function merged(old: Stored<KubeObject>, body: KubeObject, subresource: string | undefined): KubeObject {
  const status = (object: KubeObject): object => ('status' in object ? { status: object.status } : {});
  if (subresource === 'status') return { ...old, ...status(body) };
  const { status: _status, ...rest } = body as KubeObject & { status?: unknown };
  const spec = (object: KubeObject): string => JSON.stringify((object as { spec?: unknown }).spec);
  const generation = (old.metadata.generation ?? 1) + (spec(old) === spec(body) ? 0 : 1);
  const { uid, creationTimestamp } = old.metadata;
  return { ...rest, ...status(old), metadata: { ...body.metadata, uid, creationTimestamp, generation } };
}

/** Merge patches alone (a strategic one is read as one): what the controllers send. */
function patched(object: Stored<KubeObject>, patch: Patch): KubeObject {
  if (patch.type === 'json') throw new Error('the fake client reads merge patches alone');
  const merge = (target: unknown, from: unknown): unknown => {
    if (typeof from !== 'object' || from === null || Array.isArray(from)) return from;
    const result: Record<string, unknown> =
      typeof target === 'object' && target !== null && !Array.isArray(target) ? { ...target } : {};
    for (const [key, value] of Object.entries(from))
      if (value === null) delete result[key];
      else result[key] = merge(result[key], value);
    return result;
  };
  return merge(structuredClone(object), patch.body) as KubeObject;
}

function fieldOf(object: KubeObject, field: string): string {
  let value: unknown = object;
  for (const name of field.split('.'))
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  return value === undefined ? '' : String(value);
}
