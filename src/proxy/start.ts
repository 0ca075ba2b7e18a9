// The service proxy of a node: watches Services, EndpointSlices and its Node; keeps the kernel true to them.
import { isDeepStrictEqual } from 'node:util';
import type { Cache, Change, Client } from '../k8s/client.ts';
import { createRecorder, type Recorder } from '../k8s/events.ts';
import {
  defaultIpvsScheduler,
  defaultProxyMode,
  networkConfigKey,
  readIpvsScheduler,
  readProxyMode,
} from '../k8s/network-config.ts';
import { keyOf } from '../k8s/object.ts';
import { configMaps, endpointSlices, nodes, serviceCidrs, services } from '../k8s/resources.ts';
import type { Node, Service, ServiceCIDR } from '../k8s/types.generated.ts';
import type { Iptables } from '../linux/iptables-run.ts';
import type { Nft } from '../linux/nft-run.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, type Ip, parseCidr } from '../net/address.ts';
import { letBridgesPassThrough } from './bridge-traffic.ts';
import { choiceProblems } from './endpoint-choice.ts';
import { MemoryRelease } from './memory-release.ts';
import { ModeReport } from './mode-report.ts';
import { ModeSwitch } from './mode-switch.ts';
import { cleanUpMode, type ModeContext, openLocalhost, openWriter } from './modes.ts';
import { nodePortAddresses } from './node-port-addresses.ts';
import { presentAddresses } from './present-addresses.ts';
import { serviceModel } from './service-model.ts';
import type { ProxyNode, ServicePortModel } from './service-port.ts';
import { serviceRanges } from './service-ranges.ts';
import { ServiceRoutes } from './service-route.ts';
import { SliceIndex } from './slice-index.ts';
import { ProxyStatus } from './status/status.ts';
import { ServiceSync, type SyncOptions } from './sync.ts';
import { trimSlice } from './trimmed.ts';
import type { ProxyMode } from './writer.ts';

export interface ProxyOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly nodeAddresses: readonly Ip[];
  /** The ranges of the pods: what comes from elsewhere is masqueraded on its way to a cluster address. */
  readonly clusterCidrs: readonly Cidr[];
  /**
   * The ranges of Services, to which the node gets a route; those of ServiceCIDR objects come to them. Addresses in them
   * that no Service has are dropped.
   */
  readonly serviceCidrs?: readonly Cidr[];
  /** How rules are written, for good; where absent, as the ConfigMap kube-system/weft-config says at the time. */
  readonly mode?: ProxyMode;
  /** How rules are written where that ConfigMap does not say it (yet); nftables by default. */
  readonly defaultMode?: ProxyMode;
  /** Whether Services may claim addresses by spec.externalIPs; not by default. */
  readonly externalIps?: boolean;
  /** Whether metrics and health are served, at kube-proxy's ports 10249 and 10256 of all addresses; not by default. */
  readonly serveStatus?: boolean;
  /** NodePorts are open on the addresses that the node now has in these ranges; see nodePortAddresses(). */
  readonly nodePortRanges?: readonly Cidr[];
  readonly log: Log;
  /** The way to nftables; by default that of this process's network namespace. */
  readonly nft?: Nft;
  /** The way to iptables; by default that of the backend which this process's network namespace uses. */
  readonly iptables?: Iptables;
}

/** From so many entries in the kernel on the start leaves much garbage behind. */
const manyEntries = 50_000;
const zoneLabel = 'topology.kubernetes.io/zone';

/**
 * Starts the proxy in this process's network namespace. Resolves when the first complete set of rules is in the
 * kernel. Stopping leaves the rules in place, so that connections go on while the proxy is restarted.
 */
export async function startProxy(options: ProxyOptions): Promise<{ stop(): Promise<void> }> {
  await letBridgesPassThrough(options.log);
  const proxy = new ServiceProxy(options);
  await proxy.start();
  return proxy;
}

