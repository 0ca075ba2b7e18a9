// The Node object of this machine: labels, capacity, conditions. Pure. Rules: kubernetes pkg/kubelet/nodestatus.
import type { ContainerImage, Node, NodeCondition, NodeStatus } from '../../k8s/types.generated.ts';
import type { Ip } from '../../net/address.ts';
import type { Message } from '../cri/protocol.ts';
import type { Machine } from './machine.ts';

export interface NodeFacts {
  readonly nodeName: string;
  readonly addresses: readonly Ip[];
  readonly controlPlane: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly port: number;
  readonly machine: Machine;
  readonly kubeletVersion: string;
}

export interface NodeReadings {
  readonly runtime: RuntimeReadiness;
  readonly runtimeVersion: string;
  readonly images: readonly ContainerImage[];
  readonly availableMemoryBytes: number;
  readonly freeStorageBytes: number;
  readonly processes: { readonly max: number; readonly running: number };
}

/** Whether the runtime can start containers, and if not, why. */
export type RuntimeReadiness = { readonly ready: true } | { readonly ready: false; readonly message: string };

const maxPods = 110;
const maxImages = 50;
/** Below these the node is under pressure (kubelet's default eviction thresholds). */
const minMemoryBytes = 100 << 20;
const minStorageShare = 0.1;
const minProcessShare = 0.05;

export function nodeLabels({ nodeName, controlPlane, labels, machine }: NodeFacts): Record<string, string> {
  return {
    'kubernetes.io/hostname': nodeName,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': machine.architecture,
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': machine.architecture,
    ...(controlPlane ? { 'node-role.kubernetes.io/control-plane': '' } : {}),
    ...labels,
  };
}

/** The object to register. */
export function newNode(facts: NodeFacts, status: NodeStatus): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: facts.nodeName,
      labels: nodeLabels(facts),
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
    },
    spec: {},
    status,
  };
}

/** The node's status; times of transitions are kept from `before` where a condition has not changed. */
export function nodeStatus(
  facts: NodeFacts,
  readings: NodeReadings,
  before: NodeStatus | undefined,
  now: string,
): NodeStatus {
  const { machine } = facts;
  const resources = {
    cpu: String(machine.cpus),
    memory: `${Math.floor(machine.memoryBytes / 1024)}Ki`,
    'ephemeral-storage': `${Math.floor(machine.storageBytes / 1024)}Ki`,
    pods: String(maxPods),
  };
  return {
    addresses: [
      ...facts.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: facts.nodeName },
    ],
    capacity: resources,
    allocatable: resources,
    conditions: conditions(facts, readings, before?.conditions ?? [], now),
    daemonEndpoints: { kubeletEndpoint: { Port: facts.port } },
    nodeInfo: {
      architecture: machine.architecture,
      bootID: machine.bootId,
      containerRuntimeVersion: `containerd://${readings.runtimeVersion}`,
      kernelVersion: machine.kernelVersion,
      kubeProxyVersion: facts.kubeletVersion,
      kubeletVersion: facts.kubeletVersion,
      machineID: machine.machineId,
      operatingSystem: 'linux',
      osImage: machine.osImage,
      systemUUID: machine.machineId,
    },
    images: readings.images.slice(0, maxImages),
  };
}

function conditions(
  { machine }: NodeFacts,
  readings: NodeReadings,
  before: readonly NodeCondition[],
  now: string,
): NodeCondition[] {
  const pressure = (type: string, under: boolean, bad: [string, string], good: [string, string]) => ({
    type,
    status: under ? 'True' : 'False',
    reason: (under ? bad : good)[0],
    message: (under ? bad : good)[1],
  });
  const { runtime, processes } = readings;
  const mine = [
    pressure(
      'MemoryPressure',
      readings.availableMemoryBytes < minMemoryBytes,
      ['KubeletHasInsufficientMemory', 'kubelet has insufficient memory available'],
      ['KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    ),
    pressure(
      'DiskPressure',
      readings.freeStorageBytes < machine.storageBytes * minStorageShare,
      ['KubeletHasDiskPressure', 'kubelet has disk pressure'],
      ['KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    ),
    pressure(
      'PIDPressure',
      processes.max - processes.running < processes.max * minProcessShare,
      ['KubeletHasInsufficientPID', 'kubelet has insufficient PID available'],
      ['KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    ),
    {
      type: 'Ready',
      status: runtime.ready ? 'True' : 'False',
      reason: runtime.ready ? 'KubeletReady' : 'KubeletNotReady',
      message: runtime.ready ? 'kubelet is posting ready status' : runtime.message,
    },
  ];
  const types = new Set(mine.map(({ type }) => type));
  return [
    ...before.filter(({ type }) => !types.has(type)),
    ...mine.map((condition) => {
      const old = before.find(({ type }) => type === condition.type);
      const same = old?.status === condition.status;
      return {
        ...condition,
        lastHeartbeatTime: now,
        lastTransitionTime: (same ? old?.lastTransitionTime : undefined) ?? now,
      };
    }),
  ];
}

/** The runtime's word on itself and on its network, as users know it from other clusters. */
export function runtimeReadiness(status: Message<'RuntimeStatus'> | null): RuntimeReadiness {
  const wrong = ['RuntimeReady', 'NetworkReady'].flatMap((type) => {
    const condition = status?.conditions.find((item) => item.type === type);
    if (condition?.status === true) return [];
    const what = type === 'RuntimeReady' ? 'container runtime not ready' : 'container runtime network not ready';
    return [`${what}: ${type}=false reason:${condition?.reason ?? 'Unknown'} message:${condition?.message ?? ''}`];
  });
  return wrong.length === 0 ? { ready: true } : { ready: false, message: wrong.join(', ') };
}

/** The images as the node's status lists them: the largest first. */
export function imageList(images: readonly Message<'Image'>[]): ContainerImage[] {
  return images
    .toSorted((a, b) => b.size - a.size)
    .map(({ repoTags, repoDigests, size }) => ({ names: [...repoDigests, ...repoTags].slice(0, 5), sizeBytes: size }));
}
