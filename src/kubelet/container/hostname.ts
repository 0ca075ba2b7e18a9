// The names of a pod in its network. Pure. Rules: kubernetes pkg/kubelet/kubelet_pods.go (GeneratePodHostNameAndDomain).
import type { Pod } from '../../k8s/types.generated.ts';

const maxHostname = 63;

export interface PodNames {
  /** What `hostname` says in the pod. */
  readonly hostname: string;
  /** The short name, for /etc/hosts. */
  readonly short: string;
  /** The full name in the cluster's domain, where the pod has a subdomain. */
  readonly fqdn?: string | undefined;
}

/** A pod's hostname (at most 63 characters), and its full name where it has a subdomain. Throws where it is too long. */
export function podNames(pod: Pod, clusterDomain: string): PodNames {
  const { hostname, subdomain, setHostnameAsFQDN, hostnameOverride } = pod.spec;
  if (hostnameOverride !== undefined && hostnameOverride !== '')
    return { hostname: hostnameOverride, short: hostnameOverride };
  const chosen = hostname === undefined || hostname === '' ? (pod.metadata.name ?? '') : hostname;
  const short = chosen.slice(0, maxHostname).replace(/[-.]+$/, '');
  if (subdomain === undefined || subdomain === '') return { hostname: short, short };
  const fqdn = `${short}.${subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`;
  if (setHostnameAsFQDN !== true) return { hostname: short, short, fqdn };
  if (fqdn.length > 64)
    throw new RangeError(
      `failed to construct FQDN from pod hostname and cluster domain, FQDN ${fqdn} is too long (64 characters is the max, ${fqdn.length} characters requested)`,
    );
  return { hostname: fqdn, short, fqdn };
}
