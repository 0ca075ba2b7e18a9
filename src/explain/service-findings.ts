// Why a Service does not answer, or not everybody: the reasons that its objects give, one line each. Pure.
import { isPodTerminal } from '../k8s/pod.ts';
import { formatLabelSelector, matchesLabels } from '../k8s/selectors.ts';
import type { EndpointSlice, Pod, Service } from '../k8s/types.generated.ts';
import type { AddressKind } from '../proxy/service-port.ts';
import { whyNotReady } from './pod-state.ts';
import { portFindings } from './service-ports.ts';
import type { ServiceView } from './service-view.ts';

export interface Finding {
  /** One word for programs: `SelectorMatchesNothing`. */
  readonly reason: string;
  /** A line for people. */
  readonly text: string;
}

export interface FindingsInput {
  readonly service: Service;
  readonly view: ServiceView;
  readonly slices: readonly EndpointSlice[];
  /** All pods of the Service's namespace. */
  readonly pods: readonly Pod[];
  readonly node: string;
  /** Whether external IPs are served by the cluster. */
  readonly externalIps: boolean;
  /** What the latest Warning about the Service's load balancer says. */
  readonly warning?: string;
}

const mostNamed = 3;

/** The reasons in the order in which one would look for them: pods, ports, addresses, this node. */
export function findingsOf(input: FindingsInput): Finding[] {
  const { spec } = input.service;
  if (spec.type === 'ExternalName') return [];
  const selector = spec.selector ?? {};
  if (Object.keys(selector).length === 0) return [...withoutSelector(input), ...addressFindings(input)];
  const matching = input.pods.filter(({ metadata }) => matchesLabels(selector, metadata.labels));
  const active = matching.filter((pod) => !isPodTerminal(pod));
  return [
    ...(active.length === 0 ? [noPods(input, selector, matching.length)] : podFindings(input, active)),
    ...portFindings(input.service, active),
    ...addressFindings(input),
  ];
}

function withoutSelector({ slices }: FindingsInput): Finding[] {
  if (slices.some(({ endpoints }) => (endpoints ?? []).length > 0)) return [];
  const text = 'The Service has no selector: its EndpointSlices are yours to write, and they name no endpoint yet.';
  return [{ reason: 'NoSelector', text }];
}

function noPods({ service, pods }: FindingsInput, selector: Readonly<Record<string, string>>, ended: number): Finding {
  const wanted = formatLabelSelector({ matchLabels: selector });
  const where = `in the namespace ${service.metadata.namespace}`;
  if (ended > 0) {
    const text = `All ${ended} pods that the selector ${wanted} matches ${where} have ended.`;
    return { reason: 'PodsEnded', text };
  }
  const alike = Object.keys(selector).flatMap((key) =>
    pods.flatMap(({ metadata }) => (metadata.labels?.[key] === undefined ? [] : [`${key}=${metadata.labels[key]}`])),
  );
  const found = listed([...new Set(alike)].sort());
  const there = pods.length === 0 ? 'there are none' : found === '' ? 'no pod has such a label' : `pods have ${found}`;
  return { reason: 'SelectorMatchesNothing', text: `The selector ${wanted} matches no pod ${where}: ${there}.` };
}

/** Pods that do not answer, each with the reason; how grave it is depends on whether others do. */
function podFindings({ view, service }: FindingsInput, pods: readonly Pod[]): Finding[] {
  if (service.spec.publishNotReadyAddresses === true) return [];
  const unready = pods.flatMap((pod) => {
    const why = whyNotReady(pod);
    return why === undefined ? [] : [`${pod.metadata.name} (${why})`];
  });
  const findings: Finding[] = [];
  if (unready.length === pods.length)
    findings.push({
      reason: 'NoPodReady',
      text: `None of the pods that match is ready: ${listed(unready)}.`,
    });
  else if (unready.length > 0)
    findings.push({
      reason: 'PodsNotReady',
      text: `${unready.length} of ${pods.length} pods get no connections: ${listed(unready)}.`,
    });
  const ready = view.endpoints.filter((endpoint) => endpoint.ready);
  if (ready.length === 0 && view.endpoints.some(({ used }) => used.length > 0))
    findings.push({
      reason: 'OnlyEnding',
      text: 'No endpoint is ready: those that are ending answer as long as they can.',
    });
  if (ready.length > 0 && ready.every(({ why }) => why === 'its weight is 0'))
    findings.push({
      reason: 'NoWeight',
      text: 'The annotation weft.dev/endpoint-weights gives every endpoint the weight 0.',
    });
  return findings;
}

