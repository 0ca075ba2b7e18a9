// Which kinds are served now: the built-in ones and those that CustomResourceDefinitions add.
import { eventsView } from './events-view.ts';
import { builtInKinds, type Kind } from './kinds.ts';
import { builtinSchema } from './schema/types.ts';

const key = (group: string, version: string, plural: string): string => `${group}/${version}/${plural}`;

/** Groups in the order in which clients are told of them: kubectl takes the first that knows a name. */
const preferred = [
  '',
  'apps',
  'events.k8s.io',
  'authentication.k8s.io',
  'authorization.k8s.io',
  'batch',
  'networking.k8s.io',
  'rbac.authorization.k8s.io',
  'apiextensions.k8s.io',
  'coordination.k8s.io',
  'discovery.k8s.io',
];

/** Kinds that can only be created and are not stored: their answer is the reply. */
export interface ReviewKind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  readonly definition: string;
}

const review = (group: string, folder: string, kind: string, namespaced = false): ReviewKind => ({
  group,
  version: 'v1',
  kind,
  plural: `${kind.toLowerCase()}s`,
  namespaced,
  definition: `io.k8s.api.${folder}.v1.${kind}`,
});

const reviewKinds: readonly ReviewKind[] = [
  review('authentication.k8s.io', 'authentication', 'TokenReview'),
  review('authentication.k8s.io', 'authentication', 'SelfSubjectReview'),
  review('authorization.k8s.io', 'authorization', 'SubjectAccessReview'),
  review('authorization.k8s.io', 'authorization', 'LocalSubjectAccessReview', true),
  review('authorization.k8s.io', 'authorization', 'SelfSubjectAccessReview'),
  review('authorization.k8s.io', 'authorization', 'SelfSubjectRulesReview'),
];

export interface Group {
  readonly name: string;
  /** The first is the preferred one. */
  readonly versions: readonly string[];
}

/** Rank of a version: v1 before v1beta1 before v1alpha1, higher numbers first (Kubernetes' version priority). */
function versionRank(version: string): readonly number[] {
  const match = /^v(\d+)(?:(alpha|beta)(\d+))?$/.exec(version);
  if (match === null) return [0, 0, 0];
  return [match[2] === undefined ? 3 : match[2] === 'beta' ? 2 : 1, Number(match[1]), Number(match[3] ?? 0)];
}

export function compareVersions(a: string, b: string): number {
  const [left, right] = [versionRank(a), versionRank(b)];
  for (const [i, value] of left.entries()) if (value !== right[i]) return (right[i] ?? 0) - value;
  return a < b ? -1 : a > b ? 1 : 0;
}

export class Registry {
  readonly #kinds = new Map<string, Kind>();
  readonly #reviews = new Map<string, ReviewKind>();
  #revision = 0;

  constructor() {
    for (const kind of [...builtInKinds(builtinSchema), eventsView(builtinSchema)])
      this.#kinds.set(key(kind.group, kind.version, kind.plural), kind);
    for (const kind of reviewKinds) this.#reviews.set(key(kind.group, kind.version, kind.plural), kind);
  }

  /** Changes with each change of the kinds: what was computed from them is then out of date. */
  get revision(): number {
    return this.#revision;
  }

  find(group: string, version: string, plural: string): Kind | undefined {
    return this.#kinds.get(key(group, version, plural));
  }

  review(group: string, version: string, plural: string): ReviewKind | undefined {
    return this.#reviews.get(key(group, version, plural));
  }

  /** Every kind of a group and version. */
  kinds(group: string, version: string): Kind[] {
    return [...this.#kinds.values()].filter((kind) => kind.group === group && kind.version === version);
  }

  reviews(group: string, version: string): ReviewKind[] {
    return reviewKinds.filter((kind) => kind.group === group && kind.version === version);
  }

  /** Puts the kinds of one CustomResourceDefinition in the place of those that it had before. */
  replaceCustom(definition: string, kinds: readonly Kind[]): void {
    for (const [name, kind] of this.#kinds) if (kind.custom?.definition === definition) this.#kinds.delete(name);
    for (const kind of kinds) {
      const name = key(kind.group, kind.version, kind.plural);
      if (!this.#kinds.has(name)) this.#kinds.set(name, kind);
    }
    this.#revision++;
  }

  groups(): Group[] {
    const versions = new Map<string, Set<string>>();
    for (const { group, version } of [...this.#kinds.values(), ...reviewKinds])
      versions.set(group, (versions.get(group) ?? new Set()).add(version));
    const rank = (name: string): number => (preferred.includes(name) ? preferred.indexOf(name) : preferred.length);
    return [...versions]
      .sort(([a], [b]) => rank(a) - rank(b) || (a < b ? -1 : 1))
      .map(([name, set]) => ({ name, versions: [...set].sort(compareVersions) }));
  }
}
