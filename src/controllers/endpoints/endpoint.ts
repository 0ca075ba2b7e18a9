// One pod as an endpoint of a Service: its address, its conditions (KEP-1672), its node, zone and hints.
import { isPodReady, isPodTerminal } from '../../k8s/pod.ts';
import { matchesLabels } from '../../k8s/selectors.ts';
import type { Endpoint, EndpointHints, Node, Pod, Service } from '../../k8s/types.generated.ts';
import { type Family, familyOf, parseIp } from '../../net/address.ts';

/** Whether a controller here looks after the Service's endpoints: it has a selector and is not a mere alias. */
export function hasManagedEndpoints(service: Service): boolean {
  const { selector, type } = service.spec ?? {};
  return selector !== undefined && Object.keys(selector).length > 0 && type !== 'ExternalName';
}

/** Whether the pod belongs to the Service's endpoints at all, ready or not: it has an address and has not ended. */
export function isEndpoint(pod: Pod, service: Service): boolean {
  return (
    (pod.status?.podIP ?? '') !== '' &&
    !isPodTerminal(pod) &&
    matchesLabels(service.spec?.selector ?? {}, pod.metadata.labels)
  );
}

/** The families in which the Service has endpoints, the primary first. */
export function familiesOf(service: Service): Family[] {
  const { ipFamilies = [], clusterIP } = service.spec ?? {};
  const named = ipFamilies.filter((family) => family === 'IPv4' || family === 'IPv6');
  if (named.length > 0) return named;
  const address = clusterIP === undefined ? undefined : parseIp(clusterIP);
  return [address === undefined ? 'IPv4' : familyOf(address)];
}

/** The pod's address of a family. */
export function addressOf(pod: Pod, family: Family): string | undefined {
  const { podIPs, podIP } = pod.status ?? {};
  const addresses = podIPs?.map(({ ip }) => ip) ?? [podIP];
  return addresses.find((address) => {
    const ip = address === undefined ? undefined : parseIp(address);
    return ip !== undefined && familyOf(ip) === family;
  });
}

/** The name that DNS gives the endpoint of its own, for pods that ask for one under this Service. */
export function hostnameOf(pod: Pod, service: Service): string | undefined {
  const { hostname, subdomain } = pod.spec ?? {};
  return hostname && subdomain === service.metadata.name ? hostname : undefined;
}

export function endpointOf(pod: Pod, service: Service, address: string, node: Node | undefined): Endpoint {
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  const serving = isPodReady(pod);
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const { name, namespace, uid } = pod.metadata;
  const nodeName = pod.spec?.nodeName;
  const zone = node?.metadata.labels?.['topology.kubernetes.io/zone'];
  const hostname = hostnameOf(pod, service);
  const hints = ready ? hintsOf(service, nodeName, zone) : undefined;
  return {
    addresses: [address],
    conditions: { ready, serving, terminating },
    ...(hostname !== undefined && { hostname }),
    ...(nodeName !== undefined && { nodeName }),
    ...(zone !== undefined && { zone }),
    ...(hints !== undefined && { hints }),
    targetRef: {
      kind: 'Pod',
      ...(namespace !== undefined && { namespace }),
      ...(name !== undefined && { name }),
      ...(uid !== undefined && { uid }),
    },
  };
}

/** For whom the endpoint is near, by the Service's trafficDistribution (KEP-4444, KEP-3015). */
function hintsOf(service: Service, nodeName: string | undefined, zone: string | undefined): EndpointHints | undefined {
  const distribution = service.spec?.trafficDistribution;
  const sameNode = distribution === 'PreferSameNode';
  if (!sameNode && distribution !== 'PreferClose' && distribution !== 'PreferSameZone') return undefined;
  const hints: EndpointHints = {
    ...(zone !== undefined && { forZones: [{ name: zone }] }),
    ...(sameNode && nodeName !== undefined && { forNodes: [{ name: nodeName }] }),
  };
  return Object.keys(hints).length > 0 ? hints : undefined;
}
