// Defaults of Services, Endpoints, EndpointSlices, IngressClasses and NetworkPolicies
// (upstream pkg/apis/{core,discovery,networking}/v1/defaults.go).
import type { Fields } from '../node.ts';
import { child, part, parts, preset, presetZero } from './set.ts';

/** Addresses, families and node ports are the API server's to allocate, not defaults. */
export function defaultService(service: Fields): void {
  const spec = child(service, 'spec');
  presetZero(spec, 'sessionAffinity', 'None');
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  if (spec.sessionAffinity === 'ClientIP') {
    preset(child(child(spec, 'sessionAffinityConfig'), 'clientIP'), 'timeoutSeconds', 10800);
  }
  presetZero(spec, 'type', 'ClusterIP');
  for (const port of parts(spec, 'ports')) {
    presetZero(port, 'protocol', 'TCP');
    presetZero(port, 'targetPort', port.port);
  }
  const type = spec.type;
  const external = type === 'NodePort' || type === 'LoadBalancer';
  const externalIps = Array.isArray(spec.externalIPs) && spec.externalIPs.length > 0;
  if (external || (type === 'ClusterIP' && externalIps)) presetZero(spec, 'externalTrafficPolicy', 'Cluster');
  if (external || type === 'ClusterIP') preset(spec, 'internalTrafficPolicy', 'Cluster');
  if (type === 'LoadBalancer') preset(spec, 'allocateLoadBalancerNodePorts', true);
  child(child(service, 'status'), 'loadBalancer');
}

export function defaultEndpoints(endpoints: Fields): void {
  for (const subset of parts(endpoints, 'subsets')) {
    for (const port of parts(subset, 'ports')) presetZero(port, 'protocol', 'TCP');
  }
}

export function defaultEndpointSlice(slice: Fields): void {
  for (const port of parts(slice, 'ports')) {
    preset(port, 'name', '');
    preset(port, 'protocol', 'TCP');
  }
}

export function defaultIngress(ingress: Fields): void {
  child(child(ingress, 'status'), 'loadBalancer');
}

export function defaultIngressClass(ingressClass: Fields): void {
  const parameters = part(part(ingressClass, 'spec') ?? {}, 'parameters');
  if (parameters) preset(parameters, 'scope', 'Cluster');
}

export function defaultNetworkPolicy(policy: Fields): void {
  const spec = child(policy, 'spec');
  child(spec, 'podSelector');
  for (const rule of [...parts(spec, 'ingress'), ...parts(spec, 'egress')]) {
    for (const port of parts(rule, 'ports')) preset(port, 'protocol', 'TCP');
  }
  const types = spec.policyTypes;
  if (!Array.isArray(types) || types.length === 0) {
    spec.policyTypes = parts(spec, 'egress').length > 0 ? ['Ingress', 'Egress'] : ['Ingress'];
  }
}
