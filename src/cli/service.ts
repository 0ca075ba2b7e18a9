// weft service: a Service from its addresses down to what a node's kernel has of it.
import { Command, Option } from 'commander';
import type { NodeLayout } from '../cluster/layout.ts';
import { findNode } from '../cluster/members.ts';
import type { ClusterSettings } from '../cluster/settings.ts';
import { type KernelEntry, serviceInKernel } from '../explain/service-kernel.ts';
import { type Entrance, type Outcome, type ServiceView, viewService } from '../explain/service-view.ts';
import { type Client, isNotFound } from '../k8s/client.ts';
import { defaultProxyMode, type ProxyMode, proxyModeAnnotation, proxyModes } from '../k8s/network-config.ts';
import { endpointSlices, nodes, services } from '../k8s/resources.ts';
import { listAddresses } from '../linux/addresses.ts';
import { Netlink } from '../linux/netlink.ts';
import { netnsPath } from '../linux/netns.ts';
import { type Ip, parseCidr } from '../net/address.ts';
import { nodePortAddresses } from '../proxy/node-port-addresses.ts';
import type { ProxyNode } from '../proxy/service-port.ts';
import { existingCluster, nameOption, withClient } from './options.ts';
import { print, printJson, printTable, UsageError } from './output.ts';

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
  const report = await withClient(layout, (client) => inspect(client, settings, node, key));
  if (options.output === 'json') printJson(report);
  else printReport(report);
}

interface Report {
  readonly service: ServiceView;
  readonly node: { readonly name: string; readonly mode: ProxyMode; readonly zone?: string };
  readonly kernel: readonly KernelEntry[];
}

async function inspect(
  client: Client,
  settings: ClusterSettings,
  layout: NodeLayout,
  key: { readonly name: string; readonly namespace: string },
): Promise<Report> {
  const labelSelector = `kubernetes.io/service-name=${key.name}`;
  const [service, slices, nodeObject] = await Promise.all([
    client.get(services, key).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
      throw new Error(
        `there is no Service ${key.name} in the namespace ${key.namespace}; see: kubectl get services -A`,
      );
    }),
    client.list(endpointSlices, { namespace: key.namespace, labelSelector }),
    client.get(nodes, { name: layout.name }),
  ]);
  const { annotations, labels } = nodeObject.metadata;
  const zone = labels?.['topology.kubernetes.io/zone'];
  const mode = proxyModes.find((one) => one === annotations?.[proxyModeAnnotation]) ?? defaultProxyMode;
  const node: ProxyNode = {
    name: layout.name,
    addresses: layout.addresses,
    nodePortAddresses: nodePortAddresses(settings.nodePortAddresses, layout.addresses, presentAddresses(layout)),
    podCidrs: (nodeObject.spec.podCIDRs ?? []).map(parseCidr).filter((range) => range !== undefined),
    ...(zone !== undefined && { zone }),
  };
  const { view, models } = viewService({ service, slices: slices.items, node, externalIps: settings.externalIps });
  const netns = netnsPath(layout.name);
  const kernel = serviceInKernel({ mode, netns, models, node, clusterCidrs: settings.podCidrs });
  return { service: view, node: { name: node.name, mode, ...(zone !== undefined && { zone }) }, kernel };
}

function presentAddresses({ name }: NodeLayout): Ip[] {
  using nl = Netlink.open(netnsPath(name));
  return listAddresses(nl).map(({ address }) => address);
}

function printReport({ service, node, kernel }: Report): void {
  const zone = node.zone === undefined ? '' : `, zone ${node.zone}`;
  print(`Service ${service.name}: ${service.type}, on the node ${node.name} (${node.mode}${zone})`);
  print(`Policies  ${policiesOf(service).join(' · ')}`);
  if (service.loadBalancer !== undefined) print(`Balancer  ${balancerOf(service.loadBalancer)}`);
  if (service.externalName !== undefined) print(`Leads to  ${service.externalName} (its DNS name is an alias)`);
  if (service.entrances.length > 0) {
    print('');
    printTable([
      ['ADDRESS', '', 'PORT', 'A NEW CONNECTION GOES', 'CONNECTIONS'],
      ...service.entrances.flatMap((entrance) => entranceRows(entrance, kernel)),
    ]);
  }
  print('');
  if (service.endpoints.length === 0) print('No endpoints.');
  else
    printTable([
      ['ENDPOINT', 'POD', 'NODE', 'ZONE', 'READY', 'SERVING', 'TERMINATING', 'USED', 'WHY'],
      ...service.endpoints.map(({ address, pod, node: on, zone: its, ready, serving, terminating, used, why }) => [
        ...[address, pod ?? '-', on ?? '-', its ?? '-'],
        ...[ready, serving, terminating].map((yes) => (yes ? 'yes' : 'no')),
        used.join(',') || 'no',
        why,
      ]),
    ]);
  if (kernel.length > 0) printKernel(kernel);
}

