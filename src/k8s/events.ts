// The event recorder: what happened to an object, as `kubectl describe` and `kubectl get events` show it.
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, isNotFound } from './client.ts';
import type { KubeObject } from './object.ts';
import { events } from './resources.ts';
import type { Event, ObjectReference } from './types.generated.ts';

export interface Recorder {
  /**
   * Records an event; it returns at once and never throws. A repeat of the same event raises the count of the first.
   * `object` is the object itself, or a reference (a reference may carry a fieldPath such as spec.containers{app}).
   */
  event(object: KubeObject | ObjectReference, type: 'Normal' | 'Warning', reason: string, message: string): void;
  /** Resolves when everything recorded so far has been sent. */
  flush(): Promise<void>;
}

interface Known {
  readonly namespace: string;
  readonly name: string;
  count: number;
}

/** How many different events are remembered for counting; the oldest is forgotten (upstream keeps 4096). */
const remembered = 1024;
const longestMessage = 1024;
/** How long an event lets more urgent requests go first, in ms. */
const courtesy = 20;

/** A recorder for a component (`kubelet`, `deployment-controller`), on a host where that means something. */
export function createRecorder(client: Pick<Client, 'create' | 'patch'>, component: string, host?: string): Recorder {
  const known = new Map<string, Known>();
  let last: Promise<void> = Promise.resolve();

  const create = async (reference: ObjectReference, type: string, reason: string, message: string): Promise<Known> => {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    const namespace = reference.namespace || 'default';
    const name = `${reference.name ?? 'unknown'}.${randomBytes(8).toString('hex')}`;
    const event: Event = {
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      involvedObject: reference,
      reason,
      message,
      type,
      count: 1,
      firstTimestamp: now,
      lastTimestamp: now,
      source: { component, ...(host !== undefined && { host }) },
      reportingComponent: component,
      reportingInstance: host ?? '',
    };
    await client.create(events, event);
    return { namespace, name, count: 1 };
  };
  const send = async (reference: ObjectReference, type: string, reason: string, message: string): Promise<void> => {
    const { kind, namespace, name, uid, fieldPath } = reference;
    const key = JSON.stringify([kind, namespace, name, uid, fieldPath, type, reason, message]);
    const before = known.get(key);
    known.delete(key);
    if (before !== undefined && (await repeat(before))) {
      known.set(key, before);
      return;
    }
    known.set(key, await create(reference, type, reason, message));
    const oldest = known.size > remembered ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
  };
  const repeat = async (before: Known): Promise<boolean> => {
    before.count++;
    const lastTimestamp = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    try {
      await client.patch(events, before, { type: 'merge', body: { count: before.count, lastTimestamp } });
      return true;
    } catch (error) {
      // It has expired meanwhile: it begins anew.
      if (isNotFound(error)) return false;
      throw error;
    }
  };
  return {
    event(object, type, reason, message) {
      const reference = 'metadata' in object ? referenceOf(object) : object;
      const text = message.length > longestMessage ? `${message.slice(0, longestMessage - 3)}...` : message;
      // One after the other, so that a repeat finds the first, and after what the event tells of, which is urgent.
      // An event that cannot be sent is lost, as upstream's are.
      const before = last.then(() => delay(courtesy));
      last = before.then(() => send(reference, type, reason, text)).catch(() => undefined);
    },
    flush: () => last,
  };
}

/** A reference to an object, as events carry it. */
export function referenceOf(object: KubeObject): ObjectReference {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const { apiVersion, kind } = object;
  return Object.fromEntries(
    Object.entries({ apiVersion, kind, name, namespace, uid, resourceVersion }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}
