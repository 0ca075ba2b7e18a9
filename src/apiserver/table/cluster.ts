// Tables of nodes, namespaces, configuration, access rights and events.
import type {
  ClusterRoleBinding,
  ConfigMap,
  Event,
  Lease,
  Namespace,
  Node,
  RoleBinding,
  Secret,
  ServiceAccount,
  Subject,
} from '../../k8s/types.generated.ts';
import { type ApiObject, fieldsOf, textAt, typed } from '../object.ts';
import { age, type Cell, nameColumn, number, text } from './columns.ts';
import { ageOf } from './duration.ts';
import type { Printer } from './table.ts';

const rolePrefix = 'node-role.kubernetes.io/';

function nodeRoles({ metadata }: Node): string {
  const roles = Object.entries(metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(rolePrefix)) return [key.slice(rolePrefix.length)];
    return key === 'kubernetes.io/role' ? [value] : [];
  });
  return [...new Set(roles.filter((role) => role !== ''))].sort().join(',') || '<none>';
}

function nodeStatus({ status, spec }: Node): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  const word = ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady';
  return spec?.unschedulable === true ? `${word},SchedulingDisabled` : word;
}

const nodes: Printer = {
  columns: [
    nameColumn,
    text('Status'),
    text('Roles'),
    age,
    text('Version'),
    text('Internal-IP', 1),
    text('External-IP', 1),
    text('OS-Image', 1),
    text('Kernel-Version', 1),
    text('Container-Runtime', 1),
  ],
  cells: (object, now) => {
    const node = typed<Node>(object);
    const { metadata, status } = node;
    const address = (type: string): string => status?.addresses?.find((one) => one.type === type)?.address ?? '<none>';
    const info = status?.nodeInfo;
    return [
      metadata.name ?? '',
      nodeStatus(node),
      nodeRoles(node),
      ageOf(metadata.creationTimestamp, now),
      info?.kubeletVersion ?? '',
      address('InternalIP'),
      address('ExternalIP'),
      info?.osImage || '<unknown>',
      info?.kernelVersion || '<unknown>',
      info?.containerRuntimeVersion || '<unknown>',
    ];
  },
};

/** Name, some cells in the middle, age. */
const simple = (
  columns: Printer['columns'],
  middle: (object: ApiObject) => Cell[],
  wide: Printer['columns'] = [],
  wideCells: (object: ApiObject) => Cell[] = () => [],
): Printer => ({
  columns: [nameColumn, ...columns, age, ...wide],
  cells: (object, now) => [
    object.metadata.name ?? '',
    ...middle(object),
    ageOf(object.metadata.creationTimestamp, now),
    ...wideCells(object),
  ],
});

const count = (value: unknown): number => Object.keys(fieldsOf(value)).length;

const bindingWide = [text('Users', 1), text('Groups', 1), text('ServiceAccounts', 1)];

function subjectCells(subjects: readonly Subject[] | undefined): Cell[] {
  const of = (kind: string): Subject[] => (subjects ?? []).filter((subject) => subject.kind === kind);
  return [
    of('User')
      .map(({ name }) => name)
      .join(', '),
    of('Group')
      .map(({ name }) => name)
      .join(', '),
    of('ServiceAccount')
      .map(({ name, namespace }) => `${namespace ?? ''}/${name}`)
      .join(', '),
  ];
}

const bindings: Printer = simple(
  [text('Role')],
  (object) => {
    const { roleRef } = typed<RoleBinding | ClusterRoleBinding>(object);
    return [`${roleRef.kind}/${roleRef.name}`];
  },
  bindingWide,
  (object) => subjectCells(typed<RoleBinding | ClusterRoleBinding>(object).subjects),
);

const roles: Printer = {
  columns: [nameColumn, text('Created At')],
  cells: ({ metadata }) => [metadata.name ?? '', metadata.creationTimestamp ?? ''],
};

const lastSeen = ({ series, lastTimestamp, eventTime, firstTimestamp }: Event): string =>
  series?.lastObservedTime ?? lastTimestamp ?? firstTimestamp ?? eventTime ?? '';

function eventCells(object: ApiObject, now: number): Cell[] {
  const event = typed<Event>(object);
  const { involvedObject, metadata, source, series } = event;
  const times = series?.count ?? event.count ?? 1;
  const first = event.firstTimestamp ?? event.eventTime ?? '';
  const seen = ageOf(lastSeen(event), now);
  const from = source?.component ? source.component : (event.reportingComponent ?? '');
  return [
    times > 1 ? `${seen} (x${times} over ${ageOf(first, now)})` : seen,
    event.type ?? '',
    event.reason ?? '',
    `${(involvedObject.kind ?? '').toLowerCase()}/${involvedObject.name ?? ''}`,
    involvedObject.fieldPath ?? '',
    source?.host ? `${from}, ${source.host}` : from,
    (event.message ?? '').trim(),
    ageOf(first, now),
    times,
    metadata.name ?? '',
  ];
}

const events: Printer = {
  columns: [
    text('Last Seen'),
    text('Type'),
    text('Reason'),
    text('Object'),
    text('Subobject', 1),
    text('Source', 1),
    text('Message'),
    text('First Seen', 1),
    number('Count', 1),
    { ...nameColumn, priority: 1 },
  ],
  cells: eventCells,
};

export const clusterPrinters: Readonly<Record<string, Printer>> = {
  '/nodes': nodes,
  '/namespaces': simple([text('Status')], (object) => [typed<Namespace>(object).status?.phase ?? '']),
  '/configmaps': simple([number('Data')], (object) => {
    const { data, binaryData } = typed<ConfigMap>(object);
    return [count(data) + count(binaryData)];
  }),
  '/secrets': simple([text('Type'), number('Data')], (object) => {
    const { type, data } = typed<Secret>(object);
    return [type ?? 'Opaque', count(data)];
  }),
  '/serviceaccounts': simple([number('Secrets')], (object) => [typed<ServiceAccount>(object).secrets?.length ?? 0]),
  '/events': events,
  'coordination.k8s.io/leases': simple([text('Holder')], (object) => [typed<Lease>(object).spec?.holderIdentity ?? '']),
  'rbac.authorization.k8s.io/roles': roles,
  'rbac.authorization.k8s.io/clusterroles': roles,
  'rbac.authorization.k8s.io/rolebindings': bindings,
  'rbac.authorization.k8s.io/clusterrolebindings': bindings,
  'apiextensions.k8s.io/customresourcedefinitions': {
    columns: [nameColumn, text('Created At')],
    cells: (object) => [object.metadata.name ?? '', textAt(object, 'metadata', 'creationTimestamp')],
  },
};
