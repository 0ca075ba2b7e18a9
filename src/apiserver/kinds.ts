// The built-in kinds: their names, where they are served, and what can be done with them.
import type { ApiObject } from './object.ts';
import type { KindSchema } from './schema/types.ts';
import type { Column } from './table/columns.ts';

export type Subresource =
  | 'status'
  | 'scale'
  | 'finalize'
  | 'binding'
  | 'eviction'
  | 'ephemeralcontainers'
  | 'token'
  | 'log'
  | 'exec'
  | 'attach'
  | 'portforward'
  | 'proxy';

/** Where a custom resource's scale subresource finds its numbers. */
export interface ScalePaths {
  readonly spec: readonly string[];
  readonly status: readonly string[];
  readonly selector: readonly string[] | undefined;
}

/** What a CustomResourceDefinition adds to a kind. */
export interface CustomKind {
  /** The CRD's name: `plural.group`. */
  readonly definition: string;
  readonly openApi: unknown;
  readonly columns: readonly { column: Column; path: string }[];
  readonly scale: ScalePaths | undefined;
}

/** A kind in one version, as it is served. */
export interface Kind {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  readonly categories: readonly string[];
  readonly subresources: readonly Subresource[];
  /** The version whose defaults and rules are this one's too; its own where absent. */
  readonly rules?: string;
  /** Which shelf of the storage holds the objects: all versions of a kind share one. */
  readonly storage: string;
  /** The name of its OpenAPI definition. */
  readonly definition: string;
  /** Made on first use: schemas are large. */
  readonly schema: () => KindSchema;
  /** Whether `metadata.generation` counts the changes of the desired state. */
  readonly generation: boolean;
  /** There are never any objects of it: see {@link Row.unserved}. */
  readonly unserved?: true;
  readonly custom?: CustomKind;
  /** For a second view of objects that are stored as another kind: from storage, and back. */
  readonly view?: { readonly read: (stored: ApiObject) => ApiObject; readonly write: (object: ApiObject) => ApiObject };
}

export const apiVersionOf = (kind: Pick<Kind, 'group' | 'version'>): string =>
  kind.group === '' ? kind.version : `${kind.group}/${kind.version}`;

/** `v1/Pod`, `apps/v1/Deployment`: how the schema room names a kind. An older version has the defaults and rules of v1. */
export const gvkOf = ({ group, version, rules = version, kind }: Kind): string =>
  `${apiVersionOf({ group, version: rules })}/${kind}`;

/** The resource as errors name it. */
export const resourceOf = (kind: Kind): { group: string; resource: string } => ({
  group: kind.group,
  resource: kind.plural,
});

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch'] as const;
const readVerbs = ['get', 'list', 'watch'] as const;

/** What can be done with the objects of a kind. */
export const verbsOf = (kind: Pick<Kind, 'unserved'>): readonly string[] => (kind.unserved ? readVerbs : verbs);

interface Row {
  readonly kind: string;
  readonly plural: string;
  readonly cluster?: true;
  readonly short?: readonly string[];
  readonly all?: true;
  readonly sub?: readonly Subresource[];
  readonly generation?: true;
  /**
   * Weft does nothing with this kind, so nobody can create objects of it. It can be listed, and is empty: commands that
   * go through all usual kinds (`kubectl apply --prune`, `kubectl cluster-info dump`) fail where one is not known.
   */
  readonly unserved?: true;
  /** Versions with the same fields that are served beside v1, of the same objects. */
  readonly older?: readonly string[];
}

const core: readonly Row[] = [
  { kind: 'Namespace', plural: 'namespaces', cluster: true, short: ['ns'], sub: ['status', 'finalize'] },
  { kind: 'Node', plural: 'nodes', cluster: true, short: ['no'], sub: ['status', 'proxy'] },
  {
    kind: 'Pod',
    plural: 'pods',
    short: ['po'],
    all: true,
    sub: ['status', 'binding', 'eviction', 'ephemeralcontainers', 'log', 'exec', 'attach', 'portforward', 'proxy'],
    generation: true,
  },
  { kind: 'Service', plural: 'services', short: ['svc'], all: true, sub: ['status', 'proxy'] },
  { kind: 'Endpoints', plural: 'endpoints', short: ['ep'] },
  { kind: 'ConfigMap', plural: 'configmaps', short: ['cm'] },
  { kind: 'Secret', plural: 'secrets' },
  { kind: 'ServiceAccount', plural: 'serviceaccounts', short: ['sa'], sub: ['token'] },
  { kind: 'Event', plural: 'events', short: ['ev'] },
  { kind: 'PersistentVolume', plural: 'persistentvolumes', cluster: true, short: ['pv'], unserved: true },
  { kind: 'PersistentVolumeClaim', plural: 'persistentvolumeclaims', short: ['pvc'], unserved: true },
  { kind: 'ReplicationController', plural: 'replicationcontrollers', short: ['rc'], all: true, unserved: true },
];

