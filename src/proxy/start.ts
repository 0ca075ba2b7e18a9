// The service proxy of a node: watches Services, EndpointSlices and its Node; keeps the kernel true to them.
import { isDeepStrictEqual } from 'node:util';
import type { Client } from '../k8s/client.ts';
import { createRecorder } from '../k8s/events.ts';
import { keyOf } from '../k8s/object.ts';
import { endpointSlices, nodes, serviceCidrs, services } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { type Iptables, openIptables } from '../linux/iptables-run.ts';
import type { Scheduler } from '../linux/ipvs.ts';
import { type Nft, openNft } from '../linux/nft-run.ts';
import type { Log } from '../log/log.ts';
import { type Cidr, type Ip, parseCidr } from '../net/address.ts';
import { letBridgesPassThrough } from './bridge-traffic.ts';
import { IptablesWriter } from './iptables/writer.ts';
import { IpvsWriter } from './ipvs/writer.ts';
import { NftablesWriter } from './nftables/writer.ts';
import { serviceModel } from './service-model.ts';
import type { ProxyNode } from './service-port.ts';
import { serviceRanges } from './service-ranges.ts';
import { ServiceRoutes } from './service-route.ts';
import { SliceIndex } from './slice-index.ts';
import { ServiceSync } from './sync.ts';
import { trimService, trimSlice } from './trimmed.ts';
import type { ProxyMode, ServiceWriter } from './writer.ts';

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
  /** How rules are written; nftables by default. */
  readonly mode?: ProxyMode;
  /** In the mode ipvs: how one of several endpoints is chosen; rr, each in turn, by default. */
  readonly ipvsScheduler?: Scheduler;
  /** Whether Services may claim addresses by spec.externalIPs; not by default. */
  readonly externalIps?: boolean;
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
  let node: ProxyNode = { name: nodeName, addresses: nodeAddresses, nodePortAddresses: nodeAddresses, podCidrs: [] };
  const recorder = createRecorder(client, 'weft-proxy', nodeName);
  const sync = new ServiceSync(await openWriter(options, node), {
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
  });
  const caches = {
    services: client.cache(services, {}, trimService),
    slices: client.cache(endpointSlices, {}, trimSlice),
    nodes: client.cache(nodes, { fieldSelector: `metadata.name=${nodeName}` }),
  };
  // Waited for by nobody: clusters before Kubernetes 1.33 have no such kind.
  const cidrCache = client.cache(serviceCidrs);
  const routes = options.serviceCidrs?.length ? new ServiceRoutes({ nodeAddresses, log }) : undefined;
  let outer: readonly Ip[] = [];
  const slices = new SliceIndex();

  const update = (key: string): void => {
    const [namespace = '', name = ''] = key.split('/');
    sync.set(key, () => {
      const service = caches.services.get({ namespace, name });
      return service === undefined ? [] : serviceModel(service, slices.of(key), node, { externalIps });
    });
  };
  const ranges = (): Cidr[] => serviceRanges(options.serviceCidrs ?? [], cidrCache.list());
  const setFacts = (): void => sync.setFacts({ serviceCidrs: ranges(), podCidrs: node.podCidrs });
  const setRoutes = (): void => routes?.set({ ranges: ranges(), addresses: outer });
  setFacts();
  setRoutes();
  const ends = [
    () => routes?.stop(),
    cidrCache.subscribe(() => {
      setFacts();
      setRoutes();
    }),
    caches.nodes.subscribe(({ type, object }) => {
      // A Node that is gone for a moment, as when it registers anew, changes nothing about where the packets are.
      const now = type === 'deleted' ? node : withNode(node, object);
      if (isDeepStrictEqual(now, node)) return;
      const moved = now.zone !== node.zone;
      node = now;
      setFacts();
      if (moved) for (const service of caches.services.list()) update(keyOf(service));
    }),
    caches.services.subscribe(({ object }) => update(keyOf(object))),
    caches.slices.subscribe((change) => {
      for (const key of slices.take(change)) update(key);
    }),
  ];
  await Promise.all(Object.values(caches).map((cache) => cache.synced));
  await sync.start();
  log.info({ services: caches.services.list().length, size: sync.size }, 'Services are in the kernel');
  return {
    async stop() {
      for (const end of ends) end();
      for (const cache of [...Object.values(caches), cidrCache]) cache.stop();
      await sync.stop();
    },
  };
}

async function openWriter(options: ProxyOptions, node: ProxyNode): Promise<ServiceWriter> {
  const { mode = 'nftables', clusterCidrs } = options;
  switch (mode) {
    case 'nftables':
      return new NftablesWriter({ nft: options.nft ?? (await openNft()), node, clusterCidrs });
    case 'iptables':
      return new IptablesWriter({
        iptables: options.iptables ?? (await openIptables()),
        node,
        clusterCidrs,
        nodePortAddresses: 'all',
      });
    case 'ipvs': {
      const { ipvsScheduler: scheduler = 'rr', iptables = await openIptables() } = options;
      return new IpvsWriter({ iptables, node, clusterCidrs, scheduler });
    }
  }
}

/** What the Node object says of the node. */
function withNode(node: ProxyNode, { metadata, spec }: Node): ProxyNode {
  const { zone: _, ...rest } = node;
  const zone = metadata.labels?.[zoneLabel];
  const podCidrs = (spec?.podCIDRs ?? []).map((text) => parseCidr(text)).filter((range) => range !== undefined);
  return { ...rest, podCidrs, ...(zone !== undefined && zone !== '' && { zone }) };
}
