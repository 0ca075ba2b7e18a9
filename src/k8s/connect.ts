// The client of a Kubernetes API server, embedded or real: connect(), fromKubeconfig(), inCluster().
import { readFileSync } from 'node:fs';
import { createCache } from './cache.ts';
import { ApiError, type Cache, type Client, type Patch, type Trim, type WatchEvent } from './client.ts';
import { JsonLines } from './json-lines.ts';
import { readKubeconfig } from './kubeconfig.ts';
import type { KubeObject, Resource, Stored } from './object.ts';
import { apiVersionOf } from './object.ts';
import { collectionPath, objectPath, queryOf } from './paths.ts';
import { type ConnectOptions, createTransport, isStatus, type Transport } from './transport.ts';

export { readKubeconfig } from './kubeconfig.ts';
export type { ConnectOptions } from './transport.ts';

const pageSize = 500;
const patchTypes: Record<Patch['type'], string> = {
  json: 'application/json-patch+json',
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  apply: 'application/apply-patch+yaml',
};

/** A client of the API server; it connects with the first request. A TypeError where `server` is not a URL. */
export function connect(options: ConnectOptions): Client {
  const transport = createTransport(options);
  const onProblem = options.onProblem ?? ((problem: string) => process.emitWarning(problem, 'KubernetesClient'));
  const caches = new Set<Cache<KubeObject>>();
  const client: Client = {
    get: (resource, key) => object(resource, transport.send({ method: 'GET', path: objectPath(resource, key) })),
    list: (resource, selection = {}, trim) => listPages(transport, resource, selection, trim),
    create: (resource, body) =>
      object(
        resource,
        transport.send({ method: 'POST', path: collectionPath(resource, namespaceFor(resource, body)), body }),
      ),
    update: (resource, body, subresource) =>
      object(resource, transport.send({ method: 'PUT', path: objectPath(resource, keyFrom(body), subresource), body })),
    patch: (resource, key, patch, subresource) =>
      object(
        resource,
        transport.send({
          method: 'PATCH',
          path: `${objectPath(resource, key, subresource)}${patchQuery(patch)}`,
          body: patch.body,
          contentType: patchTypes[patch.type],
        }),
      ),
    async delete(resource, key, deleteOptions) {
      const body = { apiVersion: 'v1', kind: 'DeleteOptions', ...deleteOptions };
      await transport.send({ method: 'DELETE', path: objectPath(resource, key), body });
    },
    async deleteCollection(resource, { namespace, ...selection }) {
      const path = `${collectionPath(resource, namespace)}${queryOf(selection)}`;
      await transport.send({ method: 'DELETE', path });
    },
    watch: (resource, watchOptions) => watch(transport, resource, watchOptions),
    cache<T extends KubeObject>(resource: Resource<T>, selection = {}, trim?: Trim<T>): Cache<T> {
      const onStop = (): void => void caches.delete(cache);
      const cache = createCache(client, resource, selection, { onProblem, onStop, ...(trim && { trim }) });
      caches.add(cache);
      return cache;
    },
    request: (method, path, body) => transport.send({ method, path, body }),
    async close() {
      for (const cache of [...caches]) cache.stop();
      transport.close();
    },
  };
  return client;
}

/** A client by a kubeconfig file, for its current context or the one named. */
export async function fromKubeconfig(
  path: string,
  more: Partial<ConnectOptions> & { context?: string } = {},
): Promise<Client> {
  const { context, ...options } = more;
  return connect({ ...(await readKubeconfig(path, context)), ...options });
}

const accountFolder = '/var/run/secrets/kubernetes.io/serviceaccount';

/** A client for a process in a pod, by the pod's ServiceAccount. An Error where this is not a pod. */
export function inCluster(more: Partial<ConnectOptions> = {}): Client {
  const { KUBERNETES_SERVICE_HOST: host, KUBERNETES_SERVICE_PORT: port = '443' } = process.env;
  if (host === undefined)
    throw new Error('KUBERNETES_SERVICE_HOST is not set: this process does not run in a pod; give a kubeconfig');
  return connect({
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    ca: readFileSync(`${accountFolder}/ca.crt`, 'utf8'),
    tokenFile: `${accountFolder}/token`,
    ...more,
  });
}

/** What the server answered as an object of the resource; it fills in what lists leave out. */
async function object<T extends KubeObject>(resource: Resource<T>, answer: Promise<unknown>): Promise<Stored<T>> {
  return storedOf(resource, await answer);
}

