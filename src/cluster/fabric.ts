// The fabric of a running cluster: its settings in the ConfigMap kube-system/weft-config, and what the nodes say of it.
import { type Client, isNotFound } from '../k8s/client.ts';
import {
  type FabricKindName,
  fabricAnnotation,
  type NetworkConfig,
  networkConfigKey,
  readNetworkConfig,
} from '../k8s/network-config.ts';
import { configMaps, nodes } from '../k8s/resources.ts';
import type { ConfigMap, Node } from '../k8s/types.generated.ts';
import type { FabricSettings } from './fabric-settings.ts';
import type { ClusterLayout } from './layout.ts';
import { isNodeReady } from './readiness.ts';

/** What a node says about its way to the others. */
export interface NodeFabric {
  readonly node: string;
  readonly ready: boolean;
  /** The kind that it sends by; absent until it has one. */
  readonly inPlace?: string;
  /** Where it takes in VXLAN. */
  readonly vtep?: string;
}

export interface FabricStatus {
  readonly fabric: FabricKindName;
  readonly crossSubnet: boolean;
  readonly problems: readonly string[];
  readonly nodes: readonly NodeFabric[];
}

/** The ConfigMap's content for these settings. Pure. */
function networkConfigData(
  { fabric, crossSubnet }: Pick<FabricSettings, 'fabric' | 'crossSubnet'>,
  layout: Pick<ClusterLayout, 'segments'>,
): Record<string, string> {
  return {
    fabric,
    'vxlan.crossSubnet': String(crossSubnet),
    'router.addresses': layout.segments.flatMap(({ routers }) => routers).join(','),
  };
}

/** Creates the settings where they are missing; what a user has changed stays. */
export async function ensureNetworkConfig(
  client: Client,
  settings: FabricSettings,
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
export async function chooseFabric(client: Client, fabric: FabricKindName, crossSubnet: boolean): Promise<void> {
  const data = { fabric, 'vxlan.crossSubnet': String(crossSubnet) };
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
    problems: problems.map(({ key, reason }) => `${key}: ${reason}`),
    nodes: list.items.map(nodeFabric).sort((a, b) => (a.node < b.node ? -1 : 1)),
  };
}

function nodeFabric(node: Node): NodeFabric {
  const { name = '', annotations } = node.metadata;
  const inPlace = annotations?.[fabricAnnotation.inPlace];
  const vtep = annotations?.[fabricAnnotation.vtep];
  return {
    node: name,
    ready: isNodeReady(node),
    ...(inPlace !== undefined && { inPlace }),
    ...(vtep !== undefined && { vtep }),
  };
}

/**
 * The Ready nodes that have not changed yet: that send another way, or that do not take in VXLAN where they must, or
 * still do where they need not. Pure.
 */
function nodesBehind(fabric: NetworkConfig['fabric'], list: readonly NodeFabric[]): string[] {
  return list
    .filter(
      ({ ready, inPlace, vtep }) => ready && (inPlace !== fabric || (vtep !== undefined) !== (fabric === 'vxlan')),
    )
    .map(({ node }) => node);
}

/** Resolves when every Ready node has the fabric in place. Throws after so many ms, with the nodes that have not. */
export async function fabricInPlace(client: Client, fabric: FabricKindName, patienceMs: number): Promise<void> {
  const cache = client.cache(nodes);
  let end = (): void => {};
  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const behind = (): string[] => nodesBehind(fabric, cache.list().map(nodeFabric));
      const look = (): void => {
        if (cache.isSynced && behind().length === 0) resolve();
      };
      end = cache.subscribe(look);
      cache.synced.then(look, reject);
      timer = setTimeout(
        () =>
          reject(
            new Error(
              `after ${patienceMs / 1000} s the fabric ${fabric} is not in place on ${behind().join(', ')}: see 'kubectl get events' for their nodes`,
            ),
          ),
        patienceMs,
      );
    });
  } finally {
    clearTimeout(timer);
    end();
    cache.stop();
  }
}
