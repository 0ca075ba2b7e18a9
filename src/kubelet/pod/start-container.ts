// Starts one container of a pod in its sandbox: image, environment, mounts, create, start, postStart.
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Container, Pod } from '../../k8s/types.generated.ts';
import { containerConfig } from '../container/config.ts';
import { ConfigError, environment } from '../container/env.ts';
import { runHook } from '../container/hooks.ts';
import { containerLogLink, linkLog } from '../container/log-files.ts';
import { containerMounts } from '../container/mounts.ts';
import { isLeftover, isUnavailable } from '../cri/client.ts';
import type { Message } from '../cri/protocol.ts';
import { ImageError } from '../image/images.ts';
import type { VolumePaths } from '../volume/volumes.ts';
import type { Waiting } from './container-statuses.ts';
import { podKey, podLogDir, podPaths, podText } from './names.ts';
import type { NodeContext } from './node-context.ts';
import { referenceTo } from './reference.ts';
import { latest, type PodRuntime, type RuntimeContainer, type RuntimeSandbox } from './runtime-status.ts';
import { sandboxConfigFor, writeHosts } from './start-sandbox.ts';

/** The container could not be started; it waits with this reason, and is tried again after `retryMs`. */
export class StartError extends Error {
  override readonly name = 'StartError';
  readonly waiting: Waiting;
  readonly retryMs: number;

  constructor(reason: string, message: string, retryMs = 10_000) {
    super(`${reason}: ${message}`);
    this.waiting = { reason, message };
    this.retryMs = retryMs;
  }
}

export interface StartInput {
  readonly pod: Pod;
  readonly container: Container;
  readonly runtime: PodRuntime;
  readonly sandbox: RuntimeSandbox;
  readonly volumes: VolumePaths;
  readonly image: Promise<Message<'Image'>>;
}

/**
 * Starts the container and resolves with its id when postStart has ended. Throws a StartError, or a RuntimeError where
 * the runtime could not be asked.
 */
export async function startContainer(node: NodeContext, input: StartInput): Promise<string> {
  const { pod, container } = input;
  const record = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
    node.recorder.event(referenceTo(pod, container.name), type, reason, message);
  const fail = (reason: string, error: unknown): unknown => {
    // The runtime is away or its answer is lost: no fault of the container's. What is there is looked at anew.
    if (isUnavailable(error) || isLeftover(error)) return error;
    const message = error instanceof Error ? error.message : String(error);
    record('Warning', 'Failed', `Error: ${message}`);
    return new StartError(reason, message);
  };

  const image = await input.image.catch((error: unknown) => {
    if (!(error instanceof ImageError)) throw error;
    if (error.reason !== 'ErrImageNeverPull') record('Warning', 'Failed', `Error: ${error.reason}`);
    throw new StartError(error.reason, error.message, error.retryMs);
  });
  const id = await createContainer(node, input, image).catch((error: unknown) => {
    throw fail(error instanceof ConfigError ? error.reason : 'CreateContainerError', error);
  });
  record('Normal', 'Created', `Created container: ${container.name}`);
  try {
    await node.cri.call('StartContainer', { containerId: id });
  } catch (error) {
    throw fail('RunContainerError', error);
  }
  record('Normal', 'Started', `Started container ${container.name}`);
  await postStart(node, input, id);
  return id;
}

async function createContainer(node: NodeContext, input: StartInput, image: Message<'Image'>): Promise<string> {
  const { pod, container, runtime, sandbox, volumes } = input;
  const key = podKey(pod);
  const current = latest(runtime, container.name);
  const attempt = current === undefined ? 0 : current.restartCount + 1;
  const [objects, services, etcHosts, sandboxConfig] = await Promise.all([
    node.objects.read(pod),
    node.services(key.namespace),
    writeHosts(node, pod, sandbox.ips),
    sandboxConfigFor(node, pod, sandbox.attempt),
    mkdir(join(podLogDir(node.podLogsDir, key), container.name), { recursive: true, mode: 0o755 }),
  ]);
  const podIps = pod.spec.hostNetwork === true ? node.hostIps : sandbox.ips;
  const fields = { podIps, hostIps: node.hostIps, nodeName: node.nodeName, allocatable: node.allocatable };
  const variables = environment({ pod, container, fields, ...objects, services });
  const mounts = await containerMounts({
    container,
    volumes,
    environment: variables,
    etcHosts,
    terminationLog: podPaths(node.rootDir, key.uid).terminationLog(container.name, attempt),
  });
  const config = containerConfig({
    pod,
    container,
    attempt,
    environment: variables,
    mounts,
    image,
    nodeMemoryBytes: node.memoryBytes,
    targetId: targetOf(container, runtime),
  });
  const { containerId } = await node.cri.call('CreateContainer', { podSandboxId: sandbox.id, config, sandboxConfig });
  node.cache.own(containerId, key);
  const names = { pod: key.name, namespace: key.namespace, container: container.name, id: containerId };
  await linkLog(
    containerLogLink(node.podLogsDir, names),
    join(podLogDir(node.podLogsDir, key), container.name, `${attempt}.log`),
  );
  return containerId;
}

function targetOf(container: Container, runtime: PodRuntime): string | undefined {
  if (!('targetContainerName' in container) || typeof container.targetContainerName !== 'string') return undefined;
  return latest(runtime, container.targetContainerName)?.id;
}

async function postStart(node: NodeContext, { pod, container, sandbox }: StartInput, id: string): Promise<void> {
  const handler = container.lifecycle?.postStart;
  if (handler === undefined) return;
  try {
    const target = { container, containerId: id, podIp: sandbox.ips[0] ?? node.hostIps[0] ?? '', call: node.cri.call };
    await runHook(handler, target, 24 * 3600 * 1000);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    node.recorder.event(
      referenceTo(pod, container.name),
      'Warning',
      'FailedPostStartHook',
      `PostStartHook failed: ${message}`,
    );
    const grace = pod.spec.terminationGracePeriodSeconds ?? 30;
    await node.cri.call('StopContainer', { containerId: id, timeout: grace }, { timeoutMs: grace * 1000 + 30_000 });
    throw new StartError('PostStartHookError', message);
  }
}

/** Waiting because of a crash: the reason that users know. Undefined where the container may be started now. */
export function crashBackOff(
  node: NodeContext,
  pod: Pod,
  container: Container,
  current: RuntimeContainer | undefined,
): StartError | undefined {
  if (current?.state !== 'exited') return undefined;
  const key = `${pod.metadata.uid} ${container.name} ${current.hash}`;
  const now = Date.now();
  const rest = node.restarts.remaining(key, current.finishedAt, now);
  if (rest === 0) {
    node.restarts.next(key, current.finishedAt, now);
    return undefined;
  }
  const pause = Math.round(node.restarts.pause(key) / 1000);
  return new StartError(
    'CrashLoopBackOff',
    `back-off ${formatPause(pause)} restarting failed container=${container.name} pod=${podText(podKey(pod))}`,
    rest,
  );
}

/** Seconds as Go prints a duration: `10s`, `2m40s`, `5m0s`. */
function formatPause(seconds: number): string {
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
