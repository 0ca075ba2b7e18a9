// Decides the Endpoints object of a Service (the older form of EndpointSlices).
import { isPodReady } from '../../k8s/pod.ts';
import type { EndpointAddress, EndpointSubset, Pod, Service } from '../../k8s/types.generated.ts';
import { addressOf, familiesOf, hostnameOf, isEndpoint } from './endpoint.ts';
import { portsOn, type ResolvedPort } from './ports.ts';

/** At most so many addresses are listed (upstream's maxCapacity). */
const mostAddresses = 1000;

/** The subsets: one for each set of ports, addresses in order. Pods that are being deleted are left out. */
export function decideSubsets(service: Service, pods: readonly Pod[]): EndpointSubset[] {
  const family = familiesOf(service)[0] ?? 'IPv4';
  const groups = new Map<string, { ports: ResolvedPort[]; ready: EndpointAddress[]; notReady: EndpointAddress[] }>();
  let count = 0;
  for (const pod of pods) {
    if (!isEndpoint(pod, service)) continue;
    const publishAll = service.spec?.publishNotReadyAddresses === true;
    if (pod.metadata.deletionTimestamp !== undefined && !publishAll) continue;
    const ip = addressOf(pod, family);
    const ports = portsOn(pod, service);
    if (ip === undefined || (ports.length === 0 && (service.spec?.ports ?? []).length > 0)) continue;
    if (++count > mostAddresses) break;
    const key = JSON.stringify(ports);
    const group = groups.get(key) ?? { ports, ready: [], notReady: [] };
    groups.set(key, group);
    (publishAll || isPodReady(pod) ? group.ready : group.notReady).push(endpointAddress(pod, service, ip));
  }
  const byIp = (a: EndpointAddress, b: EndpointAddress): number => (a.ip < b.ip ? -1 : a.ip > b.ip ? 1 : 0);
  return [...groups.entries()]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([, { ports, ready, notReady }]) => ({
      ...(ready.length > 0 && { addresses: ready.sort(byIp) }),
      ...(notReady.length > 0 && { notReadyAddresses: notReady.sort(byIp) }),
      ...(ports.length > 0 && {
        ports: ports.map(({ name, ...port }) => ({ ...(name !== '' && { name }), ...port })),
      }),
    }));
}

function endpointAddress(pod: Pod, service: Service, ip: string): EndpointAddress {
  const hostname = hostnameOf(pod, service);
  const { name = '', namespace = '', uid = '' } = pod.metadata;
  const nodeName = pod.spec?.nodeName;
  return {
    ip,
    ...(hostname !== undefined && { hostname }),
    ...(nodeName !== undefined && { nodeName }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}
