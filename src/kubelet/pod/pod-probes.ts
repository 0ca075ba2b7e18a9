// The probes of one pod: begun with each running container instance, ended with it.
import type { Pod } from '../../k8s/types.generated.ts';
import { type ContainerProbes, startProbes, unhealthyMessage } from '../probe/prober.ts';
import type { ProbeResults } from './actions.ts';
import type { NodeContext } from './node-context.ts';
import { referenceTo } from './reference.ts';
import { allContainers, type PodRuntime, type RuntimeContainer } from './runtime-status.ts';

export interface PodProbes {
  /** Brings the probes in line with what runs. `ending`: only readiness is probed still. */
  follow(pod: Pod, runtime: PodRuntime, ending: boolean): void;
  results(container: RuntimeContainer): ProbeResults;
  ready(containerId: string): boolean;
  started(containerId: string): boolean;
  stop(): void;
}

export function createPodProbes(node: NodeContext, currentPod: () => Pod, changed: () => void): PodProbes {
  const running = new Map<string, ContainerProbes>();

  const begin = (pod: Pod, runtime: PodRuntime, { id, name, sandboxId, startedAt }: RuntimeContainer): void => {
    const container = allContainers(pod).find((spec) => spec.name === name);
    if (container === undefined) return;
    const { startupProbe, livenessProbe, readinessProbe } = container;
    if (startupProbe === undefined && livenessProbe === undefined && readinessProbe === undefined) return;
    const sandbox = runtime.sandboxes.find((item) => item.id === sandboxId);
    const podIp = pod.spec.hostNetwork === true ? node.hostIps[0] : sandbox?.ips[0];
    const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
    const known = statuses.find(({ containerID }) => containerID === `containerd://${id}`);
    running.set(
      id,
      startProbes(
        node.cri.call,
        {
          container,
          id,
          podIp: podIp ?? '127.0.0.1',
          startedAt,
          known: { ready: known?.ready === true, started: known?.started === true },
        },
        {
          changed,
          unhealthy: (kind, output, warning) =>
            node.recorder.event(
              referenceTo(currentPod(), name),
              'Warning',
              warning ? 'ProbeWarning' : 'Unhealthy',
              unhealthyMessage(kind, output, warning),
            ),
        },
      ),
    );
  };

  return {
    follow(pod, runtime, ending) {
      const alive = new Set<string>();
      for (const container of runtime.containers) {
        if (container.state !== 'running') continue;
        alive.add(container.id);
        if (!running.has(container.id) && !ending) begin(pod, runtime, container);
      }
      for (const [id, probes] of running) {
        if (ending) probes.endLiveness();
        if (alive.has(id)) continue;
        probes.stop();
        running.delete(id);
      }
    },
    results: ({ id }) => running.get(id)?.results() ?? {},
    ready: (id) => running.get(id)?.ready ?? true,
    started: (id) => running.get(id)?.started ?? true,
    stop() {
      for (const probes of running.values()) probes.stop();
      running.clear();
    },
  };
}
