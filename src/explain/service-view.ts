// What a Service is on a node, decided by the same functions as the rules of the proxy: where it is reached, who answers,
// and why somebody does not. Pure.
import type { ProxyMode } from '../k8s/network-config.ts';
import type { Endpoint, EndpointSlice, Service } from '../k8s/types.generated.ts';
import { asCidr, cidrContains, parseIp } from '../net/address.ts';
import { endpointsFor } from '../proxy/ipvs/items.ts';
import { serviceModel } from '../proxy/service-model.ts';
import {
  type AddressKind,
  type Backend,
  backendKey,
  type ProxyNode,
  type ServicePortModel,
  serviceAddresses,
  serviceAddressKey,
  servicePortName,
} from '../proxy/service-port.ts';
import { type Contest, contestOf } from './contested-addresses.ts';

/** What becomes of a new connection. */
export interface Outcome {
  readonly to: 'endpoints' | 'reject' | 'drop';
  /** `10.244.1.2:8080`; one of them answers. */
  readonly endpoints: readonly string[];
}

/** One address of the Service, with what its clients get on this node. */
export interface Entrance {
  readonly kind: AddressKind;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  /** `namespace/name:port`. */
  readonly servicePort: string;
  readonly clients: Outcome;
  /** What clients from outside of the cluster get, where that differs (externalTrafficPolicy: Local). */
  readonly outsiders?: Outcome;
  readonly sourceRanges?: readonly string[];
  /** The other Service that has this address and port, and as what: then it leads there. */
  readonly takenBy?: { readonly service: string; readonly kind: AddressKind };
}

export interface EndpointView {
  readonly address: string;
  readonly pod?: string;
  readonly node?: string;
  readonly zone?: string;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
  /** By which traffic policies new connections on this node may reach it. */
  readonly used: readonly ('Cluster' | 'Local')[];
  /** Why it is used, or is not. */
  readonly why: string;
}

export interface ServiceView {
  readonly name: string;
  readonly type: string;
  readonly clusterIps: readonly string[];
  readonly externalName?: string;
  readonly internalTrafficPolicy: string;
  readonly externalTrafficPolicy?: string;
  readonly sessionAffinity: string;
  readonly trafficDistribution?: string;
  readonly loadBalancer?: {
    readonly ingress: readonly string[];
    readonly class?: string;
    readonly healthCheckNodePort?: number;
  };
  readonly entrances: readonly Entrance[];
  readonly endpoints: readonly EndpointView[];
}

const loopback = asCidr('127.0.0.0/8');
/** In the order in which Kubernetes stacks them: a load balancer has a node port, which has a cluster address. */
const order: readonly AddressKind[] = ['LoadBalancer', 'ExternalIP', 'NodePort', 'ClusterIP'];

export interface ViewInput {
  readonly service: Service;
  readonly slices: readonly EndpointSlice[];
  readonly node: ProxyNode;
  readonly externalIps: boolean;
  /** All Services of the cluster: several may claim one address. */
  readonly services: readonly Service[];
  /** The one in force on the node. */
  readonly mode: ProxyMode;
}

/** The Service on the node, and its models, from which the kernel's part is decided too. */
export function viewService({ service, slices, node, externalIps, services, mode }: ViewInput): {
  readonly view: ServiceView;
  readonly models: readonly ServicePortModel[];
} {
  const { spec, metadata, status } = service;
  const name = `${metadata.namespace}/${metadata.name}`;
  const models = serviceModel(service, slices, node, { externalIps });
  const contest = contestOf(name, models, services, node, { externalIps });
  const isBalanced = spec.type === 'LoadBalancer';
  const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip ?? hostname ?? '');
  const view: ServiceView = {
    name,
    type: spec.type ?? 'ClusterIP',
    clusterIps: spec.clusterIPs ?? [],
    ...(spec.externalName !== undefined && { externalName: spec.externalName }),
    internalTrafficPolicy: spec.internalTrafficPolicy ?? 'Cluster',
    ...(spec.externalTrafficPolicy !== undefined && { externalTrafficPolicy: spec.externalTrafficPolicy }),
    sessionAffinity: affinityText(service),
    ...(spec.trafficDistribution !== undefined && { trafficDistribution: spec.trafficDistribution }),
    ...(isBalanced && {
      loadBalancer: {
        ingress,
        ...(spec.loadBalancerClass !== undefined && { class: spec.loadBalancerClass }),
        ...(spec.healthCheckNodePort !== undefined && { healthCheckNodePort: spec.healthCheckNodePort }),
      },
    }),
    entrances: models
      .flatMap((model) => entrancesOf(model, node, contest, mode))
      .sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind)),
    endpoints: slices.flatMap((slice) => endpointsOf(slice, models, node)),
  };
  return { view, models: contest.granted };
}

function affinityText({ spec }: Service): string {
  if (spec.sessionAffinity !== 'ClientIP') return 'None';
  return `ClientIP for ${spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? 10_800} s`;
}

