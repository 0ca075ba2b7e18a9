// Resource requests and limits as the kernel takes them. Pure. Rules: kubernetes pkg/kubelet/cm/helpers_linux.go and
// pkg/kubelet/qos/policy.go.
import { asQuantity, toMilli, toWhole } from '../../k8s/quantity.ts';
import type { Container, Pod } from '../../k8s/types.generated.ts';
import type { Request } from '../cri/protocol.ts';
import { qosClassOf } from '../pod/phase.ts';

/** Thousandths of a core. */
export const milliCpuOf = (quantity: string): number => toMilli(asQuantity(quantity));
/** Bytes, or any other whole amount. */
export const bytesOf = (quantity: string): number => toWhole(asQuantity(quantity));

const period = 100_000;
const minQuota = 1000;
const minShares = 2;
const maxShares = 262_144;

/** A container's share of the processors, its limits, and how willingly the kernel kills it. */
export function linuxResources(
  pod: Pod,
  container: Container,
  nodeMemoryBytes: number,
): Request<'LinuxContainerResources'> {
  const { limits = {}, requests = {} } = container.resources ?? {};
  const cpuLimit = limits.cpu;
  const cpuRequest = requests.cpu ?? cpuLimit;
  const memory = limits.memory;
  return {
    cpuShares: cpuShares(cpuRequest === undefined ? 0 : milliCpuOf(cpuRequest)),
    cpuPeriod: period,
    cpuQuota: cpuLimit === undefined ? 0 : cpuQuota(milliCpuOf(cpuLimit)),
    memoryLimitInBytes: memory === undefined ? 0 : bytesOf(memory),
    oomScoreAdj: oomScoreAdj(pod, container, nodeMemoryBytes),
  };
}

function cpuShares(milli: number): number {
  return milli === 0 ? minShares : Math.min(maxShares, Math.max(minShares, Math.floor((milli * 1024) / 1000)));
}

function cpuQuota(milli: number): number {
  return milli === 0 ? 0 : Math.max(minQuota, Math.floor((milli * period) / 1000));
}

/** -997 for Guaranteed pods, 1000 for BestEffort, in between by the share of the node's memory that is requested. */
function oomScoreAdj(pod: Pod, container: Container, nodeMemoryBytes: number): number {
  if (pod.spec.priorityClassName === 'system-node-critical') return -997;
  const qos = qosClassOf(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const request = container.resources?.requests?.memory ?? container.resources?.limits?.memory;
  const bytes = request === undefined ? 0 : bytesOf(request);
  return Math.min(999, Math.max(3, 1000 - Math.floor((1000 * bytes) / nodeMemoryBytes)));
}
