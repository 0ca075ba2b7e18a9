// The table of pods: the status column is computed as users of kubectl know it (kubernetes, printers printPod).
import type { Container, ContainerStatus, Pod } from '../../k8s/types.generated.ts';
import { type ApiObject, typed } from '../object.ts';
import { age, type Cell, nameColumn, text } from './columns.ts';
import { ageOf } from './duration.ts';
import type { Printer } from './table.ts';

const isSidecar = (container: Container | undefined): boolean => container?.restartPolicy === 'Always';

interface Summary {
  readonly ready: number;
  readonly total: number;
  readonly reason: string;
  readonly restarts: number;
  readonly lastRestart: string;
}

const later = (a: string, b: string | null | undefined): string => (b && b > a ? b : a);

/** `ExitCode:1`, `Signal:9` where a terminated container gives no reason. */
function endOf({ reason, signal, exitCode }: { reason?: string; signal?: number; exitCode?: number }): string {
  if (reason) return reason;
  return signal ? `Signal:${signal}` : `ExitCode:${exitCode ?? 0}`;
}

interface InitSummary {
  /** Shown while initialization goes on; undefined when it is over. */
  readonly reason: string | undefined;
  readonly restarts: number;
  readonly lastRestart: string;
  readonly readySidecars: number;
}

function summarizeInit(pod: Pod): InitSummary {
  const containers = pod.spec.initContainers ?? [];
  let restarts = 0;
  let sidecarRestarts = 0;
  let lastRestart = '';
  let sidecarLast = '';
  let readySidecars = 0;
  for (const [index, status] of (pod.status?.initContainerStatuses ?? []).entries()) {
    const container = containers.find(({ name }) => name === status.name);
    const finished = status.lastState?.terminated?.finishedAt;
    restarts += status.restartCount ?? 0;
    lastRestart = later(lastRestart, finished);
    if (isSidecar(container)) {
      sidecarRestarts += status.restartCount ?? 0;
      sidecarLast = later(sidecarLast, finished);
    }
    const { terminated, waiting } = status.state ?? {};
    if (terminated !== undefined && terminated.exitCode === 0) continue;
    if (isSidecar(container) && status.started) {
      if (status.ready) readySidecars++;
      continue;
    }
    let reason = `Init:${index}/${containers.length}`;
    if (terminated !== undefined) reason = `Init:${endOf(terminated)}`;
    else if (waiting?.reason && waiting.reason !== 'PodInitializing') reason = `Init:${waiting.reason}`;
    return { reason, restarts, lastRestart, readySidecars };
  }
  return { reason: undefined, restarts: sidecarRestarts, lastRestart: sidecarLast, readySidecars };
}

const conditionOf = (pod: Pod, type: string) => pod.status?.conditions?.find((one) => one.type === type);

/** What the status column says, and how many containers are ready. */
export function summarize(pod: Pod): Summary {
  const { spec, status, metadata } = pod;
  const total = spec.containers.length + (spec.initContainers ?? []).filter(isSidecar).length;
  let reason = status?.reason || status?.phase || 'Unknown';
  if (conditionOf(pod, 'PodScheduled')?.reason === 'SchedulingGated') reason = 'SchedulingGated';
  const init = summarizeInit(pod);
  let { restarts, lastRestart } = init;
  let ready = init.readySidecars;
  if (init.reason !== undefined) reason = init.reason;
  if (init.reason === undefined || conditionOf(pod, 'Initialized')?.status === 'True') {
    const main = summarizeContainers(status?.containerStatuses ?? [], reason);
    if (init.reason !== undefined) ({ restarts, lastRestart } = { restarts: 0, lastRestart: '' });
    restarts += main.restarts;
    lastRestart = later(lastRestart, main.lastRestart);
    ready += main.ready;
    reason = main.reason;
    if (reason === 'Completed' && main.running)
      reason = conditionOf(pod, 'Ready')?.status === 'True' ? 'Running' : 'NotReady';
  }
  if (metadata.deletionTimestamp !== undefined) {
    const over = status?.phase === 'Succeeded' || status?.phase === 'Failed';
    if (status?.reason === 'NodeLost') reason = 'Unknown';
    else if (!over) reason = 'Terminating';
  }
  return { ready, total, reason, restarts, lastRestart };
}

function summarizeContainers(statuses: readonly ContainerStatus[], before: string) {
  let reason = before;
  let restarts = 0;
  let lastRestart = '';
  let ready = 0;
  let running = false;
  for (const status of [...statuses].reverse()) {
    restarts += status.restartCount ?? 0;
    lastRestart = later(lastRestart, status.lastState?.terminated?.finishedAt);
    const { waiting, terminated } = status.state ?? {};
    if (waiting?.reason) reason = waiting.reason;
    else if (terminated !== undefined) reason = endOf(terminated);
    else if (status.ready && status.state?.running !== undefined) {
      running = true;
      ready++;
    }
  }
  return { reason, restarts, lastRestart, ready, running };
}

function readinessGates(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  const met = gates.filter(({ conditionType }) => conditionOf(pod, conditionType)?.status === 'True').length;
  return `${met}/${gates.length}`;
}

function cells(object: ApiObject, now: number): Cell[] {
  const pod = typed<Pod>(object);
  const { ready, total, reason, restarts, lastRestart } = summarize(pod);
  const { metadata, spec, status } = pod;
  return [
    metadata.name ?? '',
    `${ready}/${total}`,
    reason,
    restarts > 0 && lastRestart !== '' ? `${restarts} (${ageOf(lastRestart, now)} ago)` : String(restarts),
    ageOf(metadata.creationTimestamp, now),
    status?.podIPs?.[0]?.ip ?? status?.podIP ?? '<none>',
    spec.nodeName || '<none>',
    status?.nominatedNodeName || '<none>',
    readinessGates(pod),
  ];
}

export const podPrinters: Readonly<Record<string, Printer>> = {
  '/pods': {
    columns: [
      nameColumn,
      text('Ready'),
      text('Status'),
      text('Restarts'),
      age,
      text('IP', 1),
      text('Node', 1),
      text('Nominated Node', 1),
      text('Readiness Gates', 1),
    ],
    cells,
  },
};
