// The kubelet: runs the pods that are bound to its node, and reports them and the node to the API server.
import { mkdir, readFile } from 'node:fs/promises';
import type { Cache, Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { pods as podResource, services as serviceResource } from '../k8s/resources.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import type { Ip } from '../net/address.ts';
import { parseResolvConf } from './container/dns.ts';
import { connectCri } from './cri/client.ts';
import { createImages } from './image/images.ts';
import { readMachine } from './node/machine.ts';
import { startNodeAgent } from './node/node-agent.ts';
import { type BackOffOptions, createBackOff } from './pod/back-off.ts';
import { startLogRotation } from './pod/log-rotation.ts';
import type { NodeContext } from './pod/node-context.ts';
import { startRuntimeCache } from './pod/runtime-cache.ts';
import { createStatusWriter } from './pod/status-writer.ts';
import { type PodWorkers, startPodWorkers } from './pod/workers.ts';
import type { RuntimeStreams } from './runtime.ts';
import { runtimeStreams } from './runtime-streams.ts';
import { startKubeletServer } from './server/server.ts';
import { createObjects } from './volume/objects.ts';
import { createTokens } from './volume/tokens.ts';
import { createVolumes } from './volume/volumes.ts';

export interface KubeletOptions {
  readonly client: Client;
  readonly nodeName: string;
  /** The node's addresses, the one that others use first. */
  readonly nodeAddresses: readonly Ip[];
  /** Gives the node the label of a control plane (and no taint: it runs workloads too). */
  readonly controlPlane: boolean;
  /** Path of containerd's socket. */
  readonly runtimeSocket: string;
  /** By convention /var/lib/kubelet. */
  readonly rootDir: string;
  /** By convention /var/log/pods. */
  readonly podLogsDir: string;
  readonly clusterDns: readonly Ip[];
  readonly clusterDomain: string;
  /** The parent of all pods' control groups, such as /weft/demo/demo-worker. */
  readonly cgroupRoot: string;
  /** PEM. */
  readonly serving: { readonly cert: string; readonly key: string; readonly clientCa: string };
  /** Of the kubelet's HTTPS API; by convention 10250. */
  readonly port: number;
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** Pauses before a failed container is started again; 10 s to 300 s where absent. */
  readonly backOff?: BackOffOptions;
  /** The runtime's image of sandboxes: pulled soon after the start, so that no first pod of a node waits for it. */
  readonly sandboxImage?: string;
  /** Ends the runtime, for it to be started anew; pods go on. Called where it has missed the end of a container. */
  readonly restartRuntime?: () => void;
  readonly log: Log;
}

export interface Kubelet {
  readonly runtime: RuntimeStreams;
  /** The port of the HTTPS API. */
  readonly port: number;
  /** Resolves when the node is registered. */
  readonly registered: Promise<void>;
  /** Stops the kubelet; pods go on running. */
  stop(): Promise<void>;
}

const kubeletVersion = 'v1.36.0';
const defaultBackOff: BackOffOptions = { initialMs: 10_000, maxMs: 300_000 };
const orphansMs = 60_000;
/** Later than the first rush of a start, earlier than a person's first pod. */
const prefetchMs = 2000;

/**
 * Starts the kubelet; it waits by itself for the API server and for the runtime. Rejects where its port is taken or its
 * folders cannot be made. Pods that run already (the kubelet was killed) are adopted as they are.
 */
export async function startKubelet(o: KubeletOptions): Promise<Kubelet> {
  const { client, log } = o;
  await Promise.all([
    mkdir(o.rootDir, { recursive: true, mode: 0o700 }),
    mkdir(o.podLogsDir, { recursive: true, mode: 0o755 }),
  ]);
  const cri = connectCri(o.runtimeSocket);
  const machine = await readMachine(o.rootDir);
  const podCache = client.cache(podResource, { fieldSelector: `spec.nodeName=${o.nodeName}` });
  const serviceCache = client.cache(serviceResource);
  let workers: PodWorkers | undefined;
  const cache = startRuntimeCache({
    cri,
    log,
    onChange: (runtime) => workers?.runtimeChanged(runtime),
    onBack: () => workers?.runtimeBack(),
    onLostExit: (ids) => {
      log.warn({ ids, restarts: o.restartRuntime !== undefined }, 'the runtime has missed the end of containers');
      o.restartRuntime?.();
    },
  });
  const objects = createObjects(client);
  const tokens = createTokens(client);
  const backOff = o.backOff ?? defaultBackOff;
  const context: NodeContext = {
    client,
    cri,
    cache,
    images: createImages(cri, backOff),
    objects,
    tokens,
    volumes: createVolumes({ rootDir: o.rootDir, objects, tokens }),
    statuses: createStatusWriter(client, log),
    recorder: createRecorder(client, 'kubelet', o.nodeName),
    restarts: createBackOff(backOff),
    log,
    nodeName: o.nodeName,
    hostIps: o.nodeAddresses,
    rootDir: o.rootDir,
    podLogsDir: o.podLogsDir,
    cgroupRoot: o.cgroupRoot,
    cluster: { servers: o.clusterDns, domain: o.clusterDomain },
    nodeResolver: async () => parseResolvConf(await readFile('/etc/resolv.conf', 'utf8').catch(() => '')),
    allocatable: {
      cpu: String(machine.cpus),
      memory: String(machine.memoryBytes),
      ephemeralStorage: String(machine.storageBytes),
    },
    memoryBytes: machine.memoryBytes,
    services: (namespace) => servicesFor(serviceCache, namespace),
  };

  let stopped = false;
  let orphanTimer: NodeJS.Timeout | undefined;
  const removeOrphans = (): void => {
    workers?.removeOrphans().catch((error: unknown) => log.warn({ err: error }, 'cannot remove pods that are gone'));
  };
  Promise.all([podCache.synced, cache.synced])
    .then(() => {
      if (stopped) return;
      workers = startPodWorkers(context, podCache);
      removeOrphans();
      orphanTimer = setInterval(removeOrphans, orphansMs);
    })
    .catch((error: unknown) => log.error({ err: error }, 'cannot begin to run pods'));

  const rotation = startLogRotation(context);
  const runtime = runtimeStreams(cri);
  const server = await startKubeletServer({
    port: o.port,
    addresses: [],
    serving: o.serving,
    pods: { findPod: (namespace, name) => workers?.findPod(namespace, name), pods: () => workers?.pods() ?? [] },
    runtime,
    log,
  });
  const agent = startNodeAgent({
    client,
    cri,
    facts: {
      nodeName: o.nodeName,
      addresses: o.nodeAddresses,
      controlPlane: o.controlPlane,
      labels: o.nodeLabels ?? {},
      port: server.port,
      machine,
      kubeletVersion,
    },
    rootDir: o.rootDir,
    log,
  });

  const prefetchTimer = setTimeout(() => {
    if (o.sandboxImage === undefined) return;
    context.images.prefetch(o.sandboxImage).catch((error: unknown) => {
      log.info({ err: error, image: o.sandboxImage }, 'the image of sandboxes is not here yet');
    });
  }, prefetchMs);

  return {
    runtime,
    port: server.port,
    registered: agent.registered,
    async stop() {
      stopped = true;
      clearInterval(orphanTimer);
      clearTimeout(prefetchTimer);
      rotation.stop();
      agent.stop();
      workers?.stop();
      cache.stop();
      podCache.stop();
      serviceCache.stop();
      objects.stop();
      await server.stop();
      cri.close();
    },
  };
}

/** The Services of the namespace, and the API server's own. */
async function servicesFor(cache: Cache<Service>, namespace: string): Promise<readonly Service[]> {
  await cache.synced;
  const master = cache.get({ namespace: 'default', name: 'kubernetes' });
  const own = cache.list(namespace);
  return master === undefined || namespace === 'default' ? own : [...own, master];
}
