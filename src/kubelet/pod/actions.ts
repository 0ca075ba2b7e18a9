// What to do next for a pod: a pure function of its spec, of what runs, and of its probes' results. The rules are those
// of kubernetes pkg/kubelet/kuberuntime/kuberuntime_manager.go (computePodActions) and KEP-753 (sidecars).
import type { Container, Pod } from '../../k8s/types.generated.ts';
import { containerHash } from './names.ts';
import { isSidecar, latest, type PodRuntime, type RuntimeContainer, readySandbox } from './runtime-status.ts';

export type ProbeResult = 'success' | 'failure' | 'unknown';

/** The last result of each probe of a container instance; absent where it has no such probe. */
export interface ProbeResults {
  readonly liveness?: ProbeResult | undefined;
  readonly startup?: ProbeResult | undefined;
}

export interface ContainerToKill {
  readonly container: RuntimeContainer;
  /** For the event that the user sees. */
  readonly message: string;
  readonly reason: 'Liveness' | 'Startup' | 'Changed' | 'Unknown';
}

export interface PodActions {
  /** All containers and the sandbox are to be stopped. */
  readonly killPod: boolean;
  /** A sandbox is to be created, after the old one is gone. */
  readonly createSandbox: boolean;
  /** The attempt number of the sandbox to create. */
  readonly attempt: number;
  readonly containersToKill: readonly ContainerToKill[];
  /** Init containers to start now, in this order: one next step, and sidecars that have ended. */
  readonly initContainersToStart: readonly Container[];
  readonly containersToStart: readonly Container[];
  readonly ephemeralContainersToStart: readonly Container[];
}

type Probes = (container: RuntimeContainer) => ProbeResults;

/** The next step for a pod that shall run. */
export function computePodActions(pod: Pod, runtime: PodRuntime, probes: Probes): PodActions {
  const sandbox = sandboxAction(pod, runtime);
  const none = {
    killPod: sandbox.create,
    createSandbox: sandbox.create,
    attempt: sandbox.attempt,
    containersToKill: [],
    initContainersToStart: [],
    containersToStart: [],
    ephemeralContainersToStart: [],
  } satisfies PodActions;
  if (sandbox.create) return { ...none, ...startInNewSandbox(pod, runtime, sandbox.attempt) };

  const ephemeral = (pod.spec.ephemeralContainers ?? []).filter(({ name }) => latest(runtime, name) === undefined);
  const init = initAction(pod, runtime, probes);
  const base = {
    ...none,
    killPod: init.failed,
    containersToKill: init.kill,
    initContainersToStart: init.failed ? [] : init.start,
    ephemeralContainersToStart: ephemeral,
  };
  if (init.failed || !init.initialized) return base;

  const start: Container[] = [];
  const kill: ContainerToKill[] = [];
  let kept = 0;
  for (const container of pod.spec.containers) {
    const current = latest(runtime, container.name);
    if (current?.state !== 'running') {
      if (!shouldRestart(pod, container, current)) continue;
      start.push(container);
      if (current?.state === 'unknown') kill.push(killOf(current, 'Unknown', `Container is in unknown state`));
      continue;
    }
    const reason = killReason(container, current, probes(current));
    if (reason === undefined) {
      kept++;
      continue;
    }
    const restart = reason.reason === 'Changed' || pod.spec.restartPolicy !== 'Never';
    kill.push({ ...reason, message: restart ? `${reason.message}, will be restarted` : reason.message });
    if (restart) start.push(container);
  }
  if (kept === 0 && start.length === 0 && kill.length === 0)
    return { ...base, killPod: true, initContainersToStart: [] };
  return { ...base, containersToStart: start, containersToKill: [...init.kill, ...kill] };
}

function sandboxAction(pod: Pod, runtime: PodRuntime): { create: boolean; attempt: number } {
  const newest = runtime.sandboxes[0];
  if (newest === undefined) return { create: true, attempt: 0 };
  const ready = runtime.sandboxes.filter((sandbox) => sandbox.ready);
  const unusable = !newest.ready || ready.length > 1 || (newest.ips.length === 0 && pod.spec.hostNetwork !== true);
  return { create: unusable, attempt: unusable ? newest.attempt + 1 : newest.attempt };
}

