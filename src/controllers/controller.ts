// A running controller: a queue of object keys and the function that reconciles one of them.
import { ApiError, type Cache, isConflict, isNotFound } from '../k8s/client.ts';
import type { KubeObject, ObjectKey } from '../k8s/object.ts';
import { createWorkQueue, type WorkQueue } from '../k8s/work-queue.ts';
import type { ControllerContext } from './context.ts';

export interface Controller {
  stop(): Promise<void>;
}

export interface ControllerOptions {
  readonly name: string;
  /** What has to be listed before anything is reconciled: a decision on half of the objects would be wrong. */
  readonly needs: readonly Cache<KubeObject>[];
  readonly reconcile: (key: ObjectKey, again: (ms: number) => void) => Promise<void>;
  readonly concurrency?: number;
  /** Subscribes to caches and adds keys; called once all of `needs` are there. */
  readonly watch: (queue: WorkQueue) => void;
}

export function runController(context: ControllerContext, options: ControllerOptions): Controller {
  const { name, needs, reconcile, watch } = options;
  const queue = createWorkQueue({
    concurrency: options.concurrency ?? 8,
    run: (key) => reconcile(splitKey(key), (ms) => queue.addAfter(key, ms)),
    onError: (key, error, failures) => {
      // Decided on what had changed meanwhile: the next run sees the change.
      if (isConflict(error) || isNotFound(error)) return;
      const level = failures < 3 || isNamespaceEnding(error) ? 'debug' : 'warn';
      context.log[level]({ controller: name, key, err: error, failures }, 'reconcile failed, will retry');
    },
  });
  let stopped = false;
  void Promise.all(needs.map((cache) => cache.synced)).then(() => {
    if (!stopped) watch(queue);
  });
  return {
    stop() {
      stopped = true;
      return queue.stop();
    },
  };
}

/** The opposite of keyOf. */
function splitKey(key: string): ObjectKey {
  const slash = key.indexOf('/');
  return slash < 0 ? { name: key } : { namespace: key.slice(0, slash), name: key.slice(slash + 1) };
}

/** Whether a create was refused because its namespace is being deleted: nothing to retry with urgency. */
function isNamespaceEnding(error: unknown): boolean {
  return (
    error instanceof ApiError &&
    (error.status.details?.causes ?? []).some(({ reason }) => reason === 'NamespaceTerminating')
  );
}
