// All that users say about load balancers, as one typed value that keeps the last good reading of each object. Pure.
import type {
  BFDProfile,
  BGPAdvertisement,
  BGPPeer,
  Community,
  IPAddressPool,
  L2Advertisement,
} from '../k8s/load-balancer.ts';
import { type KubeObject, keyOf } from '../k8s/object.ts';
import type { Service } from '../k8s/types.generated.ts';
import type { Ip } from '../net/address.ts';
import {
  type Advertisement,
  type Bgp,
  type L2,
  type Reading,
  readBgpAdvertisement,
  readL2Advertisement,
} from './advertisements.ts';
import { type Profile, profilesByName, readProfile } from './bfd.ts';
import { type Peer, readPeer } from './peers.ts';
import { type Pool, poolContains, readPools } from './pools.ts';
import type { Problem } from './reading.ts';

export interface ConfigurationObjects {
  readonly pools: readonly IPAddressPool[];
  readonly l2: readonly L2Advertisement[];
  readonly bgp: readonly BGPAdvertisement[];
  readonly peers: readonly BGPPeer[];
  readonly communities: readonly Community[];
  readonly profiles: readonly BFDProfile[];
}

export interface Configuration {
  readonly pools: readonly Pool[];
  readonly l2: readonly L2[];
  readonly bgp: readonly Bgp[];
  readonly peers: readonly Peer[];
  readonly problems: readonly ObjectProblems[];
}

export interface ObjectProblems {
  readonly object: KubeObject;
  readonly problems: readonly Problem[];
}

/** Reads the configuration again and again: an object that cannot be followed stands as it was when it could be. */
export class ConfigurationReader {
  readonly #pools = new Map<string, Pool>();
  readonly #l2 = new Map<string, L2>();
  readonly #bgp = new Map<string, Bgp>();
  readonly #peers = new Map<string, Peer>();
  readonly #profiles = new Map<string, Profile>();

  read(objects: ConfigurationObjects): Configuration {
    const { pools, problems } = readPools(objects.pools, this.#pools);
    const wrong: ObjectProblems[] = objects.pools.flatMap((object) => {
      const found = problems.get(keyOf(object));
      return found === undefined ? [] : [{ object, problems: found }];
    });
    const each = <O extends KubeObject, T>(
      list: readonly O[],
      good: Map<string, T>,
      read: (object: O) => Reading<T | undefined>,
    ): T[] =>
      list.flatMap((object): T[] => {
        const uid = object.metadata.uid ?? keyOf(object);
        const reading = read(object);
        if (reading.problems.length > 0) wrong.push({ object, problems: reading.problems });
        else if (reading.value !== undefined) good.set(uid, reading.value);
        const last = good.get(uid);
        return last === undefined ? [] : [last];
      });
    const l2 = each(objects.l2, this.#l2, readL2Advertisement);
    const bgp = each(objects.bgp, this.#bgp, (object) => readBgpAdvertisement(object, pools, objects.communities));
    const profiles = profilesByName(each(objects.profiles, this.#profiles, readProfile));
    const peers = each(objects.peers, this.#peers, (object) => readPeer(object, profiles));
    this.#forget(objects);
    return { pools, l2, bgp, peers, problems: wrong };
  }

  #forget(objects: ConfigurationObjects): void {
    const present = new Set(
      [...objects.l2, ...objects.bgp, ...objects.peers, ...objects.profiles].map(
        ({ metadata }) => metadata.uid ?? keyOf({ metadata }),
      ),
    );
    for (const good of [this.#l2, this.#bgp, this.#peers, this.#profiles])
      for (const uid of [...good.keys()]) if (!present.has(uid)) good.delete(uid);
  }
}

/** The advertisements of a list that are about one address of a Service. */
export function covering<T extends Advertisement>(
  list: readonly T[],
  configuration: Configuration,
  service: Service,
  address: Ip,
): T[] {
  const pool = configuration.pools.find((one) => poolContains(one, address));
  if (pool === undefined) return [];
  return list.filter((one) => one.coversPool(pool) && one.coversService(service.metadata.labels));
}
