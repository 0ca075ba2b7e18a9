// The pods of a controller object: adopting and releasing them, creating and deleting them, without seeing double.
import { type Client, isAlreadyExists, isNotFound } from '../k8s/client.ts';
import { formatTime } from '../k8s/conditions.ts';
import type { Recorder } from '../k8s/events.ts';
import { type KubeObject, keyOf, type Stored } from '../k8s/object.ts';
import { controllerOf } from '../k8s/pod.ts';
import { pods } from '../k8s/resources.ts';
import { matchesLabelSelector } from '../k8s/selectors.ts';
import type { LabelSelector, OwnerReference, Pod, PodTemplateSpec } from '../k8s/types.generated.ts';
import { type ControllerContext, orphansOf } from './context.ts';

export type Owner = Stored<KubeObject & { spec: { selector?: LabelSelector } }>;
export type StoredPod = Stored<Pod>;

export interface OwnedPods {
  /**
   * The pods that the owner controls, those included that were just created and are not in the cache yet; those just
   * deleted have a deletionTimestamp. Orphans that the selector matches are adopted, pods that it no longer matches
   * are released.
   */
  of(owner: Owner): Promise<StoredPod[]>;
  /** Creates pods, all at once; throws the first error after all have ended. */
  create(owner: Owner, made: readonly Pod[]): Promise<void>;
  delete(owner: Owner, doomed: readonly StoredPod[]): Promise<void>;
  /** Forgets what it remembers of an owner that is gone. */
  forget(ownerUid: string): void;
}

/** For how long a created pod counts although the cache does not show it, in ms; a cache lags by a few. */
const trust = 5000;

export function createOwnedPods(context: ControllerContext, recorder: Recorder): OwnedPods {
  const created = new Map<string, Map<string, { pod: StoredPod; at: number }>>();
  const deleted = new Map<string, Set<string>>();
  const cache = context.cache(pods);
  const { client } = context;

  const pending = (owner: Owner): StoredPod[] => {
    const mine = created.get(owner.metadata.uid);
    if (mine === undefined) return [];
    for (const [uid, { pod, at }] of mine)
      if (cache.get(pod.metadata)?.metadata.uid === uid || context.now() - at > trust) mine.delete(uid);
    return [...mine.values()].map(({ pod }) => pod);
  };

  return {
    async of(owner) {
      const namespace = owner.metadata.namespace ?? '';
      const doomed = deleted.get(owner.metadata.uid);
      const cached = context.podsByOwner.get(owner.metadata.uid);
      const seen = new Set(cached.map((pod) => pod.metadata.uid));
      if (doomed !== undefined) for (const uid of doomed) if (!seen.has(uid)) doomed.delete(uid);
      const owned: StoredPod[] = [...pending(owner)];
      for (const pod of cached)
        if (
          matchesLabelSelector(owner.spec.selector, pod.metadata.labels) ||
          pod.metadata.deletionTimestamp !== undefined
        )
          owned.push(pod);
        else await release(client, owner, pod);
      if (owner.metadata.deletionTimestamp === undefined)
        for (const pod of context.podsByOwner.get(orphansOf(namespace)))
          if (
            matchesLabelSelector(owner.spec.selector, pod.metadata.labels) &&
            pod.metadata.deletionTimestamp === undefined
          )
            owned.push(await adopt(client, owner, pod));
      if (doomed === undefined || doomed.size === 0) return owned;
      const deletionTimestamp = formatTime(context.now());
      return owned.map((pod) =>
        doomed.has(pod.metadata.uid) ? { ...pod, metadata: { deletionTimestamp, ...pod.metadata } } : pod,
      );
    },
    async create(owner, made) {
      const mine = created.get(owner.metadata.uid) ?? new Map<string, { pod: StoredPod; at: number }>();
      created.set(owner.metadata.uid, mine);
      const results = await Promise.allSettled(
        made.map(async (pod) => {
          const stored = await client.create(pods, pod);
          mine.set(stored.metadata.uid, { pod: stored, at: context.now() });
          recorder.event(owner, 'Normal', 'SuccessfulCreate', `Created pod: ${stored.metadata.name}`);
        }),
      );
      const failed = results.find((result) => result.status === 'rejected');
      if (failed === undefined) return;
      if (!isAlreadyExists(failed.reason))
        recorder.event(owner, 'Warning', 'FailedCreate', `Error creating: ${messageOf(failed.reason)}`);
      throw failed.reason;
    },
    async delete(owner, doomed) {
      const marked = deleted.get(owner.metadata.uid) ?? new Set<string>();
      deleted.set(owner.metadata.uid, marked);
      await Promise.all(
        doomed.map(async ({ metadata }) => {
          try {
            await client.delete(pods, metadata, { preconditions: { uid: metadata.uid } });
            recorder.event(owner, 'Normal', 'SuccessfulDelete', `Deleted pod: ${metadata.name}`);
          } catch (error) {
            if (!isNotFound(error)) {
              recorder.event(owner, 'Warning', 'FailedDelete', `Error deleting: ${messageOf(error)}`);
              throw error;
            }
          }
          marked.add(metadata.uid);
        }),
      );
    },
    forget(ownerUid) {
      created.delete(ownerUid);
      deleted.delete(ownerUid);
    },
  };
}

/** The reference by which an object is controlled. */
export function controllerReference(owner: Stored<KubeObject>): OwnerReference {
  const { apiVersion, kind, metadata } = owner;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid, controller: true, blockOwnerDeletion: true };
}

/** A pod from a template, owned by the owner; its name is generated after the owner's unless given. */
export function podFromTemplate(owner: Stored<KubeObject>, template: PodTemplateSpec, name?: string): Pod {
  const { labels, annotations, finalizers } = template.metadata ?? {};
  const { name: ownerName, namespace } = owner.metadata;
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      ...(name === undefined ? { generateName: generatedPrefix(ownerName) } : { name }),
      ...(namespace !== undefined && { namespace }),
      ...(labels !== undefined && { labels: { ...labels } }),
      ...(annotations !== undefined && { annotations: { ...annotations } }),
      ...(finalizers !== undefined && { finalizers: [...finalizers] }),
      ownerReferences: [controllerReference(owner)],
    },
    spec: structuredClone(template.spec ?? { containers: [] }),
  };
}

/** The server adds five characters, and a pod's name has 63 at most to serve as its hostname. */
function generatedPrefix(name: string): string {
  return `${name}-`.length > 58 ? `${name.slice(0, 57)}-` : `${name}-`;
}

async function adopt(client: Client, owner: Owner, pod: StoredPod): Promise<StoredPod> {
  const ownerReferences = [...(pod.metadata.ownerReferences ?? []), controllerReference(owner)];
  const { uid, resourceVersion } = pod.metadata;
  return client.patch(pods, pod.metadata, {
    type: 'merge',
    body: { metadata: { uid, resourceVersion, ownerReferences } },
  });
}

async function release(client: Client, owner: Owner, pod: StoredPod): Promise<void> {
  const ownerReferences = (pod.metadata.ownerReferences ?? []).filter(({ uid }) => uid !== owner.metadata.uid);
  const { uid, resourceVersion } = pod.metadata;
  try {
    await client.patch(pods, pod.metadata, {
      type: 'merge',
      body: { metadata: { uid, resourceVersion, ownerReferences } },
    });
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
}

/** The key of an object's controller where it is of the given kind: what the queue of that kind is told on a change. */
export function controllerKey(object: KubeObject, kind: string): string | undefined {
  const controller = controllerOf(object);
  return controller?.kind === kind ? keyOf({ name: controller.name, namespace: object.metadata.namespace }) : undefined;
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
