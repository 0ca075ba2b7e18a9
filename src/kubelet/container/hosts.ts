// The /etc/hosts that the kubelet gives to containers. Pure. Rules: kubernetes pkg/kubelet/kubelet_pods.go.
import type { HostAlias } from '../../k8s/types.generated.ts';

/** The file of a pod with its own network: its addresses with its names, then the aliases of its spec. */
export function podHosts(input: {
  readonly ips: readonly string[];
  readonly hostname: string;
  /** The full name, where the pod has a subdomain. */
  readonly fqdn?: string | undefined;
  readonly aliases?: readonly HostAlias[] | undefined;
}): string {
  const names = input.fqdn === undefined ? input.hostname : `${input.fqdn}\t${input.hostname}`;
  return [
    '# Kubernetes-managed hosts file.',
    '127.0.0.1\tlocalhost',
    '::1\tlocalhost ip6-localhost ip6-loopback',
    'fe00::0\tip6-localnet',
    'fe00::0\tip6-mcastprefix',
    'fe00::1\tip6-allnodes',
    'fe00::2\tip6-allrouters',
    ...input.ips.map((ip) => `${ip}\t${names}`),
    ...aliasLines(input.aliases),
    '',
  ].join('\n');
}

/** The file of a pod in the node's network: the node's own file, then the aliases of its spec. */
export function nodeHosts(file: string, aliases?: readonly HostAlias[]): string {
  const own = file === '' || file.endsWith('\n') ? file : `${file}\n`;
  const more = aliasLines(aliases);
  return `# Kubernetes-managed hosts file (host network).\n${own}${more.length > 0 ? `${more.join('\n')}\n` : ''}`;
}

function aliasLines(aliases: readonly HostAlias[] = []): string[] {
  if (aliases.length === 0) return [];
  return [
    '',
    '# Entries added by HostAliases.',
    ...aliases.map(({ ip, hostnames }) => [ip, ...(hostnames ?? [])].join('\t')),
  ];
}
