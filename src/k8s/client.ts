// The contract of the Kubernetes client: one-off requests, watches and caches. The implementation is in connect.ts.
import type { KubeObject, ObjectKey, Resource, Stored } from './object.ts';
import type { Status } from './types.generated.ts';

/** A request that the API server refused; `reason` and `code` are those of its Status. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: Status;

  constructor(status: Status) {
    super(status.message ?? status.reason ?? 'the API server refused the request');
    this.status = status;
  }

  get code(): number {
    return this.status.code ?? 500;
  }

  get reason(): string {
    return this.status.reason ?? '';
  }
}

export function isNotFound(error: unknown): boolean {
  return error instanceof ApiError && error.code === 404;
}

export function isAlreadyExists(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'AlreadyExists';
}

/** The object was changed by someone else in between (a stale resourceVersion). */
export function isConflict(error: unknown): boolean {
  return error instanceof ApiError && error.reason === 'Conflict';
}

export interface Selection {
  /** Only this namespace; all of them where absent. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
}

export interface DeleteOptions {
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: 'Background' | 'Foreground' | 'Orphan';
  readonly preconditions?: { uid?: string; resourceVersion?: string };
}

/** How a patch is to be read (RFC 6902, RFC 7396, Kubernetes' strategic merge, server-side apply). */
export type Patch =
  | { readonly type: 'json'; readonly body: readonly { op: string; path: string; value?: unknown; from?: string }[] }
  | { readonly type: 'merge'; readonly body: object }
  | { readonly type: 'strategic'; readonly body: object }
  | { readonly type: 'apply'; readonly body: object; readonly fieldManager: string; readonly force?: boolean };

export type WatchEvent<T extends KubeObject> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'; readonly object: Stored<T> }
  | { readonly type: 'BOOKMARK'; readonly resourceVersion: string };

/** What changed in a cache. `old` is what the cache held before. */
export type Change<T extends KubeObject> =
  | { readonly type: 'added'; readonly object: Stored<T> }
  | { readonly type: 'updated'; readonly object: Stored<T>; readonly old: Stored<T> }
  | { readonly type: 'deleted'; readonly object: Stored<T> };

/**
 * A local copy of a selection of objects, kept by list and watch: it relists by itself after a lost connection or a
 * 410, with back-off, forever. Objects in it are shared: never change one, copy it first (structuredClone).
 */
export interface Cache<T extends KubeObject> {
  /** Resolves after the first complete list. */
  readonly synced: Promise<void>;
  readonly isSynced: boolean;
  get(key: ObjectKey): Stored<T> | undefined;
  list(namespace?: string): readonly Stored<T>[];
  /** Calls the listener for each object that is there already (as added), then for each change. Returns the end of it. */
  subscribe(listener: (change: Change<T>) => void): () => void;
  stop(): void;
}

/** What of an object is kept: the object without what nobody will read, where there are very many of them. */
export type Trim<T extends KubeObject> = (object: Stored<T>) => Stored<T>;

export interface Client {
  get<T extends KubeObject>(resource: Resource<T>, key: ObjectKey): Promise<Stored<T>>;
  list<T extends KubeObject>(
    resource: Resource<T>,
    selection?: Selection,
    trim?: Trim<T>,
  ): Promise<{ items: Stored<T>[]; resourceVersion: string }>;
  create<T extends KubeObject>(resource: Resource<T>, object: T): Promise<Stored<T>>;
  /** Replaces the object; its resourceVersion guards against lost updates (ApiError with reason Conflict). */
  update<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    subresource?: 'status' | 'finalize',
  ): Promise<Stored<T>>;
  patch<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    patch: Patch,
    subresource?: string,
  ): Promise<Stored<T>>;
  delete<T extends KubeObject>(resource: Resource<T>, key: ObjectKey, options?: DeleteOptions): Promise<void>;
  deleteCollection<T extends KubeObject>(
    resource: Resource<T>,
    selection: Selection & { namespace: string },
  ): Promise<void>;
  /** One watch; it ends when the server or the signal ends it, and throws ApiError (410 when too old). */
  watch<T extends KubeObject>(
    resource: Resource<T>,
    options: Selection & { resourceVersion: string; signal?: AbortSignal },
  ): AsyncIterable<WatchEvent<T>>;
  /** A cache of the selection. Each call makes an own one: share it where several parts need the same. */
  cache<T extends KubeObject>(resource: Resource<T>, selection?: Selection, trim?: Trim<T>): Cache<T>;
  /** Any other request; the body is sent and the answer is read as JSON where it is JSON, as text otherwise. */
  request(method: string, path: string, body?: unknown): Promise<unknown>;
  /** Ends all caches, watches and connections. */
  close(): Promise<void>;
}
