// L2Advertisements and BGPAdvertisements as users write them, read into typed data; what is wrong with them. Pure.
import type { AdvertisementSpec, BGPAdvertisement, Community, L2Advertisement } from '../k8s/load-balancer.ts';
import { type KubeObject, keyOf } from '../k8s/object.ts';
import { type Community as BgpCommunity, communityAliases, parseCommunity } from './communities.ts';
import type { Pool } from './pools.ts';
import { type Problem, readSelectors, type Selector } from './reading.ts';

/** What is announced, and by which nodes. */
export interface Advertisement {
  readonly key: string;
  readonly namespace: string;
  /** Whether it is about the addresses of a pool. */
  readonly coversPool: (pool: Pool) => boolean;
  readonly coversNode: Selector;
  readonly coversService: Selector;
}

export interface L2 extends Advertisement {
  /** The links on which it is announced; undefined: those of the node's own addresses. */
  readonly interfaces: readonly string[] | undefined;
  /** How much a node is preferred, by its labels: the sum of the weights of what matches. */
  readonly preference: (labels: Readonly<Record<string, string>> | undefined) => number;
}

export interface Bgp extends Advertisement {
  readonly aggregationLength: number;
  readonly aggregationLengthV6: number;
  readonly localPref: number | undefined;
  readonly communities: readonly BgpCommunity[];
  /** Names of BGPPeers; undefined: all. */
  readonly peers: readonly string[] | undefined;
}

export interface Reading<T> {
  readonly value: T;
  readonly problems: readonly Problem[];
}

const everything: Selector = () => true;

function readCommon(object: KubeObject, spec: AdvertisementSpec, problems: Problem[]): Advertisement {
  const { namespace = '', name = '' } = object.metadata;
  const pools = spec.ipAddressPools ?? [];
  const byLabels = readSelectors(spec.ipAddressPoolSelectors, 'spec.ipAddressPoolSelectors', problems);
  const all = pools.length === 0 && byLabels === undefined;
  return {
    key: keyOf({ namespace, name }),
    namespace,
    // Names are those of one namespace, as in MetalLB, which looks at its own alone.
    coversPool: (pool) =>
      pool.namespace === namespace && (all || pools.includes(pool.name) || byLabels?.(pool.labels) === true),
    coversNode: readSelectors(spec.nodeSelectors, 'spec.nodeSelectors', problems) ?? everything,
    coversService: readSelectors(spec.serviceSelectors, 'spec.serviceSelectors', problems) ?? everything,
  };
}

export function readL2Advertisement(object: L2Advertisement): Reading<L2> {
  const problems: Problem[] = [];
  const spec = object.spec ?? {};
  const common = readCommon(object, spec, problems);
  const interfaces = spec.interfaces ?? [];
  for (const [index, name] of interfaces.entries())
    if (!/^[^\s/:]{1,15}$/.test(name))
      problems.push({ field: `spec.interfaces[${index}]`, reason: `'${name}' is no name of a link` });
  const where = 'spec.preferredNodeSelectors';
  const preferences = (spec.preferredNodeSelectors ?? []).map(({ weight, preference }, index) => {
    if (!Number.isInteger(weight) || weight < 1 || weight > 100)
      problems.push({ field: `${where}[${index}].weight`, reason: `${weight} must be from 1 to 100` });
    return { weight, matches: readSelectors([preference], `${where}[${index}].preference`, problems) ?? everything };
  });
  return {
    value: {
      ...common,
      interfaces: interfaces.length > 0 ? interfaces : undefined,
      preference: (labels) => preferences.reduce((sum, { weight, matches }) => sum + (matches(labels) ? weight : 0), 0),
    },
    problems,
  };
}

export function readBgpAdvertisement(
  object: BGPAdvertisement,
  pools: readonly Pool[],
  aliases: readonly Community[],
): Reading<Bgp> {
  const problems: Problem[] = [];
  const spec = object.spec ?? {};
  const common = readCommon(object, spec, problems);
  const { aggregationLength = 32, aggregationLengthV6 = 128, localPref, peers = [] } = spec;
  const lengths = [
    ['aggregationLength', aggregationLength, 32, 'IPv4'],
    ['aggregationLengthV6', aggregationLengthV6, 128, 'IPv6'],
  ] as const;
  for (const [field, length, most, family] of lengths) {
    if (!Number.isInteger(length) || length < 1 || length > most)
      problems.push({ field: `spec.${field}`, reason: `${length} must be from 1 to ${most}` });
    else
      for (const pool of pools.filter(common.coversPool))
        for (const span of pool.spans.filter((one) => one.family === family))
          if (!isWholeBlocks(span, BigInt(most - length)))
            problems.push({
              field: `spec.${field}`,
              reason: `/${length} reaches beyond the addresses of the pool ${pool.key}`,
            });
  }
  if (localPref !== undefined && !(Number.isInteger(localPref) && localPref >= 0 && localPref < 2 ** 32))
    problems.push({ field: 'spec.localPref', reason: `${localPref} must be from 0 to 4294967295` });
  const known = communityAliases(aliases, common.namespace);
  const communities = (spec.communities ?? []).flatMap((text, index): BgpCommunity[] => {
    const community = parseCommunity(known.get(text) ?? text);
    if (community !== undefined) return [community];
    const reason = `'${text}' is neither a community such as 65000:1 or large:65000:1:2 nor the alias of a Community`;
    problems.push({ field: `spec.communities[${index}]`, reason });
    return [];
  });
  return {
    value: {
      ...common,
      aggregationLength,
      aggregationLengthV6,
      localPref,
      communities,
      peers: peers.length > 0 ? peers : undefined,
    },
    problems,
  };
}

/** Whether a span begins and ends where blocks of so many host bits do. */
function isWholeBlocks({ first, last }: { first: bigint; last: bigint }, hostBits: bigint): boolean {
  const block = 1n << hostBits;
  return first % block === 0n && (last + 1n) % block === 0n;
}
