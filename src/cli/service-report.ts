// How weft service prints what it has found of a Service.
import type { KernelEntry } from '../explain/kernel-entry.ts';
import type { Finding } from '../explain/service-findings.ts';
import type { Entrance, Outcome, ServiceView } from '../explain/service-view.ts';
import type { ProxyMode } from '../k8s/network-config.ts';
import { print, printTable } from './output.ts';

export interface Report {
  readonly service: ServiceView;
  readonly node: { readonly name: string; readonly mode: ProxyMode; readonly zone?: string };
  /** Why it does not answer, or not everybody. */
  readonly findings: readonly Finding[];
  readonly kernel: readonly KernelEntry[];
}

export function printReport({ service, node, findings, kernel }: Report): void {
  const zone = node.zone === undefined ? '' : `, zone ${node.zone}`;
  const type = service.type === 'ClusterIP' && service.clusterIps[0] === 'None' ? 'headless' : service.type;
  print(`Service ${service.name}: ${type}, on the node ${node.name} (${node.mode}${zone})`);
  if (service.externalName !== undefined) {
    print(`Leads to  ${service.externalName}: its DNS name is an alias of that one, and no node has anything of it.`);
    return;
  }
  print(`Policies  ${policiesOf(service).join(' · ')}`);
  if (service.loadBalancer !== undefined) print(`Balancer  ${balancerOf(service.loadBalancer)}`);
  if (findings.length > 0) print('');
  for (const { text } of findings) print(`! ${text}`);
  if (service.entrances.length > 0) {
    print('');
    printTable([
      ['KIND', 'ADDRESS', 'PORT', 'A NEW CONNECTION GOES', 'CONNECTIONS'],
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
    balancer.ingress.length > 0 ? balancer.ingress.join(', ') : 'no address yet',
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
  // Those from outside that are told apart get no further than the rules.
  if (place === 'virtual server') return map === 'services' && key === `${protocol.toLowerCase()} ${address} ${port}`;
  if (!found.includes(`-p ${protocol.toLowerCase()} `) || !found.includes(`--dport ${port} `)) return false;
  if (kind !== 'NodePort')
    return /^(nat|filter) KUBE-(EXTERNAL-)?SERVICES$/.test(place) && found.includes(`-d ${address}/`);
  return (
    place === 'nat KUBE-NODEPORTS' || (place === 'filter KUBE-EXTERNAL-SERVICES' && found.includes('--dst-type LOCAL'))
  );
}

/** How many connections have been seen there. In iptables one rule is for all ways to a port of the node, and to a policy. */
function seenAt(entrance: Entrance, kernel: readonly KernelEntry[], map: string): string {
  const entry = kernel.find((each) => isDispatch(each, entrance, map));
  if (entry?.connections !== undefined) return String(entry.connections);
  if (entry?.packets === undefined) return '';
  const isShared =
    entry.place === 'nat KUBE-NODEPORTS' || (entrance.outsiders !== undefined && !entry.place.startsWith('map'));
  return `${entry.packets}${isShared ? ' in all' : ''}`;
}

function entranceRows(entrance: Entrance, kernel: readonly KernelEntry[]): string[][] {
  const { kind, address, port, protocol, clients, outsiders, sourceRanges, takenBy } = entrance;
  const at = [kind, address, `${port}/${protocol}`];
  if (takenBy !== undefined) return [[...at, `to ${takenBy.service}, which has this address`, '']];
  const row = (whose: string, outcome: Outcome, map: string): string[] => [
    ...at,
    `${outcomeText(outcome)}${whose}`,
    seenAt(entrance, kernel, map),
  ];
  const only = sourceRanges === undefined ? '' : `, only for ${sourceRanges.join(', ') || 'nobody'}`;
  if (outsiders === undefined) return [row(only, clients, 'services')];
  return [
    row(`, from inside of the cluster`, clients, 'services'),
    row(`, from outside${only}`, outsiders, 'outside-services'),
  ];
}

/** An address with more entries than this has a row for each endpoint, and not one for each of its slots. */
const mostSlots = 16;

/** Entries of a map whose keys differ in their last number alone and that lead to the same place become one. */
export function slotsTogether(kernel: readonly KernelEntry[]): KernelEntry[] {
  const beginning = ({ place, key }: KernelEntry): string => `${place} ${key.replace(/ \. \d+$/, '')}`;
  const counts = new Map<string, number>();
  for (const entry of kernel) counts.set(beginning(entry), (counts.get(beginning(entry)) ?? 0) + 1);
  const groups = new Map<string, KernelEntry[]>();
  for (const entry of kernel) {
    const isSlot = (counts.get(beginning(entry)) ?? 0) > mostSlots && entry.state === 'as decided';
    const name = isSlot ? `${beginning(entry)} to ${entry.found}` : `${entry.place} ${entry.key}`;
    groups.set(name, [...(groups.get(name) ?? []), entry]);
  }
  return [...groups.values()].flatMap((entries) => {
    const [first] = entries;
    if (first === undefined || entries.length === 1) return entries;
    const packets = entries.reduce((sum, entry) => sum + (entry.packets ?? 0), 0);
    const key = first.key.replace(/\d+$/, `${entries.length} slots`);
    return [{ ...first, key, ...(first.packets !== undefined && { packets }) }];
  });
}

function printKernel(kernel: readonly KernelEntry[]): void {
  const wrong = kernel.filter(({ state }) => state !== 'as decided');
  const counter = (count: number | undefined): string => (count === undefined ? '' : String(count));
  const hasConnections = kernel.some(({ connections }) => connections !== undefined);
  print('');
  printTable([
    ['IN THE KERNEL', 'KEY', 'VALUE', ...(hasConnections ? ['CONNECTIONS'] : []), 'PACKETS', 'STATE'],
    ...slotsTogether(kernel).map(({ place, key, wanted = '', found, connections, packets, state }) => [
      place,
      key,
      state === 'different' ? `${found ?? ''} (decided: ${wanted || 'nothing'})` : (found ?? wanted),
      ...(hasConnections ? [counter(connections)] : []),
      counter(packets),
      state,
    ]),
  ]);
  print('');
  print(
    wrong.length === 0
      ? `The kernel has all of this (${kernel.length}) as it was decided.`
      : `${wrong.length} of ${kernel.length} entries are not in the kernel as decided: the proxy is behind, or someone else writes there.`,
  );
}
