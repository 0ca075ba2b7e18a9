// Nodes and inputs for the tests of the fabrics' decisions.
import { defaultNetworkConfig, fabricAnnotation, type NetworkConfig } from '../k8s/network-config.ts';
import type { Node } from '../k8s/types.generated.ts';
import { asCidr, asIp } from '../net/address.ts';
import type { FabricInput } from './kinds.ts';
import { readPeers } from './peers.ts';

export interface NodeOptions {
  readonly inPlace?: string;
  readonly vtep?: string;
  readonly wireguard?: string;
  readonly ready?: boolean;
}

export function node(
  name: string,
  podCIDRs: readonly string[],
  addresses: readonly string[],
  { inPlace, vtep, wireguard, ready = true }: NodeOptions = {},
): Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name,
      annotations: {
        ...(inPlace !== undefined && { [fabricAnnotation.inPlace]: inPlace }),
        ...(vtep !== undefined && { [fabricAnnotation.vtep]: vtep }),
        ...(wireguard !== undefined && { [fabricAnnotation.wireguard]: wireguard }),
      },
    },
    spec: { podCIDRs: [...podCIDRs] },
    status: {
      addresses: [
        { type: 'Hostname', address: name },
        ...addresses.map((address) => ({ type: 'InternalIP', address })),
      ],
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False' }],
    },
  };
}

/** The input of node `a` (or of a router), whose own addresses with their subnets these are. */
export function inputOf(
  nodes: readonly Node[],
  config: Partial<NetworkConfig> = {},
  own: readonly string[] = ['172.18.0.2/16', 'fd18::2/64'],
  nodeName: string | undefined = 'a',
  clusterCidrs: readonly string[] = ['10.244.0.0/16', 'fd00::/64'],
): FabricInput {
  const context = {
    ...(nodeName !== undefined && { nodeName }),
    clusterCidrs: clusterCidrs.map(asCidr),
  };
  return {
    context,
    config: { ...defaultNetworkConfig, ...config },
    nodes,
    peers: readPeers(nodes, context),
    underlay: {
      addresses: own.map((text) => ({ address: asIp(text.split('/')[0] ?? ''), subnet: asCidr(text), mtu: 1500 })),
    },
  };
}