class ServiceProxy {
  readonly #options: ProxyOptions;
  readonly #recorder: Recorder;
  readonly #caches: ReturnType<typeof openCaches>;
  /** Waited for by nobody: clusters before Kubernetes 1.33 have no such kind. */
  readonly #cidrs: Cache<ServiceCIDR>;
  readonly #slices = new SliceIndex();
  readonly #memory = new MemoryRelease();
  readonly #routes: ServiceRoutes | undefined;
  readonly #status: ProxyStatus;
  readonly #report: ModeReport;
  readonly #sync: ModeSwitch;
  #node: ProxyNode;
  #scheduler = defaultIpvsScheduler;
  /** The addresses of Services that lie in no range of theirs. */
  #outer: readonly Ip[] = [];
  #ends: readonly (() => void)[] = [];

  constructor(options: ProxyOptions) {
    const { client, log, nodeName, nodeAddresses } = options;
    this.#options = options;
    this.#node = {
      name: nodeName,
      addresses: nodeAddresses,
      nodePortAddresses: nodePortAddresses(options.nodePortRanges, nodeAddresses, presentAddresses()),
      podCidrs: [],
    };
    this.#recorder = createRecorder(client, 'weft-proxy', nodeName);
    this.#caches = openCaches(client, nodeName);
    this.#cidrs = client.cache(serviceCidrs);
    this.#routes = options.serviceCidrs?.length ? new ServiceRoutes({ nodeAddresses, log }) : undefined;
    this.#status = this.#makeStatus();
    this.#report = new ModeReport({ client, recorder: this.#recorder, nodeName, log });
    this.#sync = this.#makeSync();
  }

  async start(): Promise<void> {
    const { log, serveStatus } = this.#options;
    this.#setFacts();
    this.#setRoutes();
    this.#ends = [
      this.#cidrs.subscribe(() => {
        this.#setFacts();
        this.#setRoutes();
      }),
      this.#caches.configs.subscribe(() => {
        this.#followMode();
        this.#followScheduler();
      }),
      this.#caches.nodes.subscribe((change) => this.#nodeChanged(change)),
      this.#caches.services.subscribe((change) => this.#serviceChanged(change)),
      this.#caches.slices.subscribe((change) => {
        const owners = this.#slices.take(change);
        this.#status.slicesChanged(change, owners);
        for (const key of owners) this.#update(key);
      }),
    ];
    await Promise.all(Object.values(this.#caches).map((cache) => cache.synced));
    this.#followMode();
    this.#followScheduler();
    if (serveStatus) this.#status.serve();
    await this.#sync.start();
    // What was read and written for the start is several times what is kept of it.
    this.#memory.started(this.#sync.size > manyEntries);
    const count = this.#caches.services.list().length;
    log.info({ mode: this.#sync.mode, services: count, size: this.#sync.size }, 'Services are in the kernel');
  }

  async stop(): Promise<void> {
    this.#memory.stop();
    for (const end of this.#ends) end();
    for (const part of [this.#routes, this.#status, this.#report, this.#cidrs]) part?.stop();
    for (const cache of Object.values(this.#caches)) cache.stop();
    await this.#sync.stop();
  }

  #makeStatus(): ProxyStatus {
    const { nodeName, nodeAddresses, log } = this.#options;
    return new ProxyStatus({
      nodeAddresses,
      mode: () => this.#sync.mode,
      healthCheckFailed: ({ namespace, name, port }, problem) =>
        this.#recorder.event(
          { kind: 'Service', apiVersion: 'v1', namespace, name },
          'Warning',
          'FailedToStartServiceHealthcheck',
          `node ${nodeName} failed to start healthcheck "${namespace}/${name}" on port ${port}: ${problem}`,
        ),
      log,
    });
  }

  #makeSync(): ModeSwitch {
    const { nodeName, log, mode, defaultMode = defaultProxyMode } = this.#options;
    const report = this.#report;
    const context = (): ModeContext => ({ ...this.#options, node: this.#node });
    const syncOptions: SyncOptions = {
      node: () => this.#node,
      log,
      reachable: (addresses) => {
        this.#outer = addresses;
        this.#setRoutes();
      },
      repaired: (damaged) =>
        this.#recorder.event(
          { kind: 'Node', apiVersion: 'v1', name: nodeName, uid: nodeName },
          'Warning',
          'ServiceRulesRepaired',
          `Someone else changed the rules of Services; written anew: ${damaged.join(', ')}`,
        ),
      observer: this.#status,
    };
    return new ModeSwitch(mode ?? defaultMode, {
      open: (mode) => openWriter(mode, context()),
      sync: (writer) => new ServiceSync(writer, syncOptions),
      cleanUp: (mode, kept) => cleanUpMode(mode, context(), kept),
      inPlace: (mode) => {
        openLocalhost(mode, this.#node);
        report.inPlace(mode);
      },
      impossible: (mode, reason) => report.impossible(`the proxy mode ${mode} cannot be had: ${reason}`),
      log,
    });
  }

  #followMode(): void {
    const { mode, defaultMode = defaultProxyMode } = this.#options;
    const config = this.#caches.configs.get(networkConfigKey);
    // Settings that went away, or that cannot be read, leave the mode as it is.
    if (mode !== undefined || config === undefined) return;
    const wanted = readProxyMode(config, defaultMode);
    if ('problem' in wanted) this.#report.impossible(wanted.problem);
    else this.#sync.follow(wanted.mode);
  }

  #followScheduler(): void {
    const config = this.#caches.configs.get(networkConfigKey);
    if (config === undefined) return;
    const found = readIpvsScheduler(config);
    if ('problem' in found) this.#report.impossible(found.problem);
    else this.#scheduler = found.scheduler;
    this.#setFacts();
  }

  /** Has a Service, named `namespace/name`, decided anew when the next change is written. */
  #update(key: string): void {
    this.#memory.changed();
    const { externalIps = false } = this.#options;
    const [namespace = '', name = ''] = key.split('/');
    const get = () => this.#caches.services.get({ namespace, name });
    const decide = (): ServicePortModel[] => {
      const service = get();
      return service === undefined ? [] : serviceModel(service, this.#slices.of(key), this.#node, { externalIps });
    };
    if (get() === undefined) this.#sync.forget(key, decide);
    else this.#sync.set(key, decide);
  }

  #serviceChanged(change: Change<Service>): void {
    const { object } = change;
    this.#status.serviceChanged(keyOf(object));
    this.#update(keyOf(object));
    const known = change.type === 'updated' ? choiceProblems(change.old) : [];
    for (const problem of change.type === 'deleted' ? [] : choiceProblems(object))
      if (!known.includes(problem)) this.#recorder.event(object, 'Warning', 'InvalidAnnotation', problem);
  }

  #nodeChanged({ type, object }: Change<Node>): void {
    if (type !== 'deleted') this.#report.seen(object.metadata.annotations);
    this.#status.nodeChanged(type === 'deleted' ? undefined : object);
    // A Node that is gone for a moment, as when it registers anew, changes nothing about where the packets are.
    const now = type === 'deleted' ? this.#node : withNode(this.#node, object);
    if (isDeepStrictEqual(now, this.#node)) return;
    const isElsewhere = now.zone !== this.#node.zone;
    this.#node = now;
    this.#setFacts();
    if (isElsewhere) for (const service of this.#caches.services.list()) this.#update(keyOf(service));
  }

  #ranges(): Cidr[] {
    return serviceRanges(this.#options.serviceCidrs ?? [], this.#cidrs.list());
  }

  #setFacts(): void {
    const ipvsScheduler = this.#scheduler;
    this.#sync.setFacts({ serviceCidrs: this.#ranges(), podCidrs: this.#node.podCidrs, ipvsScheduler });
  }

  #setRoutes(): void {
    this.#routes?.set({ ranges: this.#ranges(), addresses: this.#outer });
  }
}

function openCaches(client: Client, nodeName: string) {
  const { namespace, name } = networkConfigKey;
  return {
    // As they are: other parts of an agent follow them too, and one copy is less than two.
    services: client.cache(services),
    slices: client.cache(endpointSlices, {}, trimSlice),
    nodes: client.cache(nodes, { fieldSelector: `metadata.name=${nodeName}` }),
    configs: client.cache(configMaps, { namespace, fieldSelector: `metadata.name=${name}` }),
  };
}

/** What the Node object says of the node. */
function withNode(node: ProxyNode, { metadata, spec }: Node): ProxyNode {
  const { zone: _, ...rest } = node;
  const zone = metadata.labels?.[zoneLabel];
  const podCidrs = (spec?.podCIDRs ?? []).map((text) => parseCidr(text)).filter((range) => range !== undefined);
  return { ...rest, podCidrs, ...(zone !== undefined && zone !== '' && { zone }) };
}
