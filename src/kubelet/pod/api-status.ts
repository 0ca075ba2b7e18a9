// The whole status of a pod as the API shows it, from what runs. Pure.

import type { Pod, PodStatus } from '../../k8s/types.generated.ts';
import type { Ip } from '../../net/address.ts';
import { podConditions } from './conditions.ts';
import { type ContainerKnowledge, containerStatuses } from './container-statuses.ts';
import { phaseOf, qosClassOf } from './phase.ts';
import { isTerminalPhase, type PodRuntime, readySandbox } from './runtime-status.ts';

export interface StatusInput {
  /** The pod as the API server has it. */
  readonly pod: Pod;
  readonly runtime: PodRuntime;
  readonly knowledge: ContainerKnowledge;
  /** Nothing will be started again: the pod is being deleted or has passed its deadline. */
  readonly terminating: boolean;
  /** Why the kubelet ended the pod by itself (`DeadlineExceeded`): its phase is Failed. */
  readonly failure?: { readonly reason: string; readonly message: string } | undefined;
  readonly hostIps: readonly Ip[];
  /** RFC 3339. */
  readonly now: string;
}

/** The status to write. Terminal phases never change back. */
export function podStatus(input: StatusInput): PodStatus {
  const { pod, runtime, knowledge, terminating, failure, now } = input;
  const old = pod.status ?? {};
  const main = containerStatuses(pod, 'main', runtime, knowledge, terminating);
  const init = containerStatuses(pod, 'init', runtime, knowledge, terminating);
  const ephemeral = containerStatuses(pod, 'ephemeral', runtime, knowledge, terminating);
  const over = !runtime.containers.some(({ state }) => state === 'running');
  const computed = phaseOf(pod, [...init, ...main], terminating);
  const phase =
    old.phase === 'Succeeded' || old.phase === 'Failed'
      ? old.phase
      : failure !== undefined && over
        ? 'Failed'
        : pod.metadata.deletionTimestamp != null && !over && isTerminalPhase(computed)
          ? 'Running'
          : computed;
  const sandbox = readySandbox(runtime);
  const ips = podIps(input, sandbox?.ips ?? []);
  const status: PodStatus = {
    phase,
    conditions: podConditions(pod, {
      phase,
      statuses: main,
      initStatuses: init,
      sandboxReady: sandbox !== undefined && ips.length > 0,
      now,
    }),
    startTime: old.startTime ?? now,
    qosClass: qosClassOf(pod),
    containerStatuses: main,
    hostIPs: input.hostIps.map((ip) => ({ ip })),
    podIPs: ips.map((ip) => ({ ip })),
  };
  if (init.length > 0) status.initContainerStatuses = init;
  if (ephemeral.length > 0) status.ephemeralContainerStatuses = ephemeral;
  if (input.hostIps[0] !== undefined) status.hostIP = input.hostIps[0];
  if (ips[0] !== undefined) status.podIP = ips[0];
  if (pod.metadata.generation !== undefined) status.observedGeneration = pod.metadata.generation;
  if (failure !== undefined) Object.assign(status, failure);
  else if (isTerminalPhase(phase) && old.reason !== undefined)
    Object.assign(status, { reason: old.reason, message: old.message });
  return status;
}

function podIps({ pod, hostIps, runtime }: StatusInput, sandboxIps: readonly string[]): readonly string[] {
  if (pod.spec.hostNetwork === true) return runtime.sandboxes.length > 0 ? hostIps : [];
  if (sandboxIps.length > 0) return sandboxIps;
  // A pod that has ended, or that waits for its next sandbox, keeps the address under which it was known.
  return (pod.status?.podIPs ?? []).map(({ ip }) => ip);
}
