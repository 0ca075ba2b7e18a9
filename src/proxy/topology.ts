// Decides which endpoints of a Service port answer on this node, by readiness, topology hints and traffic policy. Pure.
// The rules are those of kube-proxy's pkg/proxy/topology.go; KEP-1669 for terminating endpoints, KEP-3015 for node hints.
import type { Backend, ProxyNode, ServicePortModel } from './service-port.ts';

/** An endpoint as the slices tell it. */
export interface KnownEndpoint {
  readonly backend: Backend;
  /** The nodes and zones whose clients it is for; empty where it has no hints. */
  readonly forNodes: readonly string[];
  readonly forZones: readonly string[];
}

type Categories = Pick<
  ServicePortModel,
  'clusterEndpoints' | 'localEndpoints' | 'allEndpoints' | 'servingEndpoints' | 'hasAnyEndpoints'
>;

/** Which of its two lists a Service port makes use of. */
export interface PolicyUse {
  readonly cluster: boolean;
  readonly local: boolean;
}

/** Sorts the endpoints (which are ready or serve while they terminate) into those for each policy. */
export function categorizeEndpoints(
  endpoints: readonly KnownEndpoint[],
  use: PolicyUse,
  node: Pick<ProxyNode, 'name' | 'zone'>,
): Categories {
  const servingEndpoints = backendsOf(endpoints);
  const usable = endpoints.filter(({ backend }) => backend.weight > 0);
  const ready = usable.filter(({ backend }) => backend.ready);
  const all = backendsOf(usable);
  const near = use.cluster ? nearest(ready, node) : [];
  const clusterEndpoints = use.cluster ? withFallback(backendsOf(near), all) : [];
  const localEndpoints = use.local
    ? withFallback(
        backendsOf(ready).filter(({ local }) => local),
        all.filter(({ local }) => local),
      )
    : [];
  const reached = new Set([...clusterEndpoints, ...localEndpoints]);
  return {
    clusterEndpoints,
    localEndpoints,
    allEndpoints: all.filter((backend) => reached.has(backend)),
    servingEndpoints,
    hasAnyEndpoints: all.length > 0,
  };
}

const backendsOf = (endpoints: readonly KnownEndpoint[]): Backend[] => endpoints.map(({ backend }) => backend);

/** The ready ones; without any, those that serve though they terminate. */
const withFallback = (ready: readonly Backend[], serving: readonly Backend[]): readonly Backend[] =>
  ready.length > 0 ? ready : serving.filter(({ terminating }) => terminating);

/**
 * The endpoints whose hints name this node, or else its zone. Hints count only where each ready endpoint has them and
 * one at least is for here: otherwise somebody would be left without any endpoint.
 */
function nearest(
  ready: readonly KnownEndpoint[],
  { name, zone }: Pick<ProxyNode, 'name' | 'zone'>,
): readonly KnownEndpoint[] {
  if (ready.every(({ forNodes }) => forNodes.length > 0)) {
    const here = ready.filter(({ forNodes }) => forNodes.includes(name));
    if (here.length > 0) return here;
  }
  if (zone !== undefined && ready.every(({ forZones }) => forZones.length > 0)) {
    const here = ready.filter(({ forZones }) => forZones.includes(zone));
    if (here.length > 0) return here;
  }
  return ready;
}
