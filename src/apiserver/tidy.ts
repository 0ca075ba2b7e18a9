// Keeps the store small: forgets old history, and events after an hour as Kubernetes does.
import { type Api, timestamp } from './api.ts';
import { shelves } from './kinds.ts';

/** Forgets history and old events from time to time. Returns the end of it. */
export function keepTidy(api: Api): () => void {
  const every = 5 * 60_000;
  let before = api.storage.revision;
  const timer = setInterval(() => {
    const oldest = timestamp(new Date(api.now().getTime() - 3600_000));
    for (const { metadata } of api.storage.list(shelves.events)) {
      const last = metadata.managedFields?.at(-1)?.time ?? metadata.creationTimestamp ?? '';
      if (last < oldest) api.storage.delete(shelves.events, metadata.namespace ?? '', metadata.name ?? '');
    }
    api.storage.compact(before);
    before = api.storage.revision;
  }, every).unref();
  return () => clearInterval(timer);
}
