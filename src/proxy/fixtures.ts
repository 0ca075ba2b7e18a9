// Ports, endpoints and models of Services for the tests of the proxy's decisions.
import { asIp, type Port, parsePort } from '../net/address.ts';
import type { Backend, ServicePortModel } from './service-port.ts';

/** A port's number; throws a RangeError for one that there is not. */
export function port(number: number): Port {
  const parsed = parsePort(number);
  if (parsed === undefined) throw new RangeError(`there is no port ${number}`);
  return parsed;
}

/** An endpoint on another node that is ready. */
export const backend = (ip: string, part: Partial<Backend> = {}): Backend => ({
  ip: asIp(ip),
  port: port(8080),
  local: false,
  ready: true,
  terminating: false,
  weight: 1,
  ...part,
});

/** The port `http` of default/web at 10.96.0.1:80, with these endpoints on other nodes. */
export const modelOf = (endpoints: readonly Backend[], part: Partial<ServicePortModel> = {}): ServicePortModel => ({
  name: { namespace: 'default', name: 'web', port: 'http' },
  family: 'IPv4',
  protocol: 'TCP',
  clusterIp: asIp('10.96.0.1'),
  port: port(80),
  externalIps: [],
  loadBalancerIps: [],
  internalTrafficPolicy: 'Cluster',
  externalTrafficPolicy: 'Cluster',
  clusterEndpoints: endpoints,
  localEndpoints: [],
  allEndpoints: endpoints,
  servingEndpoints: endpoints,
  hasAnyEndpoints: endpoints.length > 0,
  choice: 'random',
  ...part,
});
