// Ends containers and whole pods: preStop, SIGTERM, a grace period, SIGKILL; sidecars after the others, the sandbox last.
// Rules: kubernetes pkg/kubelet/kuberuntime/kuberuntime_container.go and kuberuntime_termination_order.go.
import type { Container, Pod } from '../../k8s/types.generated.ts';
import { runHook } from '../container/hooks.ts';
import { isMissing } from '../cri/client.ts';
import type { NodeContext } from './node-context.ts';
import { referenceTo } from './reference.ts';
import { allContainers, isSidecar, type PodRuntime, type RuntimeContainer, readySandbox } from './runtime-status.ts';

/** Even a hook that used up the grace period leaves a container this long for SIGTERM; without a hook it is a second. */
const minAfterHookSeconds = 2;
const minGraceSeconds = 1;

/** When the processes of a pod must have ended; the user may bring it forward while it runs. */
export interface Deadline {
  /** Milliseconds since 1970. */
  at: number;
}

export const deadlineIn = (seconds: number): Deadline => ({ at: Date.now() + seconds * 1000 });

const secondsLeft = (deadline: Deadline): number => Math.max(0, Math.ceil((deadline.at - Date.now()) / 1000));

/** Stops one container and resolves when it has ended. */
export async function killContainer(
  node: NodeContext,
  pod: Pod,
  container: RuntimeContainer,
  deadline: Deadline,
  message = `Stopping container ${container.name}`,
): Promise<void> {
  node.recorder.event(referenceTo(pod, container.name), 'Normal', 'Killing', message);
  const spec = allContainers(pod).find(({ name }) => name === container.name);
  const hook = spec?.lifecycle?.preStop !== undefined && container.state === 'running';
  if (hook) await preStop(node, pod, spec, container, deadline);
  await stopContainer(
    node,
    container.id,
    Math.max(secondsLeft(deadline), hook ? minAfterHookSeconds : minGraceSeconds),
  );
}

/** SIGTERM now and SIGKILL after the timeout; a container that is gone already is no error. */
export async function stopContainer(node: NodeContext, id: string, timeoutSeconds: number): Promise<void> {
  try {
    await node.cri.call(
      'StopContainer',
      { containerId: id, timeout: timeoutSeconds },
      { timeoutMs: timeoutSeconds * 1000 + 60_000 },
    );
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

async function preStop(
  node: NodeContext,
  pod: Pod,
  spec: Container,
  container: RuntimeContainer,
  deadline: Deadline,
): Promise<void> {
  const handler = spec.lifecycle?.preStop;
  if (handler === undefined) return;
  const podIp = readySandbox(node.cache.get({ uid: pod.metadata.uid ?? '', name: '', namespace: '' }))?.ips[0];
  const target = {
    container: spec,
    containerId: container.id,
    podIp: podIp ?? node.hostIps[0] ?? '',
    call: node.cri.call,
  };
  try {
    await runHook(handler, target, Math.max(1, deadline.at - Date.now()));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    node.recorder.event(referenceTo(pod, spec.name), 'Warning', 'FailedPreStopHook', `PreStopHook failed: ${text}`);
  }
}

/** Stops all running containers of the pod, then its sandboxes. Resolves when nothing of it runs any more. */
export async function killPod(node: NodeContext, pod: Pod, runtime: PodRuntime, deadline: Deadline): Promise<void> {
  const running = runtime.containers.filter(({ state }) => state === 'running' || state === 'unknown');
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const others = running.filter(({ name }) => !sidecars.includes(name));
  await Promise.all(others.map((container) => killContainer(node, pod, container, deadline)));
  for (const name of sidecars.toReversed()) {
    const sidecar = running.find((container) => container.name === name);
    if (sidecar !== undefined) await killContainer(node, pod, sidecar, deadline);
  }
  await Promise.all(runtime.sandboxes.map(({ id }) => stopSandbox(node, id)));
}

/** Stops a sandbox and gives its network back; it is done for one that is down too, as its network may be left. */
export async function stopSandbox(node: NodeContext, id: string): Promise<void> {
  try {
    await node.cri.call('StopPodSandbox', { podSandboxId: id });
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}