function entrancesOf(model: ServicePortModel, node: ProxyNode, { lost }: Contest, mode: ProxyMode): Entrance[] {
  const outcome = (endpoints: readonly Backend[]): Outcome => ({
    to: endpoints.length > 0 ? 'endpoints' : model.hasAnyEndpoints ? 'drop' : 'reject',
    endpoints: endpoints.map(backendKey),
  });
  const [cluster, local] = [outcome(model.clusterEndpoints), outcome(model.localEndpoints)];
  return serviceAddresses(model, node).map((at): Entrance => {
    const { kind, address, port, protocol } = at;
    const holder = lost.get(serviceAddressKey(at));
    const takenBy = holder && { service: holder.owner, kind: holder.kind };
    const common = {
      ...{ kind, address, port, protocol, servicePort: servicePortName(model.name) },
      ...(takenBy !== undefined && { takenBy }),
    };
    if (kind === 'ClusterIP') return { ...common, clients: model.internalTrafficPolicy === 'Local' ? local : cluster };
    // A virtual server cannot tell its clients apart. And nobody outside of the node reaches its 127.0.0.1.
    const isForAll = (mode === 'ipvs' && local.endpoints.length > 0) || cidrContains(loopback, address);
    return {
      ...common,
      clients: mode === 'ipvs' ? outcome(endpointsFor(model, kind)) : cluster,
      ...(model.externalTrafficPolicy === 'Local' && !isForAll && { outsiders: local }),
      ...(kind === 'LoadBalancer' && model.sourceRanges !== undefined && { sourceRanges: model.sourceRanges }),
    };
  });
}

function endpointsOf(slice: EndpointSlice, models: readonly ServicePortModel[], node: ProxyNode): EndpointView[] {
  const ports = (slice.ports ?? []).map(({ port }) => port).filter((port) => port !== undefined);
  return (slice.endpoints ?? []).map((endpoint): EndpointView => {
    const address = endpoint.addresses[0] ?? '';
    const { ready = true } = endpoint.conditions ?? {};
    const { serving = ready, terminating = false } = endpoint.conditions ?? {};
    const isIn = (list: readonly Backend[]): boolean => list.some(({ ip }) => ip === parseIp(address));
    const used = [
      ...(models.some((model) => isIn(model.clusterEndpoints)) ? ['Cluster' as const] : []),
      ...(models.some((model) => isIn(model.localEndpoints)) ? ['Local' as const] : []),
    ];
    const state = { ready, serving, terminating };
    return {
      address: `${address.includes(':') ? `[${address}]` : address}${ports.length > 0 ? `:${ports.join(',')}` : ''}`,
      ...(endpoint.targetRef?.kind === 'Pod' && { pod: endpoint.targetRef.name ?? '' }),
      ...(endpoint.nodeName !== undefined && { node: endpoint.nodeName }),
      ...(endpoint.zone !== undefined && { zone: endpoint.zone }),
      ...state,
      used,
      why: reasonFor(endpoint, state, used, models, node),
    };
  });
}

type State = Pick<EndpointView, 'ready' | 'serving' | 'terminating'>;

/** The rule of categorizeEndpoints that decided about the endpoint, in words. */
function reasonFor(
  endpoint: Endpoint,
  { ready, serving, terminating }: State,
  used: EndpointView['used'],
  models: readonly ServicePortModel[],
  node: ProxyNode,
): string {
  if (models.length === 0) return 'the Service has no cluster address: its DNS name leads here';
  const isLocal = endpoint.nodeName === node.name;
  if (used.length > 0) {
    if (!ready) return 'terminating, but no endpoint is ready';
    const near = [...(endpoint.hints?.forNodes ?? []), ...(endpoint.hints?.forZones ?? [])].map(({ name }) => name);
    if (near.includes(node.name)) return 'ready, and for this node';
    return near.length > 0 && node.zone !== undefined && near.includes(node.zone)
      ? `ready, and for the zone ${node.zone}`
      : 'ready';
  }
  if (!ready) {
    if (serving && terminating) return 'terminating, and others are ready';
    return terminating ? 'terminating, and no longer serving' : 'not ready';
  }
  const known = models.some((model) =>
    model.servingEndpoints.some(({ ip }) => ip === parseIp(endpoint.addresses[0] ?? '')),
  );
  if (!known) return 'it has none of the ports of the Service in a family that the Service has';
  const uses = new Set(models.flatMap((model) => [model.internalTrafficPolicy, model.externalTrafficPolicy]));
  if (!isLocal && !models.some((model) => model.clusterEndpoints.length > 0) && uses.has('Local'))
    return `it runs on another node, and the traffic policy is Local`;
  const weightless = models.every((model) =>
    model.servingEndpoints.every(({ ip, weight }) => ip !== parseIp(endpoint.addresses[0] ?? '') || weight === 0),
  );
  if (weightless) return 'its weight is 0';
  const [zones, nodes] = [endpoint.hints?.forZones, endpoint.hints?.forNodes].map((all) =>
    (all ?? []).map(({ name }) => name).join(', '),
  );
  if (nodes || zones)
    return `it is for ${nodes ? `the node ${nodes}` : `the zone ${zones}`}, and this node has nearer ones`;
  return 'another Service port claims its place';
}
