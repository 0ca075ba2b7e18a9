// The kinds of fabric, and what each has to offer: the one place where a new kind is added.
import type { Client } from '../k8s/client.ts';
import { type FabricKindName, type NetworkConfig, networkConfigKey } from '../k8s/network-config.ts';
import type { Node } from '../k8s/types.generated.ts';
import type { Log } from '../log/log.ts';
import type { Cidr } from '../net/address.ts';
import type { WireguardKey } from '../net/wireguard-key.ts';
import { decideEncrypted, lingeringEncryption } from './encryption.ts';
import { decideHostGateway } from './host-gateway.ts';
import type { FabricContext, Peers } from './peers.ts';
import { emptyPlan, type FabricLink, type FabricPlan } from './plan.ts';
import { decideRouter } from './router.ts';
import type { Underlay } from './underlay.ts';
import { decideVxlan, lingeringEndpoint } from './vxlan.ts';

/** All that a decision follows from. */
export interface FabricInput {
  readonly context: FabricContext;
  readonly config: NetworkConfig;
  readonly peers: Peers;
  /** The Nodes that `peers` were read from, for what a kind wants to know besides. */
  readonly nodes: readonly Node[];
  readonly underlay: Underlay;
  /** The public key of this node; undefined where it has none, or its kernel has no WireGuard. */
  readonly wireguardKey?: WireguardKey;
}

/** What else runs for a fabric besides what the kernel holds (BIRD for bgp). */
export interface FabricCompanion {
  /**
   * Follows the input. Resolves to true when pods of the other nodes can be reached by it as far as they can be at all:
   * only then what the former fabric left is taken away, and the node announces this kind. On false it is called again
   * with the next change, and every two seconds.
   */
  follow(input: FabricInput): Promise<boolean>;
  /**
   * Ends it. With `remove`, another fabric has taken over, and what it wrote into the kernel goes too; without, the
   * agent ends, and routes (and processes, where they go on alone) stay for the next one.
   */
  stop(options: { readonly remove: boolean }): Promise<void>;
}

/** What a companion is started with. */
export interface CompanionOptions {
  readonly client: Client;
  readonly nodeName: string;
  readonly clusterCidrs: readonly Cidr[];
  /** Where its files of this boot are; each kind has a default of its own. */
  readonly runDir?: string;
  readonly log: Log;
}

export interface FabricKind {
  /** What the kernel of this node has to hold. Pure. */
  decide(input: FabricInput): FabricPlan;
  /** Takes away what an earlier life of the agent left of it; called once where another kind is in place at the start. */
  clear?(options: CompanionOptions): Promise<void>;
  /** Starts what else runs for it; called once when the kind is chosen, before its first plan is written. */
  start?(options: CompanionOptions): Promise<FabricCompanion>;
}

/** The kinds that can be chosen. */
export const kinds: Readonly<Partial<Record<FabricKindName, FabricKind>>> = {
  'host-gw': { decide: decideHostGateway },
  router: { decide: decideRouter },
  vxlan: { decide: decideVxlan },
  // BIRD writes the routes. It and what goes with it are loaded where they are used.
  bgp: {
    decide: ({ peers }) => ({ ...emptyPlan, problems: peers.problems }),
    start: async (options) => (await import('./bgp/start.ts')).startBgp(options),
    clear: async (options) => (await import('./bgp/start.ts')).clearBgp(options),
  },
};

/** The plan of the chosen kind, with what of the former one must stay until the other nodes have changed too. Pure. */
export function decideFabric(input: FabricInput): FabricPlan {
  const { fabric } = input.config;
  const kind = kinds[fabric];
  if (kind === undefined) {
    const owner = `ConfigMap ${networkConfigKey.namespace}/${networkConfigKey.name}`;
    const reason = `the fabric ${fabric} is not offered by this version`;
    return { ...emptyPlan, problems: [{ owner, reason }], waitsFor: 'another choice' };
  }
  const plan = input.config.encrypted ? decideEncrypted(input) : kind.decide(input);
  const has = (device: FabricLink['kind']): boolean => plan.links.some((link) => link.kind === device);
  const tunnels = has('vxlan') ? undefined : lingeringEndpoint(input);
  const encryption = has('wireguard') ? undefined : lingeringEncryption(input);
  return {
    ...plan,
    links: [...plan.links, ...(tunnels?.links ?? []), ...(encryption?.links ?? [])],
    addresses: [...plan.addresses, ...(tunnels?.addresses ?? []), ...(encryption?.addresses ?? [])],
    sysctls: [...plan.sysctls, ...(tunnels?.sysctls ?? []), ...(encryption?.sysctls ?? [])],
    wireguardPeers: [...plan.wireguardPeers, ...(encryption?.wireguardPeers ?? [])],
  };
}
