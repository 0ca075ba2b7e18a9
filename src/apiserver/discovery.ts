// Discovery: which groups, versions and resources are served; plain (one document a group version) and aggregated.
import { type Kind, type Subresource, verbsOf } from './kinds.ts';
import type { Group, Registry, ReviewKind } from './registry.ts';

interface Api {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
}

/** The kind that a subresource answers with, and its verbs; the kind of the parent where none is named. */
const subresources: Readonly<Record<Subresource, { readonly answer?: Api; readonly verbs: readonly string[] }>> = {
  status: { verbs: ['get', 'patch', 'update'] },
  scale: { answer: { group: 'autoscaling', version: 'v1', kind: 'Scale' }, verbs: ['get', 'patch', 'update'] },
  finalize: { verbs: ['update'] },
  binding: { answer: { group: '', version: 'v1', kind: 'Binding' }, verbs: ['create'] },
  eviction: { answer: { group: 'policy', version: 'v1', kind: 'Eviction' }, verbs: ['create'] },
  ephemeralcontainers: { verbs: ['get', 'patch', 'update'] },
  token: { answer: { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' }, verbs: ['create'] },
  log: { verbs: ['get'] },
  exec: { answer: { group: '', version: 'v1', kind: 'PodExecOptions' }, verbs: ['create', 'get'] },
  attach: { answer: { group: '', version: 'v1', kind: 'PodAttachOptions' }, verbs: ['create', 'get'] },
  portforward: { answer: { group: '', version: 'v1', kind: 'PodPortForwardOptions' }, verbs: ['create', 'get'] },
  proxy: { verbs: ['create', 'delete', 'get', 'patch', 'update'] },
};

const proxyKind: Readonly<Record<string, string>> = {
  pods: 'PodProxyOptions',
  services: 'ServiceProxyOptions',
  nodes: 'NodeProxyOptions',
};

function answerOf(kind: Kind, subresource: Subresource): Api {
  const own = { group: kind.group, version: kind.version, kind: kind.kind };
  if (subresource === 'proxy') return { ...own, kind: proxyKind[kind.plural] ?? kind.kind };
  return subresources[subresource].answer ?? own;
}

/** `/api`: the versions of the core group. */
export const coreVersions = (): unknown => ({
  kind: 'APIVersions',
  versions: ['v1'],
  serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress: '' }],
});

const groupVersion = (group: string, version: string): { groupVersion: string; version: string } => ({
  groupVersion: group === '' ? version : `${group}/${version}`,
  version,
});

/** `/apis/G`. */
export const groupDocument = ({ name, versions }: Group): unknown => ({
  kind: 'APIGroup',
  apiVersion: 'v1',
  ...groupEntry({ name, versions }),
});

const groupEntry = ({ name, versions }: Group): object => ({
  name,
  versions: versions.map((version) => groupVersion(name, version)),
  preferredVersion: groupVersion(name, versions[0] ?? 'v1'),
});

/** `/apis`: all groups but core. */
export const groupList = (registry: Registry): unknown => ({
  kind: 'APIGroupList',
  apiVersion: 'v1',
  groups: registry
    .groups()
    .filter(({ name }) => name !== '')
    .map(groupEntry),
});

/** `/api/v1`, `/apis/G/V`: the resources of a group version; undefined where it is not served. */
export function resourceList(registry: Registry, group: string, version: string): unknown {
  const kinds = registry.kinds(group, version);
  const reviews = registry.reviews(group, version);
  if (kinds.length + reviews.length === 0) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: groupVersion(group, version).groupVersion,
    resources: [...kinds.flatMap(plainResources), ...reviews.map(plainReview)],
  };
}

function plainResources(kind: Kind): object[] {
  const { plural, singular, namespaced, shortNames, categories } = kind;
  const own = {
    name: plural,
    singularName: singular,
    namespaced,
    kind: kind.kind,
    verbs: verbsOf(kind),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
  };
  const subs = kind.subresources.map((name) => {
    const answer = answerOf(kind, name);
    const elsewhere = answer.group !== kind.group || answer.version !== kind.version;
    return {
      name: `${plural}/${name}`,
      singularName: '',
      namespaced,
      ...(elsewhere ? { group: answer.group, version: answer.version } : {}),
      kind: answer.kind,
      verbs: subresources[name].verbs,
    };
  });
  return [own, ...subs];
}

const plainReview = ({ plural, kind, namespaced }: ReviewKind): object => ({
  name: plural,
  singularName: kind.toLowerCase(),
  namespaced,
  kind,
  verbs: ['create'],
});

/** The aggregated form (KEP-3352): all groups, or the core group alone, in one document. */
export function aggregated(registry: Registry, core: boolean, version: 'v2' | 'v2beta1'): unknown {
  return {
    kind: 'APIGroupDiscoveryList',
    apiVersion: `apidiscovery.k8s.io/${version}`,
    metadata: {},
    items: registry
      .groups()
      .filter(({ name }) => (name === '') === core)
      .map(({ name, versions }) => ({
        metadata: name === '' ? { creationTimestamp: null } : { name, creationTimestamp: null },
        versions: versions.map((one) => ({
          version: one,
          resources: [
            ...registry.kinds(name, one).map(aggregatedResource),
            ...registry.reviews(name, one).map(aggregatedReview),
          ],
          freshness: 'Current',
        })),
      })),
  };
}

const aggregatedReview = ({ group, version, kind, plural, namespaced }: ReviewKind): object => ({
  resource: plural,
  responseKind: { group, version, kind },
  scope: namespaced ? 'Namespaced' : 'Cluster',
  singularResource: kind.toLowerCase(),
  verbs: ['create'],
});

function aggregatedResource(kind: Kind): object {
  const { shortNames, categories } = kind;
  return {
    resource: kind.plural,
    responseKind: { group: kind.group, version: kind.version, kind: kind.kind },
    scope: kind.namespaced ? 'Namespaced' : 'Cluster',
    singularResource: kind.singular,
    verbs: verbsOf(kind),
    ...(shortNames.length === 0 ? {} : { shortNames }),
    ...(categories.length === 0 ? {} : { categories }),
    ...(kind.subresources.length === 0
      ? {}
      : {
          subresources: kind.subresources.map((name) => ({
            subresource: name,
            responseKind: answerOf(kind, name),
            verbs: subresources[name].verbs,
          })),
        }),
  };
}
