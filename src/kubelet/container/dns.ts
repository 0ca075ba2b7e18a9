// The resolver settings of a pod, by its dnsPolicy and dnsConfig. Pure. Rules: kubernetes pkg/kubelet/network/dns.
import type { Pod, PodDNSConfig } from '../../k8s/types.generated.ts';

export interface Resolver {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface ClusterResolver {
  /** Addresses of the cluster's DNS Service. */
  readonly servers: readonly string[];
  readonly domain: string;
}

const maxServers = 3;
const maxSearches = 32;
const maxSearchChars = 2048;

/** The settings for a pod; `node` is what the node's own /etc/resolv.conf says. */
export function podResolver(pod: Pod, cluster: ClusterResolver, node: Resolver): Resolver {
  const merged = merge(byPolicy(pod, cluster, node), pod.spec.dnsConfig);
  return {
    servers: merged.servers.slice(0, maxServers),
    searches: limitSearches(merged.searches),
    options: merged.options,
  };
}

function byPolicy(pod: Pod, cluster: ClusterResolver, node: Resolver): Resolver {
  const policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'None') return { servers: [], searches: [], options: [] };
  const ofNode = policy === 'Default' || (policy === 'ClusterFirst' && pod.spec.hostNetwork === true);
  if (ofNode || cluster.servers.length === 0) return node;
  const { domain } = cluster;
  return {
    servers: cluster.servers,
    searches: [...new Set([`${pod.metadata.namespace}.svc.${domain}`, `svc.${domain}`, domain, ...node.searches])],
    options: ['ndots:5'],
  };
}

function merge(base: Resolver, config: PodDNSConfig | undefined): Resolver {
  if (config === undefined) return base;
  const options = new Map(base.options.map((option) => [option.split(':')[0] ?? option, option]));
  for (const { name, value } of config.options ?? [])
    if (name !== undefined) options.set(name, value === undefined ? name : `${name}:${value}`);
  return {
    servers: [...new Set([...base.servers, ...(config.nameservers ?? [])])],
    searches: [...new Set([...base.searches, ...(config.searches ?? [])])],
    options: [...options.values()],
  };
}

function limitSearches(searches: readonly string[]): readonly string[] {
  const kept: string[] = [];
  let chars = 0;
  for (const search of searches.slice(0, maxSearches)) {
    chars += search.length + (kept.length > 0 ? 1 : 0);
    if (chars > maxSearchChars) break;
    kept.push(search);
  }
  return kept;
}

/** Reads a resolv.conf; lines that it does not know are passed over. */
export function parseResolvConf(text: string): Resolver {
  const servers: string[] = [];
  let searches: readonly string[] = [];
  let options: readonly string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line.trim().split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) servers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain') searches = values.filter((value) => value !== '.');
    else if (keyword === 'options') options = values;
  }
  return { servers, searches, options };
}
