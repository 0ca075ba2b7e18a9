// Pod templates: their hash, and whether two are the same.
import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { PodTemplateSpec } from '../k8s/types.generated.ts';

export const podTemplateHashLabel = 'pod-template-hash';

/** Letters and digits that cannot form words (apimachinery's SafeEncodeString). */
const alphabet = 'bcdfghjklmnpqrstvwxz2456789';

/** A short name for a value that stays the same in every process; collisions counts up when a name is taken by another. */
export function hashOf(value: unknown, collisions = 0): string {
  const digest = createHash('sha256')
    .update(canonicalJson(value))
    .update(collisions > 0 ? String(collisions) : '')
    .digest();
  return [...digest.subarray(0, 10)].map((byte) => alphabet[byte % alphabet.length]).join('');
}

/** JSON with the keys of objects in order, and without what is undefined. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === 'object' && each !== null && !Array.isArray(each)
      ? Object.fromEntries(Object.entries(each).sort(([a], [b]) => (a < b ? -1 : 1)))
      : each,
  );
}

/** The template without the label of its hash and without what only a stored object has. */
export function plainTemplate(template: PodTemplateSpec | undefined): PodTemplateSpec {
  const { [podTemplateHashLabel]: _hash, ...labels } = template?.metadata?.labels ?? {};
  const annotations = template?.metadata?.annotations ?? {};
  return {
    metadata: {
      ...(Object.keys(labels).length > 0 && { labels }),
      ...(Object.keys(annotations).length > 0 && { annotations }),
    },
    ...(template?.spec !== undefined && { spec: template.spec }),
  };
}

export function sameTemplate(a: PodTemplateSpec | undefined, b: PodTemplateSpec | undefined): boolean {
  return isDeepStrictEqual(plainTemplate(a), plainTemplate(b));
}
