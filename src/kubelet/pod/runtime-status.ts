// What runs for one pod, as the runtime says: the input of every decision about it. Pure.
import type { Container, Pod } from '../../k8s/types.generated.ts';
import type { Message } from '../cri/protocol.ts';
import { annotation, label, type PodKey } from './names.ts';

export type ContainerRunState = 'created' | 'running' | 'exited' | 'unknown';

/** One instance of a container. Times are milliseconds since 1970; 0 where there is none yet. */
export interface RuntimeContainer {
  readonly id: string;
  readonly name: string;
  readonly attempt: number;
  readonly sandboxId: string;
  readonly state: ContainerRunState;
  readonly createdAt: number;
  readonly startedAt: number;
  readonly finishedAt: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  readonly hash: string;
  readonly restartCount: number;
  readonly image: string;
  readonly imageId: string;
  readonly logPath: string;
}

export interface RuntimeSandbox {
  readonly id: string;
  readonly attempt: number;
  readonly ready: boolean;
  readonly createdAt: number;
  readonly ips: readonly string[];
}

/** All sandboxes and container instances of a pod, the newest first. */
export interface PodRuntime extends PodKey {
  readonly sandboxes: readonly RuntimeSandbox[];
  readonly containers: readonly RuntimeContainer[];
}

export const nothingRuns = (pod: PodKey): PodRuntime => ({
  uid: pod.uid,
  name: pod.name,
  namespace: pod.namespace,
  sandboxes: [],
  containers: [],
});

/** The newest instance of a container. */
export function latest(runtime: PodRuntime, name: string): RuntimeContainer | undefined {
  return runtime.containers.find((container) => container.name === name);
}

export function readySandbox(runtime: PodRuntime): RuntimeSandbox | undefined {
  return runtime.sandboxes.find((sandbox) => sandbox.ready);
}

/** A sidecar: an init container that goes on running (KEP-753). */
export const isSidecar = (container: Pick<Container, 'restartPolicy'>): boolean => container.restartPolicy === 'Always';

/** Every container of a pod's spec: init containers, then the others, then the ephemeral ones. */
export function allContainers(pod: Pod): readonly Container[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers, ...(pod.spec.ephemeralContainers ?? [])];
}

/** A pod whose containers will not be started again: its phase is final. */
export function isTerminalPhase(phase: string | undefined): boolean {
  return phase === 'Succeeded' || phase === 'Failed';
}

const millis = (nanoseconds: number): number => Math.floor(nanoseconds / 1e6);

const states: Readonly<Record<Message<'ContainerStatus'>['state'], ContainerRunState>> = {
  CONTAINER_CREATED: 'created',
  CONTAINER_RUNNING: 'running',
  CONTAINER_EXITED: 'exited',
  CONTAINER_UNKNOWN: 'unknown',
};

export const runState = (state: Message<'Container'>['state']): ContainerRunState => states[state];

/** An instance from CRI's status; `message` replaces the runtime's where the container left a termination message. */
export function readContainer(
  status: Message<'ContainerStatus'>,
  sandboxId: string,
  message = status.message,
): RuntimeContainer {
  const attempt = status.metadata?.attempt ?? 0;
  const exited = status.state === 'CONTAINER_EXITED';
  return {
    id: status.id,
    name: status.metadata?.name ?? status.labels[label.containerName] ?? '',
    attempt,
    sandboxId,
    state: runState(status.state),
    createdAt: millis(status.createdAt),
    startedAt: millis(status.startedAt),
    finishedAt: millis(status.finishedAt),
    exitCode: status.exitCode,
    reason: exited && status.reason === '' ? (status.exitCode === 0 ? 'Completed' : 'Error') : status.reason,
    message,
    hash: status.annotations[annotation.hash] ?? '',
    restartCount: Number(status.annotations[annotation.restartCount] ?? attempt) || 0,
    image: status.image?.image ?? '',
    imageId: status.imageRef,
    logPath: status.logPath,
  };
}

export function readSandbox(status: Message<'PodSandboxStatus'>): RuntimeSandbox {
  const network = status.network;
  const ips = network === null ? [] : [network.ip, ...network.additionalIps.map((additional) => additional.ip)];
  return {
    id: status.id,
    attempt: status.metadata?.attempt ?? 0,
    ready: status.state === 'SANDBOX_READY',
    createdAt: millis(status.createdAt),
    ips: ips.filter((ip) => ip !== ''),
  };
}

/** Newest first: by attempt, then by the time of creation. */
export function byAge<T extends { attempt: number; createdAt: number }>(a: T, b: T): number {
  return b.createdAt - a.createdAt || b.attempt - a.attempt;
}
