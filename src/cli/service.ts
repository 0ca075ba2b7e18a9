// weft service: a Service from its addresses down to what a node's kernel has of it.
import { setTimeout as delay } from 'node:timers/promises';
import { Command, Option } from 'commander';
import type { NodeLayout } from '../cluster/layout.ts';
import { findNode } from '../cluster/members.ts';
import type { ClusterSettings } from '../cluster/settings.ts';
import { findingsOf } from '../explain/service-findings.ts';
import { serviceInKernel } from '../explain/service-kernel.ts';
import { viewService } from '../explain/service-view.ts';
import { type Client, isNotFound } from '../k8s/client.ts';
import {
  defaultProxyMode,
  networkConfigKey,
  proxyModeAnnotation,
  proxyModes,
  readIpvsScheduler,
} from '../k8s/network-config.ts';
import { configMaps, endpointSlices, events, nodes, pods, services } from '../k8s/resources.ts';
import { netnsPath } from '../linux/netns.ts';
import { parseCidr } from '../net/address.ts';
import { nodePortAddresses, nodePortsOf } from '../proxy/node-port-addresses.ts';
import { presentAddresses } from '../proxy/present-addresses.ts';
import type { ProxyNode } from '../proxy/service-port.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { printJson, UsageError } from './output.ts';
import { printReport, type Report } from './service-report.ts';

const mostLooks = 3;
const lookAgainMs = 300;

interface ServiceOptions {
  readonly name: string;
  readonly namespace: string;
  readonly node?: string;
  readonly output?: 'json';
}

export function serviceCommand(): Command {
  return new Command('service')
    .description('a Service from its addresses down to the kernel of a node, with what each step has seen of packets')
    .argument('<service>', 'the name of the Service')
    .option('-n, --namespace <namespace>', 'the namespace of the Service', 'default')
    .option('--node <node>', 'the node to look at (default: the first one)')
    .addOption(nameOption())
    .addOption(new Option('-o, --output <format>', 'machine-readable').choices(['json']))
    .action(show);
}

async function show(service: string, options: ServiceOptions): Promise<void> {
  if (service === '') throw new UsageError('the name of the Service is empty; see: kubectl get services -A');
  const { settings, layout } = existingCluster(options.name);
  const node = options.node === undefined ? layout.nodes[0] : findNode(layout, options.node);
  if (node === undefined) throw new Error(`the cluster '${layout.name}' has no node`);
  const key = { name: service, namespace: options.namespace };
  const report = await withClient(layout, (client) => settled(() => inspect(client, settings, node, key)));
  if (options.output === 'json') printJson(report);
  else printReport(report);
}

/** What is under way between the objects and the kernel while both are read is given a moment to arrive. */
async function settled(look: () => Promise<Report>): Promise<Report> {
  for (let looks = 1; ; looks++) {
    const report = await look();
    if (looks === mostLooks || report.kernel.every(({ state }) => state === 'as decided')) return report;
    await delay(lookAgainMs);
  }
}

async function inspect(
  client: Client,
  settings: ClusterSettings,
  layout: NodeLayout,
  key: { readonly name: string; readonly namespace: string },
): Promise<Report> {
  const labelSelector = `kubernetes.io/service-name=${key.name}`;
  const [service, slices, nodeObject, all, ofNamespace, warning, config] = await Promise.all([
    client.get(services, key).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      throw new Error(
        `there is no Service ${key.name} in the namespace ${key.namespace}; see: kubectl get services -A`,
      );
    }),
    client.list(endpointSlices, { namespace: key.namespace, labelSelector }),
    client.get(nodes, { name: layout.name }),
    client.list(services),
    client.list(pods, { namespace: key.namespace }),
    latestWarning(client, key),
    client.get(configMaps, networkConfigKey),
  ]);
  const { annotations, labels } = nodeObject.metadata;
  const zone = labels?.['topology.kubernetes.io/zone'];
  const mode = proxyModes.find((one) => one === annotations?.[proxyModeAnnotation]) ?? defaultProxyMode;
  const node: ProxyNode = {
    name: layout.name,
    addresses: layout.addresses,
    nodePortAddresses: nodePortsOf(
      mode,
      nodePortAddresses(settings.nodePortAddresses, layout.addresses, presentAddresses(netnsPath(layout.name))),
    ),
    podCidrs: (nodeObject.spec.podCIDRs ?? []).map(parseCidr).filter((range) => range !== undefined),
    ...(zone !== undefined && { zone }),
  };
  const { externalIps } = settings;
  const { view, models } = viewService({ service, slices: slices.items, node, externalIps, services: all.items, mode });
  const netns = netnsPath(layout.name);
  const chosen = readIpvsScheduler(config);
  const ipvsScheduler = 'problem' in chosen ? settings.ipvsScheduler : chosen.scheduler;
  return {
    service: view,
    node: { name: node.name, mode, ...(zone !== undefined && { zone }) },
    findings: findingsOf({
      ...{ service, view, slices: slices.items, pods: ofNamespace.items, node: node.name, externalIps },
      ...(warning !== undefined && { warning }),
    }),
    kernel: serviceInKernel({ mode, netns, models, node, clusterCidrs: settings.podCidrs, ipvsScheduler }),
  };
}

/** What was last told as a Warning about the Service. */
async function latestWarning(
  client: Client,
  { name, namespace }: { readonly name: string; readonly namespace: string },
): Promise<string | undefined> {
  const fieldSelector = `involvedObject.kind=Service,involvedObject.name=${name},type=Warning`;
  const { items } = await client.list(events, { namespace, fieldSelector });
  const time = (event: (typeof items)[number]): string => event.lastTimestamp ?? event.eventTime ?? '';
  return items.sort((a, b) => (time(a) < time(b) ? 1 : -1))[0]?.message;
}
