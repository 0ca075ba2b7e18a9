// Decides what a Service means on this node: its frontends and, for each, which endpoints answer. Pure.
// The rules are those of kube-proxy (pkg/proxy/topology.go, KEP-1669 for terminating endpoints, KEP-1860 for ipMode).
import type { Endpoint, EndpointSlice, Service, ServicePort } from '../k8s/types.generated.ts';
import {
  asCidr,
  type Cidr,
  cidrContains,
  type Family,
  familyOf,
  type Ip,
  parseCidr,
  parseIp,
  parsePort,
} from '../net/address.ts';
import { type Backend, backendKey, type Choice, type Frontend, type Protocol, type ProxyNode } from './frontend.ts';

/** The endpoints of one Service port in one family, by what they may be used for. */
interface Endpoints {
  readonly ready: readonly Backend[];
  /** Serving though terminating: used when no endpoint is ready. */
  readonly terminating: readonly Backend[];
}

const defaultAffinitySeconds = 10_800;
const noAddress = new Set([undefined, '', 'None']);

/** The frontends of a Service. Without a cluster address (headless, ExternalName) it has none. */
export function serviceFrontends(service: Service, slices: readonly EndpointSlice[], node: ProxyNode): Frontend[] {
  const spec = service.spec;
  if (spec === undefined || spec.type === 'ExternalName' || noAddress.has(spec.clusterIP)) return [];
  const clusterIps = addresses(spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
  return clusterIps.flatMap((clusterIp) =>
    (spec.ports ?? []).flatMap((port) => portFrontends(service, port, clusterIp, slices, node)),
  );
}

/** The cluster addresses of a Service, whose other ports are rejected. */
export function clusterAddresses(service: Service): Ip[] {
  const spec = service.spec;
  if (spec === undefined || spec.type === 'ExternalName' || noAddress.has(spec.clusterIP)) return [];
  return addresses(spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']);
}

function portFrontends(
  service: Service,
  port: ServicePort,
  clusterIp: Ip,
  slices: readonly EndpointSlice[],
  node: ProxyNode,
): Frontend[] {
  const spec = service.spec ?? {};
  const number = parsePort(port.port);
  const protocol = protocolOf(port.protocol);
  if (number === undefined || protocol === undefined) return [];
  const family = familyOf(clusterIp);
  const all = endpointsOf(slices, port, protocol, family, node);
  const cluster = choose(all, () => true, 'reject');
  const local = cluster.to === 'reject' ? cluster : choose(all, (backend) => backend.local, 'drop');
  const common = {
    protocol,
    port: number,
    owner: ownerOf(service, port),
    ...affinityOf(service),
  };
  const frontend = (part: Pick<Frontend, 'kind' | 'address' | 'choice' | 'sourceNat'> & Partial<Frontend>) => ({
    ...common,
    ...part,
    draining: protocol === 'UDP' ? drainingOf(all, part.choice) : [],
  });
  const external =
    spec.externalTrafficPolicy === 'Local'
      ? { choice: cluster, outside: local, sourceNat: 'node' as const }
      : { choice: cluster, sourceNat: 'everybody' as const };
  const nodePort = port.nodePort === undefined ? undefined : parsePort(port.nodePort);
  const sources = sourceRanges(service, family);
  return [
    frontend({
      kind: 'ClusterIP',
      address: clusterIp,
      choice: spec.internalTrafficPolicy === 'Local' ? local : cluster,
      sourceNat: 'outside',
    }),
    ...(nodePort === undefined ? [] : ofFamily(node.addresses, family)).map((address) =>
      frontend({ kind: 'NodePort', address, ...external, port: nodePort ?? number }),
    ),
    ...ofFamily(addresses(spec.externalIPs ?? []), family).map((address) =>
      frontend({ kind: 'ExternalIP', address, ...external }),
    ),
    ...ofFamily(loadBalancerAddresses(service), family).map((address) =>
      frontend({ kind: 'LoadBalancer', address, ...external, ...guardedBy(sources, address, node) }),
    ),
  ];
}

/** Ready endpoints; without any, those that still serve while they terminate; without any, `otherwise`. */
function choose(all: Endpoints, use: (backend: Backend) => boolean, otherwise: 'reject' | 'drop'): Choice {
  const ready = all.ready.filter(use);
  const backends = ready.length > 0 ? ready : all.terminating.filter(use);
  return backends.length > 0 ? { to: 'backends', backends } : { to: otherwise };
}

function drainingOf(all: Endpoints, choice: Choice): Backend[] {
  const chosen = new Set(choice.to === 'backends' ? choice.backends.map(backendKey) : []);
  return [...all.ready, ...all.terminating].filter((backend) => !chosen.has(backendKey(backend)));
}

function endpointsOf(
  slices: readonly EndpointSlice[],
  port: ServicePort,
  protocol: Protocol,
  family: Family,
  node: ProxyNode,
): Endpoints {
  const ready = new Map<string, Backend>();
  const terminating = new Map<string, Backend>();
  for (const slice of slices) {
    if (slice.addressType !== family) continue;
    const target = slice.ports?.find(
      (candidate) => (candidate.name ?? '') === (port.name ?? '') && protocolOf(candidate.protocol) === protocol,
    )?.port;
    const number = target === undefined ? undefined : parsePort(target);
    if (number === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const use = usableAs(endpoint);
      const ip = parseIp(endpoint.addresses[0] ?? '');
      if (use === undefined || ip === undefined || familyOf(ip) !== family) continue;
      const backend = { ip, port: number, local: endpoint.nodeName === node.name };
      (use === 'ready' ? ready : terminating).set(backendKey(backend), backend);
    }
  }
  return { ready: sorted(ready), terminating: sorted(terminating) };
}

/** discovery/v1: an absent `ready` means ready; an absent `serving` means what `ready` says. */
function usableAs({ conditions = {} }: Endpoint): 'ready' | 'terminating' | undefined {
  const ready = conditions.ready ?? true;
  if (ready) return 'ready';
  return (conditions.serving ?? ready) && conditions.terminating === true ? 'terminating' : undefined;
}

// An order of their own makes equal endpoints give equal elements, whatever slice they came in.
const sorted = (backends: ReadonlyMap<string, Backend>): Backend[] =>
  [...backends].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, backend]) => backend);

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

