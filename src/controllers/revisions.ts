// ControllerRevisions: the remembered templates of DaemonSets and StatefulSets, for rollout history and undo.
import { createIndex } from '../k8s/cache-index.ts';
import { isAlreadyExists } from '../k8s/client.ts';
import { isRecord } from '../k8s/json.ts';
import type { KubeObject, Stored } from '../k8s/object.ts';
import { controllerOf } from '../k8s/pod.ts';
import { controllerRevisions } from '../k8s/resources.ts';
import type { ControllerRevision, PodTemplateSpec } from '../k8s/types.generated.ts';
import type { ControllerContext } from './context.ts';
import { controllerReference } from './owned-pods.ts';
import { canonicalJson, hashOf } from './template.ts';
import { createWritten } from './written.ts';

export const revisionHashLabel = 'controller-revision-hash';

type Owner = Stored<KubeObject & { spec: { template: PodTemplateSpec; revisionHistoryLimit?: number } }>;
export type StoredRevision = Stored<ControllerRevision>;

export interface Revisions {
  /** The owner's revisions, oldest first. */
  of(owner: Owner): StoredRevision[];
  /** The revision of the owner's template as it is now: found, renewed as the newest, or made. */
  current(owner: Owner): Promise<StoredRevision>;
  /** Removes the oldest beyond revisionHistoryLimit, except those in use. */
  truncate(owner: Owner, inUse: ReadonlySet<string>): Promise<void>;
}

/** What a revision holds: a patch that puts the template back, as kubectl rollout undo applies it. */
function dataOf(template: PodTemplateSpec): { spec: { template: object } } {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

/** The template that a revision remembers. */
export function templateOf(revision: ControllerRevision): PodTemplateSpec | undefined {
  const { data } = revision;
  const spec = isRecord(data) ? data.spec : undefined;
  const template = isRecord(spec) ? spec.template : undefined;
  if (!isRecord(template)) return undefined;
  const { $patch: _patch, ...rest } = template;
  return rest;
}

/** The name by which a revision's pods are labelled. */
export function revisionHashOf({ metadata }: ControllerRevision): string {
  return metadata.labels?.[revisionHashLabel] ?? metadata.name ?? '';
}

export function createRevisions(context: ControllerContext): Revisions {
  const { client } = context;
  const cache = context.cache(controllerRevisions);
  const index = createIndex(cache, (revision) => [controllerOf(revision)?.uid ?? '']);
  const written = createWritten<ControllerRevision>();
  cache.subscribe(({ type, object }) => written.saw(object, type === 'deleted'));

  const of = ({ metadata: { uid } }: Owner): StoredRevision[] =>
    written
      .over(index.get(uid), (revision) => controllerOf(revision)?.uid === uid)
      .sort((a, b) => a.revision - b.revision);

  return {
    of,
    async current(owner) {
      const all = of(owner);
      const data = dataOf(owner.spec.template);
      const text = canonicalJson(data);
      const newest = all.at(-1);
      const same = all.findLast((revision) => canonicalJson(revision.data) === text);
      const next = (newest?.revision ?? 0) + 1;
      if (same !== undefined) {
        if (same === newest) return same;
        // The template was put back: the old revision becomes the newest.
        const renewed = await client.patch(controllerRevisions, same.metadata, {
          type: 'merge',
          body: { revision: next },
        });
        written.wrote(renewed);
        return renewed;
      }
      for (let collisions = 0; ; collisions++) {
        const hash = hashOf(data, collisions);
        const { name, namespace } = owner.metadata;
        const revision: ControllerRevision = {
          apiVersion: 'apps/v1',
          kind: 'ControllerRevision',
          metadata: {
            name: `${name}-${hash}`,
            ...(namespace !== undefined && { namespace }),
            labels: { ...owner.spec.template.metadata?.labels, [revisionHashLabel]: hash },
            ownerReferences: [controllerReference(owner)],
          },
          data,
          revision: next,
        };
        try {
          const made = await client.create(controllerRevisions, revision);
          written.wrote(made);
          return made;
        } catch (error) {
          if (!isAlreadyExists(error) || collisions === 10) throw error;
          const found = await client.get(controllerRevisions, { name: `${name}-${hash}`, namespace });
          if (controllerOf(found)?.uid === owner.metadata.uid && canonicalJson(found.data) === text) {
            written.wrote(found);
            return found;
          }
        }
      }
    },
    async truncate(owner, inUse) {
      const spare = of(owner).filter((revision) => !inUse.has(revisionHashOf(revision)));
      const surplus = spare.length - (owner.spec.revisionHistoryLimit ?? 10);
      for (const revision of spare.slice(0, Math.max(0, surplus))) {
        await client.delete(controllerRevisions, revision.metadata);
        written.deleted(revision);
      }
    },
  };
}
