// The proxy mode of a cluster: whether the machine has it, its setting in kube-system/weft-config, what the nodes say.
import type { Client } from '../k8s/client.ts';
import { networkConfigKey, type ProxyMode, proxyModeAnnotation, readProxyMode } from '../k8s/network-config.ts';
import { configMaps, nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { ipvsProblem } from '../linux/ipvs-support.ts';
import { nodesFollow } from './nodes-follow.ts';
import type { ProxySettings } from './proxy-settings.ts';
import { isNodeReady } from './readiness.ts';
import { SettingsError } from './settings-error.ts';

/** Refuses a mode that this machine's kernel cannot have. Throws a SettingsError. */
export async function checkKernelFor({ proxyMode, ipvsScheduler }: ProxySettings): Promise<void> {
  const problem = proxyMode === 'ipvs' ? await ipvsProblem(ipvsScheduler) : undefined;
  if (problem !== undefined) throw new SettingsError(`--proxy-mode ipvs: ${problem}; choose nftables or iptables`);
}

export interface ProxyStatus {
  readonly mode: ProxyMode;
  /** Why the settings cannot be followed, where that is so. */
  readonly problem?: string;
  readonly nodes: readonly NodeProxy[];
}

/** What a node says about its proxy. */
interface NodeProxy {
  readonly node: string;
  readonly ready: boolean;
  /** The mode in force there; absent until one is. */
  readonly inPlace?: string;
}

function nodeProxy(node: Node): NodeProxy {
  const { name = '', annotations } = node.metadata;
  const inPlace = annotations?.[proxyModeAnnotation];
  return { node: name, ready: isNodeReady(node), ...(inPlace !== undefined && { inPlace }) };
}

/** The setting and what every node has in place. `otherwise` is the mode where the setting is not there. */
export async function proxyStatus(client: Client, otherwise: ProxyMode): Promise<ProxyStatus> {
  const [object, list] = await Promise.all([client.get(configMaps, networkConfigKey), client.list(nodes)]);
  const read = readProxyMode(object, otherwise);
  return {
    ...('problem' in read ? { mode: otherwise, problem: read.problem } : { mode: read.mode }),
    nodes: list.items.map(nodeProxy).sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

/** Asks for another mode; the agents follow. */
export async function chooseProxyMode(client: Client, { proxyMode, ipvsScheduler }: ProxySettings): Promise<void> {
  const data = { 'proxy.mode': proxyMode, 'proxy.ipvsScheduler': ipvsScheduler };
  await client.patch(configMaps, networkConfigKey, { type: 'merge', body: { data } });
}

/** Resolves when every Ready node has the mode in place, and nothing of another. Throws after so many ms. */
export async function proxyModeInPlace(client: Client, mode: ProxyMode, patienceMs: number): Promise<void> {
  const behind = (all: readonly Node[]): string[] =>
    all
      .map(nodeProxy)
      .filter(({ ready, inPlace }) => ready && inPlace !== mode)
      .map(({ node }) => node);
  await nodesFollow(client, `the proxy mode ${mode}`, behind, patienceMs);
}