function sourceRanges({ spec }: Service, family: Family): Cidr[] | undefined {
  if (!spec?.loadBalancerSourceRanges?.length) return undefined;
  return spec.loadBalancerSourceRanges
    .map((text) => parseCidr(text.trim()))
    .filter((range): range is Cidr => range !== undefined && familyOf(range) === family);
}

/**
 * A node that is allowed is so under the balancer's address too: where that is an address of the node itself, its own
 * processes come from it.
 */
function guardedBy(sources: readonly Cidr[] | undefined, address: Ip, node: ProxyNode): { sources?: readonly Cidr[] } {
  if (sources === undefined) return {};
  const isAllowed = node.addresses.some((own) => sources.some((range) => cidrContains(range, own)));
  return {
    sources: isAllowed ? [...sources, asCidr(`${address}/${familyOf(address) === 'IPv4' ? 32 : 128}`)] : sources,
  };
}

function ownerOf({ metadata }: Service, { name }: ServicePort): string {
  return `${metadata.namespace ?? ''}/${metadata.name ?? ''}${name === undefined || name === '' ? '' : `:${name}`}`;
}

const addresses = (texts: readonly string[]): Ip[] =>
  texts.map((text) => parseIp(text)).filter((address): address is Ip => address !== undefined);

const ofFamily = (all: readonly Ip[], family: Family): Ip[] => all.filter((address) => familyOf(address) === family);

const protocols: ReadonlySet<string> = new Set<Protocol>(['TCP', 'UDP', 'SCTP']);
const isProtocol = (text: string): text is Protocol => protocols.has(text);

/** The protocol of a port; TCP where none is given. */
const protocolOf = (text: string | undefined): Protocol | undefined => {
  const protocol = text ?? 'TCP';
  return isProtocol(protocol) ? protocol : undefined;
};
