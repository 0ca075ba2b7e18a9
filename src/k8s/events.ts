// The event recorder: what happened to an object, as `kubectl describe` and `kubectl get events` show it.
import { randomInt } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { type Client, isAlreadyExists, isNotFound } from './client.ts';
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

/** A recorder of several processes that tell of the same. */
export interface SharedRecorder extends Recorder {
  /**
   * As {@link event}, where several processes tell of the same: what they tell with the same `occasion` (lower case
   * letters and digits) is one event, that of the first.
   */
  eventOnce(
    object: KubeObject | ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    occasion: string,
  ): void;
}

interface Known {
  readonly namespace: string;
  readonly name: string;
  count: number;
}

interface Happening {
  readonly reference: ObjectReference;
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  /** In nanoseconds since 1970. */
  readonly happened: bigint;
  /** Others may tell of it too: its name follows from this. */
  readonly occasion?: string;
}

/** Milliseconds since 1970 as RFC 3339 without fractions of a second. */
const timestamp = (time: number): string => new Date(time).toISOString().replace(/\.\d+Z$/, 'Z');

/** How many different events are remembered for counting; the oldest is forgotten (upstream keeps 4096). */
const remembered = 1024;
const longestMessage = 1024;
/** How long an event lets more urgent requests go first, in ms. */
const courtesy = 20;

/** A recorder for a component (`kubelet`, `deployment-controller`), on a host where that means something. */
export function createRecorder(
  client: Pick<Client, 'create' | 'patch'>,
  component: string,
  host?: string,
): SharedRecorder {
  const known = new Map<string, Known>();
  let newest = 0n;
  /** The time now in nanoseconds since 1970, each time a later one: the digits below the microsecond are random. */
  const stamp = (): bigint => {
    const microseconds = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000));
    const now = microseconds * 1000n + BigInt(randomInt(1000));
    newest = now > newest ? now : newest + 1n;
    return newest;
  };
  let last: Promise<void> = Promise.resolve();

  const create = async ({ reference, type, reason, message, happened, occasion }: Happening): Promise<Known> => {
    const now = timestamp(Number(happened / 1_000_000n));
    const namespace = reference.namespace || 'default';
    // Named after the time, as upstream's: listed, the events of an object are in the order in which they happened.
    const name = `${reference.name ?? 'unknown'}.${occasion ?? happened.toString(16)}`;
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
  const send = async (happening: Happening): Promise<void> => {
    if (happening.occasion !== undefined) {
      await create(happening).catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
      return;
    }
    const { reference, type, reason, message } = happening;
    const { kind, namespace, name, uid, fieldPath } = reference;
    const key = JSON.stringify([kind, namespace, name, uid, fieldPath, type, reason, message]);
    const before = known.get(key);
    known.delete(key);
    if (before !== undefined && (await repeat(before))) {
      known.set(key, before);
      return;
    }
    known.set(key, await create(happening));
    const oldest = known.size > remembered ? known.keys().next().value : undefined;
    if (oldest !== undefined) known.delete(oldest);
  };
  const repeat = async (before: Known): Promise<boolean> => {
    before.count++;
    const lastTimestamp = timestamp(Date.now());
    try {
      await client.patch(events, before, { type: 'merge', body: { count: before.count, lastTimestamp } });
      return true;
    } catch (error) {
      // It has expired meanwhile: it begins anew.
      if (isNotFound(error)) return false;
      throw error;
    }
  };
  const record = (
    object: KubeObject | ObjectReference,
    { message, ...rest }: Omit<Happening, 'reference' | 'happened'>,
  ): void => {
    const reference = 'metadata' in object ? referenceOf(object) : object;
    const text = message.length > longestMessage ? `${message.slice(0, longestMessage - 3)}...` : message;
    // One after the other, so that a repeat finds the first, and after what the event tells of, which is urgent.
    // An event that cannot be sent is lost, as upstream's are.
    const before = last.then(() => delay(courtesy));
    const happening: Happening = { reference, ...rest, message: text, happened: stamp() };
    last = before.then(() => send(happening)).catch(() => undefined);
  };
  return {
    event: (object, type, reason, message) => record(object, { type, reason, message }),
    eventOnce: (object, type, reason, message, occasion) => record(object, { type, reason, message, occasion }),
    flush: () => last,
  };
}

/** A reference to an object, as events carry it. */
function referenceOf(object: KubeObject): ObjectReference {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  const { apiVersion, kind } = object;
  return Object.fromEntries(
    Object.entries({ apiVersion, kind, name, namespace, uid, resourceVersion }).filter(
      ([, value]) => value !== undefined,
    ),
  );
}