function startInNewSandbox(pod: Pod, runtime: PodRuntime, attempt: number): Partial<PodActions> {
  const never = pod.spec.restartPolicy === 'Never';
  if (never && attempt !== 0 && runtime.containers.length > 0) return { createSandbox: false };
  const start = pod.spec.containers.filter(({ name }) => {
    const current = latest(runtime, name);
    const succeeded = current?.state === 'exited' && current.exitCode === 0;
    return !(succeeded && pod.spec.restartPolicy === 'OnFailure');
  });
  if (start.length === 0) return { createSandbox: false };
  const [first] = pod.spec.initContainers ?? [];
  return first === undefined ? { containersToStart: start } : { initContainersToStart: [first] };
}

/** Whether a container that does not run is to be started (kubernetes pkg/kubelet/container/helpers.go). */
export function shouldRestart(pod: Pod, container: Container, current: RuntimeContainer | undefined): boolean {
  if (current === undefined || current.state === 'unknown' || current.state === 'created') return true;
  if (current.state === 'running') return false;
  switch (container.restartPolicy ?? pod.spec.restartPolicy ?? 'Always') {
    case 'Never':
      return false;
    case 'OnFailure':
      return current.exitCode !== 0;
    default:
      return true;
  }
}

function killOf(container: RuntimeContainer, reason: ContainerToKill['reason'], message: string): ContainerToKill {
  return { container, reason, message };
}

function killReason(
  container: Container,
  current: RuntimeContainer,
  results: ProbeResults,
): ContainerToKill | undefined {
  const { name } = container;
  if (current.hash !== containerHash(container))
    return killOf(current, 'Changed', `Container ${name} definition changed`);
  if (results.liveness === 'failure') return killOf(current, 'Liveness', `Container ${name} failed liveness probe`);
  if (results.startup === 'failure') return killOf(current, 'Startup', `Container ${name} failed startup probe`);
  return undefined;
}

interface InitAction {
  readonly initialized: boolean;
  /** An init container failed and the pod may not try again. */
  readonly failed: boolean;
  readonly start: readonly Container[];
  readonly kill: readonly ContainerToKill[];
}

/** Whether any of the main containers has been started in the present sandbox: then initialization is behind it. */
function mainStarted(pod: Pod, runtime: PodRuntime): boolean {
  const sandbox = readySandbox(runtime);
  return pod.spec.containers.some(({ name }) => {
    const current = latest(runtime, name);
    return current !== undefined && current.sandboxId === sandbox?.id && current.state !== 'created';
  });
}

function initAction(pod: Pod, runtime: PodRuntime, probes: Probes): InitAction {
  const containers = pod.spec.initContainers ?? [];
  const sandboxId = readySandbox(runtime)?.id;
  const over = mainStarted(pod, runtime);
  const start: Container[] = [];
  const kill: ContainerToKill[] = [];
  const finish = (initialized: boolean, failed = false): InitAction => ({ initialized, failed, start, kill });

  for (const container of containers) {
    const found = latest(runtime, container.name);
    // What ran in an earlier sandbox does not count: init containers run again in a new one.
    const current = found?.sandboxId === sandboxId ? found : undefined;
    if (isSidecar(container)) {
      const sidecar = sidecarAction(container, current, current === undefined ? {} : probes(current));
      if (sidecar.kill !== undefined) kill.push(sidecar.kill);
      if (sidecar.start) start.push(container);
      if (!sidecar.started && !over) return finish(false);
      continue;
    }
    if (over) continue;
    if (current?.state === 'exited' && current.exitCode === 0) continue;
    if (current?.state === 'running') return finish(false);
    if (current?.state === 'exited' && (container.restartPolicy ?? pod.spec.restartPolicy) === 'Never')
      return finish(false, true);
    if (current?.state === 'unknown') kill.push(killOf(current, 'Unknown', 'Init container is in unknown state'));
    start.push(container);
    return finish(false);
  }
  return finish(true);
}

function sidecarAction(
  container: Container,
  current: RuntimeContainer | undefined,
  results: ProbeResults,
): { started: boolean; start: boolean; kill?: ContainerToKill | undefined } {
  if (current === undefined || current.state === 'created' || current.state === 'exited')
    return { started: false, start: true };
  if (current.state === 'unknown')
    return { started: false, start: true, kill: killOf(current, 'Unknown', 'Init container is in unknown state') };
  const reason = killReason(container, current, results);
  if (reason !== undefined) {
    return { started: false, start: true, kill: { ...reason, message: `${reason.message}, will be restarted` } };
  }
  return { started: results.startup === undefined || results.startup === 'success', start: false };
}