function addressFindings(input: FindingsInput): Finding[] {
  return [
    ...familyFindings(input),
    ...balancerFindings(input),
    ...externalIpFindings(input),
    ...takenFindings(input),
    ...nodeFindings(input),
  ];
}

/** One of the Service's families has endpoints, the other one none. */
function familyFindings({ service: { spec }, slices }: FindingsInput): Finding[] {
  const families = spec.ipFamilies ?? [];
  const answered = families.filter((family) =>
    slices.some(({ addressType, endpoints }) => addressType === family && (endpoints ?? []).length > 0),
  );
  if (answered.length === 0) return [];
  return families
    .filter((family) => !answered.includes(family))
    .map((family) => ({
      reason: 'FamilyWithoutEndpoints',
      text: `Nobody answers at the Service's ${family} address: no endpoint has one of its own.`,
    }));
}

function balancerFindings({ service: { spec }, view, warning }: FindingsInput): Finding[] {
  const { loadBalancer } = view;
  if (loadBalancer === undefined) return [];
  if (loadBalancer.ingress.length === 0) {
    const whose = loadBalancer.class === undefined ? '' : ` of the class ${loadBalancer.class}`;
    const text = warning ?? `No address for this load balancer: no controller${whose} has given it one`;
    return [{ reason: 'NoLoadBalancerAddress', text: `${text.replace(/\.$/, '')}.` }];
  }
  const empty = view.entrances.find(({ kind, sourceRanges }) => kind === 'LoadBalancer' && sourceRanges?.length === 0);
  if (empty === undefined) return [];
  const ranges = (spec.loadBalancerSourceRanges ?? []).join(', ');
  const text = `loadBalancerSourceRanges (${ranges}) has no range of the family of ${empty.address}: nobody is let in there.`;
  return [{ reason: 'NoSourceRange', text }];
}

function externalIpFindings({ service: { spec }, externalIps }: FindingsInput): Finding[] {
  const wanted = spec.externalIPs ?? [];
  if (wanted.length === 0 || externalIps) return [];
  const text = `spec.externalIPs (${wanted.join(', ')}) are not served: the cluster was made without --external-ips.`;
  return [{ reason: 'ExternalIPsOff', text }];
}

const nameOfKind: Readonly<Record<AddressKind, string>> = {
  ClusterIP: 'a cluster address',
  NodePort: 'a node port',
  LoadBalancer: "a load balancer's address",
  ExternalIP: 'an external IP',
};

function takenFindings({ view }: FindingsInput): Finding[] {
  return view.entrances.flatMap(({ address, port, protocol, kind, takenBy }): Finding[] => {
    if (takenBy === undefined) return [];
    const why =
      takenBy.kind === kind
        ? 'of two that claim it alike, the first by namespace/name has it'
        : `it is ${nameOfKind[takenBy.kind]} there, which comes before ${nameOfKind[kind]}`;
    return [
      { reason: 'AddressTaken', text: `${address} port ${port}/${protocol} leads to ${takenBy.service}: ${why}.` },
    ];
  });
}

/** A policy Local has nobody on this node, and others have somebody. */
function nodeFindings({ view, node }: FindingsInput): Finding[] {
  const ready = view.endpoints.filter((endpoint) => endpoint.ready && endpoint.node !== undefined);
  const elsewhere = listed([...new Set(ready.map((endpoint) => endpoint.node ?? ''))].sort());
  if (elsewhere === '') return [];
  const findings: Finding[] = [];
  if (view.entrances.some(({ kind, clients }) => kind === 'ClusterIP' && clients.to === 'drop'))
    findings.push({
      reason: 'NoLocalEndpoint',
      text: `internalTrafficPolicy is Local and ${node} has no endpoint: who asks from this node gets no answer. There are endpoints on ${elsewhere}.`,
    });
  if (view.entrances.some(({ outsiders }) => outsiders?.to === 'drop'))
    findings.push({
      reason: 'NoLocalEndpointForOutside',
      text: `externalTrafficPolicy is Local and ${node} has no endpoint: who comes from outside to this node gets no answer. There are endpoints on ${elsewhere}.`,
    });
  return findings;
}

/** The first of them, and how many more there are. */
function listed(texts: readonly string[]): string {
  const rest = texts.length - mostNamed;
  return `${texts.slice(0, mostNamed).join(', ')}${rest > 0 ? ` and ${rest} more` : ''}`;
}