/** The border between the wire and the types: the server is trusted for the fields of a kind, not for there being an object. */
function storedOf<T extends KubeObject>(resource: Resource<T>, value: unknown): Stored<T> {
  if (typeof value !== 'object' || value === null || !('metadata' in value))
    throw new Error(`the API server did not answer with a ${resource.kind}`);
  return { apiVersion: apiVersionOf(resource), kind: resource.kind, ...value } as Stored<T>;
}

interface ListAnswer {
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: readonly unknown[] | null;
}

async function listPages<T extends KubeObject>(
  transport: Transport,
  resource: Resource<T>,
  { namespace, ...selection }: { namespace?: string; labelSelector?: string; fieldSelector?: string },
  trim?: Trim<T>,
): Promise<{ items: Stored<T>[]; resourceVersion: string }> {
  const collection = collectionPath(resource, namespace);
  const page = async (more: Record<string, string | number | undefined>): Promise<ListAnswer> =>
    (await transport.send({ method: 'GET', path: `${collection}${queryOf(selection, more)}` })) as ListAnswer;
  const items: Stored<T>[] = [];
  let next: string | undefined;
  let resourceVersion = '';
  do {
    let answer: ListAnswer;
    try {
      answer = await page({ limit: pageSize, continue: next });
    } catch (error) {
      // The snapshot of the first page is gone: begin again, in one piece.
      if (next === undefined || !(error instanceof ApiError) || error.code !== 410) throw error;
      items.length = 0;
      answer = await page({});
    }
    for (const item of answer.items ?? []) {
      const stored = storedOf(resource, item);
      items.push(trim === undefined ? stored : trim(stored));
    }
    resourceVersion = answer.metadata?.resourceVersion ?? '';
    next = answer.metadata?.continue || undefined;
  } while (next !== undefined);
  return { items, resourceVersion };
}

/** A server ends a watch after so many seconds; this client gives up 30 s later on a connection that went dead. */
const watchSeconds = { least: 300, spread: 300 };

async function* watch<T extends KubeObject>(
  transport: Transport,
  resource: Resource<T>,
  options: {
    namespace?: string;
    labelSelector?: string;
    fieldSelector?: string;
    resourceVersion: string;
    signal?: AbortSignal;
  },
): AsyncGenerator<WatchEvent<T>> {
  const { namespace, resourceVersion, signal, ...selection } = options;
  const timeoutSeconds = watchSeconds.least + Math.floor(Math.random() * watchSeconds.spread);
  const dead = new AbortController();
  const timer = setTimeout(
    () => dead.abort(new Error(`the watch of ${resource.plural} did not end in time: the connection is dead`)),
    (timeoutSeconds + 30) * 1000,
  );
  timer.unref();
  const query = queryOf(selection, { watch: true, allowWatchBookmarks: true, resourceVersion, timeoutSeconds });
  try {
    const response = await transport.open({
      method: 'GET',
      path: `${collectionPath(resource, namespace)}${query}`,
      isWatch: true,
      signal: signal === undefined ? dead.signal : AbortSignal.any([signal, dead.signal]),
    });
    // Joins a UTF-8 character that is split over two chunks.
    response.setEncoding('utf8');
    const lines = new JsonLines();
    for await (const chunk of response)
      for (const value of lines.push(String(chunk))) yield watchEvent(resource, value);
  } catch (error) {
    if (signal?.aborted) return;
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function watchEvent<T extends KubeObject>(resource: Resource<T>, value: unknown): WatchEvent<T> {
  const { type, object: body } = (value ?? {}) as { type?: string; object?: unknown };
  if (type === 'ERROR') throw isStatus(body) ? new ApiError(body) : new Error(`the watch of ${resource.plural} failed`);
  const object = storedOf(resource, body);
  if (type === 'BOOKMARK') return { type, resourceVersion: object.metadata.resourceVersion };
  if (type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED') return { type, object };
  throw new Error(`the watch of ${resource.plural} sent an event of the unknown type '${type}'`);
}

function keyFrom(body: KubeObject): { name: string; namespace?: string | undefined } {
  return { name: body.metadata.name ?? '', namespace: body.metadata.namespace };
}

function namespaceFor(resource: Resource<KubeObject>, body: KubeObject): string | undefined {
  if (!resource.namespaced) return undefined;
  if (!body.metadata.namespace)
    throw new RangeError(`${resource.kind} '${body.metadata.name ?? ''}' cannot be created without its namespace`);
  return body.metadata.namespace;
}

function patchQuery(patch: Patch): string {
  return patch.type === 'apply' ? queryOf({}, { fieldManager: patch.fieldManager, force: patch.force }) : '';
}