function policiesOf(service: ServiceView): string[] {
  return [
    `internal ${service.internalTrafficPolicy}`,
    ...(service.externalTrafficPolicy === undefined ? [] : [`external ${service.externalTrafficPolicy}`]),
    `affinity ${service.sessionAffinity}`,
    ...(service.trafficDistribution === undefined ? [] : [`distribution ${service.trafficDistribution}`]),
  ];
}

function balancerOf(balancer: NonNullable<ServiceView['loadBalancer']>): string {
  return [
    balancer.ingress.length > 0 ? balancer.ingress.join(', ') : 'no address yet (kubectl describe says why)',
    ...(balancer.class === undefined ? [] : [`class ${balancer.class}`]),
    ...(balancer.healthCheckNodePort === undefined ? [] : [`health check on port ${balancer.healthCheckNodePort}`]),
  ].join(' · ');
}

function outcomeText({ to, endpoints }: Outcome): string {
  if (to !== 'endpoints') return to === 'drop' ? 'nowhere: dropped' : 'nowhere: refused';
  const [only] = endpoints;
  return endpoints.length === 1 ? `to ${only}` : `to one of ${endpoints.length} endpoints`;
}

/** Whether the entry is the one at which connections to that address are told apart from others. */
function isDispatch({ place, key, found = '' }: KernelEntry, { kind, address, port, protocol }: Entrance, map: string) {
  if (place === `map ${map}`) return key === `${address} . ${protocol.toLowerCase()} . ${port}`;
  if (!found.includes(`-p ${protocol.toLowerCase()} `) || !found.includes(`--dport ${port} `)) return false;
  if (kind === 'NodePort') return place === 'nat KUBE-NODEPORTS';
  return place === 'nat KUBE-SERVICES' && found.includes(`-d ${address}/`);
}

function entranceRows(entrance: Entrance, kernel: readonly KernelEntry[]): string[][] {
  const { kind, address, port, protocol, clients, outsiders, sourceRanges } = entrance;
  const row = (whose: string, outcome: Outcome, map: string): string[] => {
    const packets = kernel.find((entry) => isDispatch(entry, entrance, map))?.packets;
    return [
      ...[kind, address, `${port}/${protocol}`, `${outcomeText(outcome)}${whose}`],
      packets === undefined ? '' : String(packets),
    ];
  };
  const only = sourceRanges === undefined ? '' : `, only for ${sourceRanges.join(', ')}`;
  if (outsiders === undefined) return [row(only, clients, 'services')];
  return [
    row(`, from inside of the cluster`, clients, 'services'),
    row(`, from outside${only}`, outsiders, 'outside-services'),
  ];
}

function printKernel(kernel: readonly KernelEntry[]): void {
  const wrong = kernel.filter(({ state }) => state !== 'as decided');
  print('');
  printTable([
    ['IN THE KERNEL', 'KEY', 'VALUE', 'PACKETS', 'STATE'],
    ...kernel.map(({ place, key, wanted = '', found, packets, state }) => [
      place,
      key,
      state === 'different' ? `${found ?? ''} (decided: ${wanted})` : (found ?? wanted),
      packets === undefined ? '' : String(packets),
      state,
    ]),
  ]);
  print('');
  print(
    wrong.length === 0
      ? `The kernel has all ${kernel.length} entries as they were decided.`
      : `${wrong.length} of ${kernel.length} entries are not in the kernel as decided: the proxy is behind, or someone else writes there.`,
  );
}
