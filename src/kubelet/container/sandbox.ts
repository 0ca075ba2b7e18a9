// The sandbox of a pod as CRI takes it. Pure. Rules: kubernetes pkg/kubelet/kuberuntime/kuberuntime_sandbox.go.
import type { Pod } from '../../k8s/types.generated.ts';
import type { Message, Request } from '../cri/protocol.ts';
import { label, podKey, podLogDir } from '../pod/names.ts';
import type { Resolver } from './dns.ts';
import type { PodNames } from './hostname.ts';
import { sandboxSecurity, sysctls } from './security.ts';

export function sandboxConfig(
  pod: Pod,
  attempt: number,
  node: {
    readonly names: PodNames;
    readonly resolver: Resolver;
    readonly podLogsDir: string;
    readonly cgroupRoot: string;
  },
): Request<'PodSandboxConfig'> {
  const key = podKey(pod);
  return {
    metadata: { ...key, attempt },
    // In the node's network the name is the node's; the runtime leaves it alone.
    hostname: pod.spec.hostNetwork === true ? '' : node.names.hostname,
    logDirectory: podLogDir(node.podLogsDir, key),
    dnsConfig: node.resolver,
    portMappings: portMappings(pod),
    labels: {
      ...pod.metadata.labels,
      [label.podName]: key.name,
      [label.podNamespace]: key.namespace,
      [label.podUid]: key.uid,
    },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: podCgroup(node.cgroupRoot, key.uid),
      securityContext: sandboxSecurity(pod),
      sysctls: sysctls(pod),
    },
  };
}

export const podCgroup = (cgroupRoot: string, uid: string): string => `${cgroupRoot.replace(/\/$/, '')}/pod${uid}`;

function portMappings(pod: Pod): Request<'PortMapping'>[] {
  if (pod.spec.hostNetwork === true) return [];
  const sidecars = (pod.spec.initContainers ?? []).filter(({ restartPolicy }) => restartPolicy === 'Always');
  return [...sidecars, ...pod.spec.containers].flatMap(({ ports = [] }) =>
    ports
      .filter(({ hostPort }) => hostPort !== undefined && hostPort > 0)
      .map(({ containerPort, hostPort, hostIP, protocol }) => ({
        protocol: protocolOf(protocol),
        containerPort,
        hostPort,
        hostIp: hostIP ?? '',
      })),
  );
}

function protocolOf(protocol = 'TCP'): NonNullable<Message<'PortMapping'>['protocol']> {
  return protocol === 'UDP' || protocol === 'SCTP' ? protocol : 'TCP';
}
