// Decides what a Service means on this node: one model for each of its ports and families. Pure.
// The rules are those of kube-proxy (pkg/proxy/serviceport.go, topology.go), KEP-1860 for ipMode.
import type { Endpoint, EndpointSlice, Service, ServicePort } from '../k8s/types.generated.ts';
import { type Cidr, type Family, familyOf, type Ip, parseCidr, parseIp, parsePort } from '../net/address.ts';
import { choiceOf, type EndpointWeights, weightsOf } from './endpoint-choice.ts';
import {
  backendKey,
  isExternallyAccessible,
  type Protocol,
  type ProxyNode,
  type ServicePortModel,
  type TrafficPolicy,
} from './service-port.ts';
import { categorizeEndpoints, type KnownEndpoint } from './topology.ts';

export interface ModelOptions {
  /** Whether spec.externalIPs are served: whoever may write a Service can claim any address by them (CVE-2020-8554). */
  readonly externalIps: boolean;
}

const defaultAffinitySeconds = 10_800;
const noAddress = new Set([undefined, '', 'None']);

/** The ports of a Service on this node. Without a cluster address (headless, ExternalName) it has none. */
export function serviceModel(
  service: Service,
  slices: readonly EndpointSlice[],
  node: ProxyNode,
  options: ModelOptions,
): ServicePortModel[] {
  const spec = service.spec;
  if (spec === undefined || spec.type === 'ExternalName' || noAddress.has(spec.clusterIP)) return [];
  const clusterIps = addresses(spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
  return clusterIps.flatMap((clusterIp) =>
    (spec.ports ?? []).flatMap((port) => portModel(service, port, clusterIp, slices, node, options) ?? []),
  );
}

function portModel(
  service: Service,
  port: ServicePort,
  clusterIp: Ip,
  slices: readonly EndpointSlice[],
  node: ProxyNode,
  options: ModelOptions,
): ServicePortModel | undefined {
  const spec = service.spec ?? {};
  const number = parsePort(port.port);
  const protocol = protocolOf(port.protocol);
  if (number === undefined || protocol === undefined) return undefined;
  const family = familyOf(clusterIp);
  const nodePort = port.nodePort === undefined ? undefined : parsePort(port.nodePort);
  const ways = {
    ...(nodePort !== undefined && { nodePort }),
    externalIps: options.externalIps ? ofFamily(addresses(spec.externalIPs ?? []), family) : [],
    loadBalancerIps: ofFamily(loadBalancerAddresses(service), family),
  };
  const internalTrafficPolicy: TrafficPolicy = spec.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster';
  const externalTrafficPolicy: TrafficPolicy = spec.externalTrafficPolicy === 'Local' ? 'Local' : 'Cluster';
  // Even under the external policy Local, clients within the cluster reach all endpoints.
  const isExternal = isExternallyAccessible(ways);
  const use = {
    cluster: internalTrafficPolicy === 'Cluster' || isExternal,
    local: internalTrafficPolicy === 'Local' || (externalTrafficPolicy === 'Local' && isExternal),
  };
  const sourceRanges = sourceRangesOf(service, family);
  const { healthCheckNodePort } = spec;
  const healthPort = healthCheckNodePort ? parsePort(healthCheckNodePort) : undefined;
  return {
    name: { namespace: service.metadata.namespace ?? '', name: service.metadata.name ?? '', port: port.name ?? '' },
    family,
    protocol,
    clusterIp,
    port: number,
    ...ways,
    ...(sourceRanges !== undefined && { sourceRanges }),
    ...affinityOf(service),
    ...(healthPort !== undefined && { healthCheckNodePort: healthPort }),
    internalTrafficPolicy,
    externalTrafficPolicy,
    ...categorizeEndpoints(endpointsOf(slices, port, protocol, family, node, weightsOf(service)), use, node),
    choice: choiceOf(service),
  };
}

/** Everybody who answers for the port, once, in the order of kube-proxy. */
function endpointsOf(
  slices: readonly EndpointSlice[],
  port: ServicePort,
  protocol: Protocol,
  family: Family,
  node: ProxyNode,
  weights: EndpointWeights,
): KnownEndpoint[] {
  const found = new Map<string, KnownEndpoint>();
  for (const slice of slices) {
    if (slice.addressType !== family) continue;
    const target = slice.ports?.find(
      (candidate) => (candidate.name ?? '') === (port.name ?? '') && protocolOf(candidate.protocol) === protocol,
    )?.port;
    const number = target === undefined ? undefined : parsePort(target);
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ip = parseIp(endpoint.addresses[0] ?? '');
      const state = stateOf(endpoint);
      if (state === undefined || ip === undefined || familyOf(ip) !== family) continue;
      const local = endpoint.nodeName === node.name;
      const backend = { ip, port: number, local, ...state, weight: weights(endpoint) };
      const key = backendKey(backend);
      // While an endpoint moves from one slice to another it is in both.
      if (found.get(key)?.backend.ready && !backend.ready) continue;
      found.set(key, { backend, ...hintsOf(endpoint) });
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, endpoint]) => endpoint);
}

/** discovery/v1: an absent `ready` means ready; an absent `serving` means what `ready` says. */
function stateOf({ conditions = {} }: Endpoint): { ready: boolean; terminating: boolean } | undefined {
  const ready = conditions.ready ?? true;
  const terminating = conditions.terminating ?? false;
  return ready || ((conditions.serving ?? ready) && terminating) ? { ready, terminating } : undefined;
}

function hintsOf({ hints }: Endpoint): Pick<KnownEndpoint, 'forNodes' | 'forZones'> {
  return {
    forNodes: (hints?.forNodes ?? []).map(({ name }) => name),
    forZones: (hints?.forZones ?? []).map(({ name }) => name),
  };
}

function affinityOf({ spec }: Service): { affinitySeconds?: number } {
  if (spec?.sessionAffinity !== 'ClientIP') return {};
  const seconds = spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? defaultAffinitySeconds;
  const valid = Number.isInteger(seconds) && seconds > 0 && seconds <= 86_400;
  return { affinitySeconds: valid ? seconds : defaultAffinitySeconds };
}

/** The addresses that a load balancer delivers unchanged; those with ipMode Proxy must not be short-circuited. */
function loadBalancerAddresses({ spec, status }: Service): Ip[] {
  if (spec?.type !== 'LoadBalancer') return [];
  return addresses(
    (status?.loadBalancer?.ingress ?? []).filter(({ ipMode }) => ipMode !== 'Proxy').map(({ ip }) => ip ?? ''),
  );
}

/** Ranges of the other family are not for this one: where only those are given, nobody is let in. */
function sourceRangesOf({ spec }: Service, family: Family): Cidr[] | undefined {
  if (!spec?.loadBalancerSourceRanges?.length) return undefined;
  return spec.loadBalancerSourceRanges
    .map((text) => parseCidr(text.trim()))
    .filter((range): range is Cidr => range !== undefined && familyOf(range) === family);
}

const addresses = (texts: readonly string[]): Ip[] => [
  ...new Set(texts.map((text) => parseIp(text)).filter((address): address is Ip => address !== undefined)),
];

const ofFamily = (all: readonly Ip[], family: Family): Ip[] => all.filter((address) => familyOf(address) === family);

const protocols: ReadonlySet<string> = new Set<Protocol>(['TCP', 'UDP', 'SCTP']);
const isProtocol = (text: string): text is Protocol => protocols.has(text);

/** The protocol of a port; TCP where none is given. */
const protocolOf = (text: string | undefined): Protocol | undefined => {
  const protocol = text ?? 'TCP';
  return isProtocol(protocol) ? protocol : undefined;
};
