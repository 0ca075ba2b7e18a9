// The fabric of a running cluster: its settings in the ConfigMap kube-system/weft-config, and what the nodes say of it.
import { type Client, isNotFound } from '../k8s/client.ts';
import {
  type FabricKindName,
  fabricAnnotation,
  inPlaceName,
  networkConfigKey,
  readNetworkConfig,
} from '../k8s/network-config.ts';
import { configMaps, nodes } from '../k8s/resources.ts';
import type { ConfigMap, Node } from '../k8s/types.generated.ts';
import type { FabricSettings } from './fabric-settings.ts';
import type { ClusterLayout } from './layout.ts';
import { nodesFollow } from './nodes-follow.ts';
import type { ProxySettings } from './proxy-settings.ts';
import { isNodeReady } from './readiness.ts';
import type { ClusterSettings } from './settings.ts';

/** What a node says about its way to the others. */
export interface NodeFabric {
  readonly node: string;
  readonly ready: boolean;
  /** The kind that it sends by; absent until it has one. */
  readonly inPlace?: string;
  /** Where it takes in VXLAN. */
  readonly vtep?: string;
  /** The public key with which it takes in encrypted packets. */
  readonly wireguardKey?: string;
}

export interface FabricStatus {
  readonly fabric: FabricKindName;
  readonly crossSubnet: boolean;
  readonly encrypted: boolean;
  readonly problems: readonly string[];
  readonly nodes: readonly NodeFabric[];
}

/** What `weft fabric set` chooses. */
export type FabricChoice = Pick<FabricSettings, 'fabric' | 'crossSubnet' | 'encrypt'>;

/** The ConfigMap's content for these settings. Pure. */
function networkConfigData(
  { fabric, crossSubnet, encrypt, proxyMode, ipvsScheduler }: FabricChoice & ProxySettings,
  layout: Pick<ClusterLayout, 'segments'>,
): Record<string, string> {
  return {
    fabric,
    encryption: encrypt ? 'wireguard' : 'none',
    'vxlan.crossSubnet': String(crossSubnet),
    'proxy.mode': proxyMode,
    'proxy.ipvsScheduler': ipvsScheduler,
    'router.addresses': layout.segments.flatMap(({ routers }) => routers).join(','),
  };
}

/** Creates the settings where they are missing; what a user has changed stays. */
export async function ensureNetworkConfig(
  client: Client,
  settings: ClusterSettings,
  layout: ClusterLayout,
): Promise<void> {
  try {
    await client.get(configMaps, networkConfigKey);
  } catch (error) {
    if (!isNotFound(error)) throw error;
    const data = networkConfigData(settings, layout);
    await client.create(configMaps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: networkConfigKey, data });
  }
}

/** Asks for another fabric; the agents follow. */
export async function chooseFabric(client: Client, { fabric, crossSubnet, encrypt }: FabricChoice): Promise<void> {
  const encryption = encrypt ? 'wireguard' : 'none';
  const data = { fabric, encryption, 'vxlan.crossSubnet': String(crossSubnet) };
  await client.patch(configMaps, networkConfigKey, { type: 'merge', body: { data } });
}

/** The settings and what every node has in place. */
export async function fabricStatus(client: Client): Promise<FabricStatus> {
  const [object, list] = await Promise.all([client.get(configMaps, networkConfigKey), client.list(nodes)]);
  const { config, problems } = readNetworkConfig(object as ConfigMap);
  if (config === undefined) throw new Error(problems.map(({ key, reason }) => `${key}: ${reason}`).join('; '));
  return {
    fabric: config.fabric,
    crossSubnet: config.vxlan.crossSubnet,
    encrypted: config.encrypted,
    problems: problems.map(({ key, reason }) => `${key}: ${reason}`),
    nodes: list.items.map(nodeFabric).sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

function nodeFabric(node: Node): NodeFabric {
  const { name = '', annotations } = node.metadata;
  const inPlace = annotations?.[fabricAnnotation.inPlace];
  const vtep = annotations?.[fabricAnnotation.vtep];
  const wireguardKey = annotations?.[fabricAnnotation.wireguard];
  return {
    node: name,
    ready: isNodeReady(node),
    ...(inPlace !== undefined && { inPlace }),
    ...(vtep !== undefined && { vtep }),
    ...(wireguardKey !== undefined && { wireguardKey }),
  };
}

/**
 * The Ready nodes that have not changed yet: that send another way, or that do not take in VXLAN or encrypted packets
 * where they must, or still do where they need not. Pure.
 */
function nodesBehind({ fabric, encrypt }: FabricChoice, list: readonly NodeFabric[]): string[] {
  const isBehind = ({ ready, inPlace, vtep, wireguardKey }: NodeFabric): boolean =>
    ready &&
    (inPlace !== inPlaceName(fabric, encrypt) ||
      (vtep !== undefined) !== (fabric === 'vxlan' && !encrypt) ||
      (wireguardKey !== undefined) !== encrypt);
  return list.filter(isBehind).map(({ node }) => node);
}

/** Resolves when every Ready node has the fabric in place. Throws after so many ms, with the nodes that have not. */
export async function fabricInPlace(client: Client, choice: FabricChoice, patienceMs: number): Promise<void> {
  const what = `the fabric ${inPlaceName(choice.fabric, choice.encrypt)}`;
  await nodesFollow(client, what, (all) => nodesBehind(choice, all.map(nodeFabric)), patienceMs);
}
