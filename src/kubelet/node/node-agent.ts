// Registers the node and keeps its status and its Lease. Rules: kubernetes pkg/kubelet/kubelet_node_status.go and
// k8s.io/component-helpers/apimachinery/lease.
import { isDeepStrictEqual } from 'node:util';
import { type Client, isAlreadyExists, isConflict, isNotFound } from '../../k8s/client.ts';
import type { Stored } from '../../k8s/object.ts';
import { leases, nodes } from '../../k8s/resources.ts';
import type { ContainerImage, Lease, Node, NodeStatus } from '../../k8s/types.generated.ts';
import type { Log } from '../../log/log.ts';
import type { Cri } from '../cri/client.ts';
import { availableMemory, processCount, readMachine } from './machine.ts';
import {
  imageList,
  type NodeFacts,
  type NodeReadings,
  newNode,
  nodeLabels,
  nodeStatus,
  runtimeReadiness,
} from './node-status.ts';

const leaseSeconds = 40;
/** How often the Lease is renewed and the runtime is asked how it is. */
const renewMs = 10_000;
const statusMs = 5 * 60_000;
/** While the node is not ready yet: readiness shall be known at once. */
const startupMs = 100;
const startupPatienceMs = 60_000;

export interface NodeAgent {
  /** Resolves when the node is registered. */
  readonly registered: Promise<void>;
  stop(): void;
}

/** Begins to register the node and to keep it; goes on by itself through failures of the API server and the runtime. */
export function startNodeAgent(options: {
  readonly client: Client;
  readonly cri: Cri;
  readonly facts: NodeFacts;
  readonly rootDir: string;
  readonly log: Log;
}): NodeAgent {
  const { client, cri, facts, log } = options;
  const beganAt = Date.now();
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let node: Stored<Node> | undefined;
  let lease: Stored<Lease> | undefined;
  let wroteAt = 0;
  let renewedAt = 0;
  let images: readonly ContainerImage[] = [];
  let runtimeVersion = '';
  let markRegistered: () => void = () => undefined;
  const registered = new Promise<void>((resolve) => {
    markRegistered = resolve;
  });

  const read = async (): Promise<NodeReadings> => {
    const [runtime, availableMemoryBytes, processes, machine] = await Promise.all([
      cri.call('Status', {}, { timeoutMs: 5000 }).then(
        ({ status }) => runtimeReadiness(status),
        (error: Error) => ({ ready: false as const, message: `container runtime is down: ${error.message}` }),
      ),
      availableMemory(),
      processCount(),
      readMachine(options.rootDir),
    ]);
    if (runtime.ready) {
      if (runtimeVersion === '') runtimeVersion = (await cri.call('Version', {})).runtimeVersion;
      images = imageList((await cri.call('ListImages', {})).images);
    }
    return {
      runtime,
      availableMemoryBytes,
      processes,
      freeStorageBytes: machine.freeStorageBytes,
      runtimeVersion,
      images,
    };
  };

  const register = async (status: NodeStatus): Promise<void> => {
    try {
      node = await client.create(nodes, newNode(facts, status));
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
      node = await client.get(nodes, { name: facts.nodeName });
      const labels = nodeLabels(facts);
      const missing = Object.entries(labels).some(([key, value]) => node?.metadata.labels?.[key] !== value);
      if (missing)
        node = await client.patch(nodes, { name: facts.nodeName }, { type: 'merge', body: { metadata: { labels } } });
    }
    log.info({ node: facts.nodeName }, 'the node is registered');
    markRegistered();
  };

  const writeStatus = async (readings: NodeReadings): Promise<void> => {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
    if (node === undefined) await register(nodeStatus(facts, readings, undefined, now));
    if (node === undefined) return;
    const status = nodeStatus(facts, readings, node.status, now);
    if (sameNodeStatus(node.status, status) && Date.now() - wroteAt < statusMs) return;
    try {
      node = await client.update(nodes, { ...node, status: { ...node.status, ...status } }, 'status');
      wroteAt = Date.now();
    } catch (error) {
      if (isNotFound(error)) node = undefined;
      if (!isConflict(error)) throw error;
      node = await client.get(nodes, { name: facts.nodeName });
      node = await client.update(nodes, { ...node, status: { ...node.status, ...status } }, 'status');
      wroteAt = Date.now();
    }
  };

  const renewLease = async (): Promise<void> => {
    if (Date.now() - renewedAt < renewMs - 500) return;
    const renewTime = microTime();
    const key = { name: facts.nodeName, namespace: 'kube-node-lease' };
    try {
      lease ??= await client.get(leases, key);
      lease = await client.update(leases, { ...lease, spec: { ...lease.spec, renewTime } });
    } catch (error) {
      lease = undefined;
      if (!isNotFound(error)) throw error;
      lease = await client.create(leases, newLease(facts.nodeName, node, renewTime));
    }
    renewedAt = Date.now();
  };

  const step = async (): Promise<void> => {
    let ready = false;
    try {
      const readings = await read();
      ready = readings.runtime.ready;
      await writeStatus(readings);
      await renewLease();
    } catch (error) {
      ready = false;
      if (!stopped && Date.now() - beganAt > 5000) log.warn({ err: error }, 'cannot report the node to the API server');
    }
    if (stopped) return;
    const starting = !ready && Date.now() - beganAt < startupPatienceMs;
    timer = setTimeout(() => void step(), starting ? startupMs : ready ? renewMs : 1000);
  };
  void step();

  return {
    registered,
    stop() {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

const microTime = (): string => new Date().toISOString().replace(/\.(\d{3})Z$/, '.$1000Z');

function newLease(nodeName: string, node: Stored<Node> | undefined, renewTime: string): Lease {
  return {
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: {
      name: nodeName,
      namespace: 'kube-node-lease',
      ...(node === undefined
        ? {}
        : { ownerReferences: [{ apiVersion: 'v1', kind: 'Node', name: nodeName, uid: node.metadata.uid }] }),
    },
    spec: { holderIdentity: nodeName, leaseDurationSeconds: leaseSeconds, renewTime },
  };
}

/** Whether two statuses say the same but for the time of the heartbeat. */
function sameNodeStatus(a: NodeStatus | undefined, b: NodeStatus): boolean {
  const comparable = (status: NodeStatus | undefined): unknown =>
    status === undefined
      ? undefined
      : JSON.parse(
          JSON.stringify({
            addresses: status.addresses,
            capacity: status.capacity,
            allocatable: status.allocatable,
            conditions: status.conditions
              ?.map(({ lastHeartbeatTime: _, ...condition }) => condition)
              .toSorted((x, y) => x.type.localeCompare(y.type)),
            nodeInfo: status.nodeInfo,
            images: status.images,
            daemonEndpoints: status.daemonEndpoints,
          }),
        );
  return isDeepStrictEqual(comparable(a), comparable(b));
}
