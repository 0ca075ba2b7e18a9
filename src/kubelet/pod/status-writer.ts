// Writes pods' statuses to the API server: at once, one write at a time for each pod, the newest one wins.
import { isDeepStrictEqual } from 'node:util';
import { type Client, isConflict, isNotFound } from '../../k8s/client.ts';
import type { Stored } from '../../k8s/object.ts';
import { pods } from '../../k8s/resources.ts';
import type { Pod, PodStatus } from '../../k8s/types.generated.ts';
import type { Log } from '../../log/log.ts';

export interface StatusWriter {
  /** Computes the status with the newest pod that is known and writes it where it differs. Never rejects. */
  write(pod: Stored<Pod>, status: (newest: Pod) => PodStatus): Promise<void>;
  /** The pod as it was after the last write; it may be newer than what the watch has brought. */
  newest(pod: Stored<Pod>): Stored<Pod>;
  forget(uid: string): void;
}

interface Entry {
  last: Stored<Pod>;
  wanted: ((newest: Pod) => PodStatus) | undefined;
  writing: Promise<void> | undefined;
}

const retryMs = [50, 200, 1000, 5000] as const;

export function createStatusWriter(client: Client, log: Log): StatusWriter {
  const entries = new Map<string, Entry>();

  const newer = (a: Stored<Pod>, b: Stored<Pod>): Stored<Pod> =>
    Number(b.metadata.resourceVersion) > Number(a.metadata.resourceVersion) ? b : a;

  const entryOf = (pod: Stored<Pod>): Entry => {
    const { uid } = pod.metadata;
    const entry = entries.get(uid) ?? { last: pod, wanted: undefined, writing: undefined };
    entries.set(uid, entry);
    entry.last = newer(entry.last, pod);
    return entry;
  };

  const writeOnce = async (entry: Entry, status: PodStatus): Promise<void> => {
    try {
      entry.last = await client.update(pods, { ...entry.last, status }, 'status');
    } catch (error) {
      if (!isConflict(error)) throw error;
      const { namespace, name, uid } = entry.last.metadata;
      const found = await client.get(pods, { name, namespace });
      if (found.metadata.uid === uid) entry.last = found;
      else entries.delete(uid);
      throw error;
    }
  };

  const drain = async (entry: Entry): Promise<void> => {
    for (let failures = 0; entry.wanted !== undefined && entries.get(entry.last.metadata.uid) === entry; ) {
      const compute = entry.wanted;
      entry.wanted = undefined;
      const status = compute(entry.last);
      if (sameStatus(entry.last.status, status)) continue;
      try {
        await writeOnce(entry, status);
        failures = 0;
      } catch (error) {
        if (isNotFound(error)) return;
        entry.wanted ??= compute;
        if (isConflict(error) && failures === 0) {
          failures++;
          continue;
        }
        if (failures > 1) log.warn({ err: error, pod: entry.last.metadata.name }, 'cannot write the status of a pod');
        await new Promise((resolve) => setTimeout(resolve, retryMs[Math.min(failures++, retryMs.length - 1)]).unref());
      }
    }
  };

  return {
    write(pod, status) {
      const entry = entryOf(pod);
      entry.wanted = status;
      entry.writing ??= drain(entry).finally(() => {
        entry.writing = undefined;
      });
      return entry.writing;
    },
    newest: (pod) => newer(entryOf(pod).last, pod),
    forget: (uid) => void entries.delete(uid),
  };
}

/** Whether two statuses say the same; what is absent and what is null or empty are the same. */
function sameStatus(a: PodStatus | undefined, b: PodStatus): boolean {
  return isDeepStrictEqual(plain(a), plain(b));
}

function plain(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null && item !== undefined)
      .map(([key, item]) => [key, plain(item)]),
  );
}