const groups: readonly { group: string; package: string; rows: readonly Row[] }[] = [
  { group: '', package: 'io.k8s.api.core.v1', rows: core },
  {
    group: 'apps',
    package: 'io.k8s.api.apps.v1',
    rows: [
      { kind: 'ControllerRevision', plural: 'controllerrevisions' },
      { kind: 'DaemonSet', plural: 'daemonsets', short: ['ds'], all: true, sub: ['status'], generation: true },
      {
        kind: 'Deployment',
        plural: 'deployments',
        short: ['deploy'],
        all: true,
        sub: ['status', 'scale'],
        generation: true,
      },
      {
        kind: 'ReplicaSet',
        plural: 'replicasets',
        short: ['rs'],
        all: true,
        sub: ['status', 'scale'],
        generation: true,
      },
      {
        kind: 'StatefulSet',
        plural: 'statefulsets',
        short: ['sts'],
        all: true,
        sub: ['status', 'scale'],
        generation: true,
      },
    ],
  },
  {
    group: 'batch',
    package: 'io.k8s.api.batch.v1',
    rows: [
      { kind: 'CronJob', plural: 'cronjobs', short: ['cj'], all: true, unserved: true },
      { kind: 'Job', plural: 'jobs', all: true, sub: ['status'], generation: true },
    ],
  },
  { group: 'coordination.k8s.io', package: 'io.k8s.api.coordination.v1', rows: [{ kind: 'Lease', plural: 'leases' }] },
  {
    group: 'discovery.k8s.io',
    package: 'io.k8s.api.discovery.v1',
    rows: [{ kind: 'EndpointSlice', plural: 'endpointslices', generation: true }],
  },
  {
    group: 'networking.k8s.io',
    package: 'io.k8s.api.networking.v1',
    rows: [
      { kind: 'Ingress', plural: 'ingresses', short: ['ing'], sub: ['status'], generation: true },
      { kind: 'IngressClass', plural: 'ingressclasses', cluster: true, generation: true },
      // kubectl 1.31 to 1.33 ask for v1beta1 of these two when they describe one.
      { kind: 'IPAddress', plural: 'ipaddresses', cluster: true, short: ['ip'], older: ['v1beta1'] },
      { kind: 'NetworkPolicy', plural: 'networkpolicies', short: ['netpol'], generation: true },
      { kind: 'ServiceCIDR', plural: 'servicecidrs', cluster: true, sub: ['status'], older: ['v1beta1'] },
    ],
  },
  {
    group: 'rbac.authorization.k8s.io',
    package: 'io.k8s.api.rbac.v1',
    rows: [
      { kind: 'ClusterRole', plural: 'clusterroles', cluster: true },
      { kind: 'ClusterRoleBinding', plural: 'clusterrolebindings', cluster: true },
      { kind: 'Role', plural: 'roles' },
      { kind: 'RoleBinding', plural: 'rolebindings' },
    ],
  },
  {
    group: 'apiextensions.k8s.io',
    package: 'io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1',
    rows: [
      {
        kind: 'CustomResourceDefinition',
        plural: 'customresourcedefinitions',
        cluster: true,
        short: ['crd', 'crds'],
        sub: ['status'],
        generation: true,
      },
    ],
  },
];

/** The function run once: its first answer is kept. */
export function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function builtIn(group: string, folder: string, row: Row, schemaOf: (definition: string) => KindSchema): Kind {
  const definition = `${folder}.${row.kind}`;
  return {
    group,
    version: 'v1',
    kind: row.kind,
    plural: row.plural,
    singular: row.kind.toLowerCase(),
    namespaced: row.cluster !== true,
    shortNames: row.short ?? [],
    categories: row.all ? ['all'] : row.kind === 'CustomResourceDefinition' ? ['api-extensions'] : [],
    subresources: row.sub ?? [],
    storage: `${group}/${row.plural}`,
    definition,
    schema: once(() => schemaOf(definition)),
    generation: row.generation === true,
    ...(row.unserved && { unserved: true }),
  };
}

/** All kinds that are served from the start; `schemaOf` makes the schema of a definition. */
export function builtInKinds(schemaOf: (definition: string) => KindSchema): Kind[] {
  return groups.flatMap(({ group, package: folder, rows }) =>
    rows.flatMap((row) => {
      const kind = builtIn(group, folder, row, schemaOf);
      return [kind, ...(row.older ?? []).map((version) => inVersion(kind, version, schemaOf))];
    }),
  );
}

/** The same objects in another version. */
function inVersion(kind: Kind, version: string, schemaOf: (definition: string) => KindSchema): Kind {
  const definition = kind.definition.replace(`.${kind.version}.`, `.${version}.`);
  const shownAs =
    (apiVersion: string) =>
    (object: ApiObject): ApiObject => ({ ...object, apiVersion });
  return {
    ...{ ...kind, version, definition, rules: kind.version, schema: once(() => schemaOf(definition)) },
    view: { read: shownAs(apiVersionOf({ group: kind.group, version })), write: shownAs(apiVersionOf(kind)) },
  };
}

/** Storage shelves that code refers to by name. */
export const shelves = {
  namespaces: '/namespaces',
  nodes: '/nodes',
  pods: '/pods',
  services: '/services',
  endpoints: '/endpoints',
  serviceAccounts: '/serviceaccounts',
  events: '/events',
  ingressClasses: 'networking.k8s.io/ingressclasses',
  ipAddresses: 'networking.k8s.io/ipaddresses',
  serviceCidrs: 'networking.k8s.io/servicecidrs',
  endpointSlices: 'discovery.k8s.io/endpointslices',
  roles: 'rbac.authorization.k8s.io/roles',
  roleBindings: 'rbac.authorization.k8s.io/rolebindings',
  clusterRoles: 'rbac.authorization.k8s.io/clusterroles',
  clusterRoleBindings: 'rbac.authorization.k8s.io/clusterrolebindings',
  definitions: 'apiextensions.k8s.io/customresourcedefinitions',
} as const;
