// The service proxy of a node: watches Services, EndpointSlices and its Node; keeps the kernel true to them.
import { isDeepStrictEqual } from 'node:util';
import type { Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { defaultProxyMode, networkConfigKey, readProxyMode } from '../k8s/network-config.ts';
import { keyOf } from '../k8s/object.ts';
import { configMaps, endpointSlices, nodes, serviceCidrs, services } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { listAddresses } from '../linux/addresses.ts';
import type { Iptables } from '../linux/iptables-run.ts';
import type { Scheduler } from '../linux/ipvs.ts';
import { Netlink } from '../linux/netlink.ts';
import type { Nft } from '../linux/nft-run.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, type Ip, parseCidr } from '../net/address.ts';
import { letBridgesPassThrough } from './bridge-traffic.ts';
import { choiceProblems } from './endpoint-choice.ts';
import { ModeReport } from './mode-report.ts';
import { ModeSwitch } from './mode-switch.ts';
import { cleanUpMode, openLocalhost, openWriter } from './modes.ts';
import { nodePortAddresses } from './node-port-addresses.ts';
import { serviceModel } from './service-model.ts';
import type { ProxyNode, ServicePortModel } from './service-port.ts';
import { serviceRanges } from './service-ranges.ts';
import { ServiceRoutes } from './service-route.ts';
import { SliceIndex } from './slice-index.ts';
import { ProxyStatus } from './status/status.ts';
import { ServiceSync, type SyncOptions } from './sync.ts';
import { trimService, trimSlice } from './trimmed.ts';
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
  /** In the mode ipvs: how one of several endpoints is chosen; rr, each in turn, by default. */
  readonly ipvsScheduler?: Scheduler;
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

const zoneLabel = 'topology.kubernetes.io/zone';

/**
 * Starts the proxy in this process's network namespace. Resolves when the first complete set of rules is in the
 * kernel. Stopping leaves the rules in place, so that connections go on while the proxy is restarted.
 */
export async function startProxy(options: ProxyOptions): Promise<{ stop(): Promise<void> }> {
  const { client, log, nodeName, nodeAddresses, externalIps = false } = options;
  await letBridgesPassThrough(log);
  let node: ProxyNode = {
    name: nodeName,
    addresses: nodeAddresses,
    nodePortAddresses: nodePortAddresses(options.nodePortRanges, nodeAddresses, presentAddresses()),
    podCidrs: [],
  };
  const recorder = createRecorder(client, 'weft-proxy', nodeName);
  const status = new ProxyStatus({
    nodeAddresses,
    mode: () => sync.mode,
    healthCheckFailed: ({ namespace, name, port }, problem) =>
      recorder.event(
        { kind: 'Service', apiVersion: 'v1', namespace, name },
        'Warning',
        'FailedToStartServiceHealthcheck',
        `node ${nodeName} failed to start healthcheck "${namespace}/${name}" on port ${port}: ${problem}`,
      ),
    log,
  });
  const { namespace, name } = networkConfigKey;
  const caches = {
    services: client.cache(services, {}, trimService),
    slices: client.cache(endpointSlices, {}, trimSlice),
    nodes: client.cache(nodes, { fieldSelector: `metadata.name=${nodeName}` }),
    configs: client.cache(configMaps, { namespace, fieldSelector: `metadata.name=${name}` }),
  };
  // Waited for by nobody: clusters before Kubernetes 1.33 have no such kind.
  const cidrCache = client.cache(serviceCidrs);
  const routes = options.serviceCidrs?.length ? new ServiceRoutes({ nodeAddresses, log }) : undefined;
  let outer: readonly Ip[] = [];
  const slices = new SliceIndex();
  const syncOptions: SyncOptions = {
    node: () => node,
    log,
    reachable: (addresses) => {
      outer = addresses;
      setRoutes();
    },
    repaired: (damaged) =>
      recorder.event(
        { kind: 'Node', apiVersion: 'v1', name: nodeName, uid: nodeName },
        'Warning',
        'ServiceRulesRepaired',
        `Someone else changed the rules of Services; written anew: ${damaged.join(', ')}`,
      ),
    observer: status,
  };
  const report = new ModeReport({ client, recorder, nodeName, log });
  const { defaultMode = defaultProxyMode } = options;
  const sync = new ModeSwitch(options.mode ?? defaultMode, {
    open: (mode) => openWriter(mode, { ...options, node }),
    sync: (writer) => new ServiceSync(writer, syncOptions),
    cleanUp: (mode, kept) => cleanUpMode(mode, { ...options, node }, kept),
    inPlace: (mode) => {
      openLocalhost(mode, node);
      report.inPlace(mode);
    },
    impossible: (mode, reason) => report.impossible(`the proxy mode ${mode} cannot be had: ${reason}`),
    log,
  });
  const followMode = (): void => {
    const config = caches.configs.get(networkConfigKey);
    // Settings that went away, or that cannot be read, leave the mode as it is.
    if (options.mode !== undefined || config === undefined) return;
    const mode = readProxyMode(config, defaultMode);
    if ('problem' in mode) report.impossible(mode.problem);
    else sync.follow(mode.mode);
  };

  const update = (key: string): void => {
    const [namespace = '', name = ''] = key.split('/');
    const decide = (): ServicePortModel[] => {
      const service = caches.services.get({ namespace, name });
      return service === undefined ? [] : serviceModel(service, slices.of(key), node, { externalIps });
    };
    if (caches.services.get({ namespace, name }) === undefined) sync.forget(key, decide);
    else sync.set(key, decide);
  };
  const ranges = (): Cidr[] => serviceRanges(options.serviceCidrs ?? [], cidrCache.list());
  const setFacts = (): void => sync.setFacts({ serviceCidrs: ranges(), podCidrs: node.podCidrs });
  const setRoutes = (): void => routes?.set({ ranges: ranges(), addresses: outer });
  setFacts();
  setRoutes();
  const ends = [
    () => routes?.stop(),
    () => status.stop(),
    cidrCache.subscribe(() => {
      setFacts();
      setRoutes();
    }),
    () => report.stop(),
    caches.configs.subscribe(followMode),
    caches.nodes.subscribe(({ type, object }) => {
      if (type !== 'deleted') report.seen(object.metadata.annotations);
      status.nodeChanged(type === 'deleted' ? undefined : object);
      // A Node that is gone for a moment, as when it registers anew, changes nothing about where the packets are.
      const now = type === 'deleted' ? node : withNode(node, object);
      if (isDeepStrictEqual(now, node)) return;
      const moved = now.zone !== node.zone;
      node = now;
      setFacts();
      if (moved) for (const service of caches.services.list()) update(keyOf(service));
    }),
    caches.services.subscribe((change) => {
      const { object } = change;
      status.serviceChanged(keyOf(object));
      update(keyOf(object));
      const known = change.type === 'updated' ? choiceProblems(change.old) : [];
      for (const problem of change.type === 'deleted' ? [] : choiceProblems(object))
        if (!known.includes(problem)) recorder.event(object, 'Warning', 'InvalidAnnotation', problem);
    }),
    caches.slices.subscribe((change) => {
      const owners = slices.take(change);
      status.slicesChanged(change, owners);
      for (const key of owners) update(key);
    }),
  ];
  await Promise.all(Object.values(caches).map((cache) => cache.synced));
  followMode();
  if (options.serveStatus) status.serve();
  await sync.start();
  const count = caches.services.list().length;
  log.info({ mode: sync.mode, services: count, size: sync.size }, 'Services are in the kernel');
  return {
    async stop() {
      for (const end of ends) end();
      for (const cache of [...Object.values(caches), cidrCache]) cache.stop();
      await sync.stop();
    },
  };
}

function presentAddresses(): Ip[] {
  using nl = Netlink.open();
  return listAddresses(nl).map(({ address }) => address);
}

/** What the Node object says of the node. */
function withNode(node: ProxyNode, { metadata, spec }: Node): ProxyNode {
  const { zone: _, ...rest } = node;
  const zone = metadata.labels?.[zoneLabel];
  const podCidrs = (spec?.podCIDRs ?? []).map((text) => parseCidr(text)).filter((range) => range !== undefined);
  return { ...rest, podCidrs, ...(zone !== undefined && zone !== '' && { zone }) };
}
