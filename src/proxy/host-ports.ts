// Decides the frontends of a pod's host ports on this node. Pure.
import type { Pod } from '../k8s/types.generated.ts';
import { type Family, familyOf, type Ip, parseIp, parsePort } from '../net/address.ts';
import type { Frontend, ProxyNode } from './frontend.ts';
import { protocolOf } from './service-model.ts';

/**
 * One frontend for each host port and each address of the node that it is open on (`hostIP`, or all of them). A pod
 * in the node's own network has its ports there already. The client's address stays as it is: the pod is on this node.
 */
export function hostPortFrontends(pod: Pod, node: ProxyNode): Frontend[] {
  if (pod.spec?.hostNetwork === true || pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return [];
  const podIps = (pod.status?.podIPs ?? [{ ip: pod.status?.podIP ?? '' }])
    .map(({ ip }) => parseIp(ip))
    .filter((address): address is Ip => address !== undefined);
  const containers = [
    ...(pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === 'Always'),
    ...(pod.spec?.containers ?? []),
  ];
  const ports = containers.flatMap((container) => container.ports ?? []);
  return podIps.flatMap((podIp) =>
    ports.flatMap((port): Frontend[] => {
      const hostPort = port.hostPort === undefined ? undefined : parsePort(port.hostPort);
      const target = parsePort(port.containerPort);
      const protocol = protocolOf(port.protocol);
      if (hostPort === undefined || target === undefined || protocol === undefined) return [];
      return openOn(port.hostIP, node, familyOf(podIp)).map((address) => ({
        kind: 'HostPort',
        address,
        protocol,
        port: hostPort,
        owner: `${pod.metadata.namespace ?? ''}/${pod.metadata.name ?? ''}:${port.name ?? port.containerPort}`,
        choice: { to: 'backends', backends: [{ ip: podIp, port: target, local: true }] },
        sourceNat: 'nobody',
        draining: [],
      }));
    }),
  );
}

function openOn(hostIp: string | undefined, node: ProxyNode, family: Family): Ip[] {
  const own = node.addresses.filter((address) => familyOf(address) === family);
  const only = parseIp(hostIp ?? '');
  const all = only === undefined || only === '0.0.0.0' || only === '::';
  return all ? own : own.filter((address) => address === only);
}
