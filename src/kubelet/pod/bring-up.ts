// Carries out the decision about a pod that shall run: sandbox, volumes and images at the same time, then its containers
// one after the other.
import type { Container, Pod, Secret } from '../../k8s/types.generated.ts';
import { isConnectionLost, isLeftover } from '../cri/client.ts';
import type { Message } from '../cri/protocol.ts';
import { VolumeError } from '../volume/payload.ts';
import type { VolumePaths } from '../volume/volumes.ts';
import type { PodActions } from './actions.ts';
import type { Waiting } from './container-statuses.ts';
import { podKey, podText } from './names.ts';
import type { NodeContext } from './node-context.ts';
import { referenceTo } from './reference.ts';
import { latest, type PodRuntime, readySandbox } from './runtime-status.ts';
import { crashBackOff, StartError, startContainer } from './start-container.ts';
import { startSandbox } from './start-sandbox.ts';

/** A step failed in a way that concerns the whole pod; it is tried again. */
export class BringUpError extends Error {
  override readonly name = 'BringUpError';
}

/** What a pod waits for: told while it is brought up. */
export interface Progress {
  /** Whether the reason differs from the one before. */
  setWaiting(container: string, waiting: Waiting | undefined): boolean;
}

/**
 * Starts what the actions say. Resolves with the milliseconds after which to try again what failed; undefined where all
 * is started. Rejects with a BringUpError, with a RuntimeError where the runtime is away, or with the signal's reason.
 */
export async function bringUp(
  node: NodeContext,
  pod: Pod,
  actions: PodActions,
  progress: Progress,
  signal: AbortSignal,
): Promise<number | undefined> {
  const known = node.cache.get(podKey(pod));
  const wanted = [
    ...actions.ephemeralContainersToStart,
    ...actions.initContainersToStart,
    ...actions.containersToStart,
  ];
  const retries: number[] = [];
  const due = wanted.filter((container) => {
    const held = crashBackOff(node, pod, container, latest(known, container.name));
    if (held === undefined) return true;
    const isNew = progress.setWaiting(container.name, held.waiting);
    const text = `Back-off restarting failed container ${container.name} in pod ${podText(podKey(pod))}`;
    if (isNew) node.recorder.event(referenceTo(pod, container.name), 'Warning', 'BackOff', text);
    retries.push(held.retryMs);
    return false;
  });
  if (!actions.createSandbox && due.length === 0) return least(retries);

  const volumes = quiet(prepareVolumes(node, pod));
  const images = fetchImages(node, pod, due, signal);
  const sandboxed = actions.createSandbox ? quiet(createSandbox(node, pod, actions.attempt)) : undefined;
  const paths = await volumes.catch(async (error: unknown) => {
    await sandboxed?.catch(() => undefined);
    throw error;
  });
  const runtime = (await sandboxed) ?? known;
  for (const container of due) {
    signal.throwIfAborted();
    const image = images.get(container.name);
    if (image === undefined) continue;
    const retry = await startOne(node, { pod, container, runtime, volumes: paths, image }, progress, signal);
    if (retry !== undefined) retries.push(retry);
  }
  // The next decision must see what was started here.
  await node.cache.refresh(podKey(pod));
  return least(retries);
}

const least = (numbers: readonly number[]): number | undefined =>
  numbers.length === 0 ? undefined : Math.min(...numbers);

/** A promise whose rejection is looked at later. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => undefined);
  return promise;
}

/** Makes the pod's volumes, or brings them up to date; a failure is an event, and the pod is tried again. */
export async function prepareVolumes(node: NodeContext, pod: Pod): Promise<VolumePaths> {
  try {
    return await node.volumes.prepare(pod, {
      podIps: [],
      hostIps: node.hostIps,
      nodeName: node.nodeName,
      allocatable: node.allocatable,
    });
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const text = error instanceof VolumeError ? message : `MountVolume.SetUp failed: ${message}`;
    node.recorder.event(referenceTo(pod), 'Warning', 'FailedMount', text);
    throw new BringUpError(text, { cause: error });
  }
}

function fetchImages(
  node: NodeContext,
  pod: Pod,
  containers: readonly Container[],
  signal: AbortSignal,
): Map<string, Promise<Message<'Image'>>> {
  const secrets = quiet(pullSecrets(node, pod));
  return new Map(
    containers.map((container) => {
      const record = (type: 'Normal' | 'Warning', reason: string, message: string): void =>
        node.recorder.event(referenceTo(pod, container.name), type, reason, message);
      const image = secrets.then((found) => node.images.ensure(pod, container, found, record, signal));
      return [container.name, quiet(image)];
    }),
  );
}

async function pullSecrets(node: NodeContext, pod: Pod): Promise<Secret[]> {
  const names = pod.spec.imagePullSecrets ?? [];
  if (names.length === 0) return [];
  const objects = await node.objects.read(pod);
  return names.flatMap(({ name = '' }) => objects.secret(name) ?? []);
}

async function createSandbox(node: NodeContext, pod: Pod, attempt: number): Promise<PodRuntime> {
  try {
    await startSandbox(node, pod, attempt);
  } catch (error) {
    if (isConnectionLost(error) || isLeftover(error)) throw error;
    const message = error instanceof Error ? error.message : String(error);
    node.recorder.event(
      referenceTo(pod),
      'Warning',
      'FailedCreatePodSandBox',
      `Failed to create pod sandbox: ${message}`,
    );
    throw new BringUpError(`cannot create the sandbox: ${message}`, { cause: error });
  }
  return node.cache.refresh(podKey(pod));
}

async function startOne(
  node: NodeContext,
  input: {
    readonly pod: Pod;
    readonly container: Container;
    readonly runtime: PodRuntime;
    readonly volumes: VolumePaths;
    readonly image: Promise<Message<'Image'>>;
  },
  progress: Progress,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { pod, container } = input;
  const sandbox = readySandbox(input.runtime);
  if (sandbox === undefined) throw new BringUpError('the sandbox has ended while the pod was brought up');
  try {
    await startContainer(node, { ...input, sandbox });
    progress.setWaiting(container.name, undefined);
    node.cache.refresh(podKey(pod)).catch(() => undefined);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof StartError)) throw error;
    progress.setWaiting(container.name, error.waiting);
    node.cache.refresh(podKey(pod)).catch(() => undefined);
    return error.retryMs;
  }
}
