// Makes a pod's sandbox: its namespaces, its network, its name and its resolver.
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import type { Pod } from '../../k8s/types.generated.ts';
import { podResolver } from '../container/dns.ts';
import { podNames } from '../container/hostname.ts';
import { nodeHosts, podHosts } from '../container/hosts.ts';
import { sandboxConfig } from '../container/sandbox.ts';
import type { Request } from '../cri/protocol.ts';
import { podKey, podLogDir, podPaths } from './names.ts';
import type { NodeContext } from './node-context.ts';

/** The sandbox's configuration: CRI wants it again for each container. */
export async function sandboxConfigFor(
  node: NodeContext,
  pod: Pod,
  attempt: number,
): Promise<Request<'PodSandboxConfig'>> {
  return sandboxConfig(pod, attempt, {
    names: podNames(pod, node.cluster.domain),
    resolver: podResolver(pod, node.cluster, await node.nodeResolver()),
    podLogsDir: node.podLogsDir,
    cgroupRoot: node.cgroupRoot,
  });
}

/** Makes and starts the sandbox; resolves with its id. Rejects with the runtime's error, the network plugin's too. */
export async function startSandbox(node: NodeContext, pod: Pod, attempt: number): Promise<string> {
  const key = podKey(pod);
  const [config] = await Promise.all([
    sandboxConfigFor(node, pod, attempt),
    mkdir(podLogDir(node.podLogsDir, key), { recursive: true, mode: 0o755 }),
  ]);
  const { podSandboxId } = await node.cri.call('RunPodSandbox', { config }, { timeoutMs: 4 * 60_000 });
  node.cache.own(podSandboxId, key);
  return podSandboxId;
}

/** Writes the hosts file that all containers of the pod see, and gives its path. */
export async function writeHosts(node: NodeContext, pod: Pod, ips: readonly string[]): Promise<string> {
  const paths = podPaths(node.rootDir, podKey(pod).uid);
  const aliases = pod.spec.hostAliases;
  const { short, fqdn } = podNames(pod, node.cluster.domain);
  const text =
    pod.spec.hostNetwork === true
      ? nodeHosts(await readFile('/etc/hosts', 'utf8').catch(() => ''), aliases)
      : podHosts({ ips, hostname: short, fqdn, aliases });
  await mkdir(paths.pod, { recursive: true, mode: 0o750 });
  await writeFile(paths.etcHosts, text, { mode: 0o644 });
  return paths.etcHosts;
}
