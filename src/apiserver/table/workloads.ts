// Tables of the workloads: what owns pods.
import { formatLabelSelector } from '../../k8s/selectors.ts';
import type {
  DaemonSet,
  Deployment,
  Job,
  LabelSelector,
  PodTemplateSpec,
  ReplicaSet,
  Scale,
  StatefulSet,
} from '../../k8s/types.generated.ts';
import { typed } from '../object.ts';
import { age, nameColumn, number, text } from './columns.ts';
import { ageOf, humanDuration } from './duration.ts';
import type { Printer } from './table.ts';

const containersWide = [text('Containers', 1), text('Images', 1)];

const containerCells = (template: PodTemplateSpec): [string, string] => {
  const containers = template.spec?.containers ?? [];
  return [containers.map(({ name }) => name).join(','), containers.map(({ image }) => image ?? '').join(',')];
};

/** `<none>` for a selector that selects nothing in particular. */
export const selectorCell = (selector: LabelSelector | undefined): string =>
  (selector === undefined ? '' : formatLabelSelector(selector)) || '<none>';

const deployments: Printer = {
  columns: [
    nameColumn,
    text('Ready'),
    number('Up-to-date'),
    number('Available'),
    age,
    ...containersWide,
    text('Selector', 1),
  ],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<Deployment>(object);
    return [
      metadata.name ?? '',
      `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`,
      status?.updatedReplicas ?? 0,
      status?.availableReplicas ?? 0,
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(spec.template),
      selectorCell(spec.selector),
    ];
  },
};

const replicaSets: Printer = {
  columns: [
    nameColumn,
    number('Desired'),
    number('Current'),
    number('Ready'),
    age,
    ...containersWide,
    text('Selector', 1),
  ],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<ReplicaSet>(object);
    return [
      metadata.name ?? '',
      spec.replicas ?? 1,
      status?.replicas ?? 0,
      status?.readyReplicas ?? 0,
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(spec.template ?? {}),
      selectorCell(spec.selector),
    ];
  },
};

const daemonSets: Printer = {
  columns: [
    nameColumn,
    number('Desired'),
    number('Current'),
    number('Ready'),
    number('Up-to-date'),
    number('Available'),
    text('Node Selector'),
    age,
    ...containersWide,
    text('Selector', 1),
  ],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<DaemonSet>(object);
    const nodeSelector = Object.entries(spec.template.spec?.nodeSelector ?? {})
      .sort()
      .map(([key, value]) => `${key}=${value}`);
    return [
      metadata.name ?? '',
      status?.desiredNumberScheduled ?? 0,
      status?.currentNumberScheduled ?? 0,
      status?.numberReady ?? 0,
      status?.updatedNumberScheduled ?? 0,
      status?.numberAvailable ?? 0,
      nodeSelector.join(',') || '<none>',
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(spec.template),
      selectorCell(spec.selector),
    ];
  },
};

const statefulSets: Printer = {
  columns: [nameColumn, text('Ready'), age, ...containersWide],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<StatefulSet>(object);
    return [
      metadata.name ?? '',
      `${status?.readyReplicas ?? 0}/${spec.replicas ?? 1}`,
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(spec.template),
    ];
  },
};

function jobStatus({ status, metadata, spec }: Job): string {
  const holds = (type: string): boolean =>
    status?.conditions?.some((one) => one.type === type && one.status === 'True') ?? false;
  if (holds('Complete')) return 'Complete';
  if (holds('Failed')) return 'Failed';
  if (metadata.deletionTimestamp !== undefined) return 'Terminating';
  if (spec.suspend === true || holds('Suspended')) return 'Suspended';
  if (holds('FailureTarget')) return 'FailureTarget';
  if (holds('SuccessCriteriaMet')) return 'SuccessCriteriaMet';
  return 'Running';
}

function jobCompletions({ spec, status }: Job): string {
  const done = status?.succeeded ?? 0;
  if (spec.completions !== undefined) return `${done}/${spec.completions}`;
  const parallelism = spec.parallelism ?? 0;
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

const jobs: Printer = {
  columns: [
    nameColumn,
    text('Status'),
    text('Completions'),
    text('Duration'),
    age,
    ...containersWide,
    text('Selector', 1),
  ],
  cells: (object, now) => {
    const job = typed<Job>(object);
    const { metadata, spec, status } = job;
    const start = status?.startTime ? Date.parse(status.startTime) : undefined;
    const end = status?.completionTime ? Date.parse(status.completionTime) : now;
    return [
      metadata.name ?? '',
      jobStatus(job),
      jobCompletions(job),
      start === undefined ? '' : humanDuration(end - start),
      ageOf(metadata.creationTimestamp, now),
      ...containerCells(spec.template),
      selectorCell(spec.selector),
    ];
  },
};

const controllerRevisions: Printer = {
  columns: [nameColumn, text('Controller'), number('Revision'), age],
  cells: ({ metadata, ...object }, now) => {
    const owner = metadata.ownerReferences?.find(({ controller }) => controller === true);
    const group = owner?.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : '';
    return [
      metadata.name ?? '',
      owner === undefined ? '<none>' : `${owner.kind.toLowerCase()}${group}/${owner.name}`,
      Number(object.revision ?? 0),
      ageOf(metadata.creationTimestamp, now),
    ];
  },
};

/** The scale subresource of any of them. */
export const scalePrinter: Printer = {
  columns: [nameColumn, number('Desired'), number('Available'), age],
  cells: (object, now) => {
    const { metadata, spec, status } = typed<Scale>(object);
    return [metadata.name ?? '', spec.replicas ?? 0, status?.replicas ?? 0, ageOf(metadata.creationTimestamp, now)];
  },
};

export const workloadPrinters: Readonly<Record<string, Printer>> = {
  'apps/deployments': deployments,
  'apps/replicasets': replicaSets,
  'apps/daemonsets': daemonSets,
  'apps/statefulsets': statefulSets,
  'apps/controllerrevisions': controllerRevisions,
  'batch/jobs': jobs,
};
