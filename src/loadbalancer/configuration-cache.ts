// Follows the objects by which load balancers are configured, and tells of each change once it is known whole.
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Cache, Client } from '../k8s/client.ts';
import {
  bfdProfiles,
  bgpAdvertisements,
  bgpPeers,
  communities,
  ipAddressPools,
  l2Advertisements,
} from '../k8s/load-balancer.ts';
import type { KubeObject } from '../k8s/object.ts';
import { type Configuration, ConfigurationReader } from './configuration.ts';

/** So long BFDProfiles are waited for, in ms: a cluster that has had load balancers for longer may not know the kind. */
const profilePatienceMs = 5000;

export interface ConfigurationCache {
  /** Resolves when every kind has been listed. */
  readonly synced: Promise<unknown>;
  readonly current: Configuration;
  /** Calls the listener after each change; changes that come together are told once. */
  subscribe(listener: () => void): void;
  stop(): void;
}

export function followConfiguration(client: Pick<Client, 'cache'>): ConfigurationCache {
  const pools = client.cache(ipAddressPools);
  const l2 = client.cache(l2Advertisements);
  const bgp = client.cache(bgpAdvertisements);
  const peers = client.cache(bgpPeers);
  const aliases = client.cache(communities);
  const profiles = client.cache(bfdProfiles);
  const all: readonly Pick<Cache<KubeObject>, 'synced' | 'stop'>[] = [pools, l2, bgp, peers, aliases];
  const reader = new ConfigurationReader();
  const listeners: (() => void)[] = [];
  let current: Configuration | undefined;
  let isTold = true;
  const changed = (): void => {
    current = undefined;
    if (!isTold) return;
    isTold = false;
    setImmediate(() => {
      isTold = true;
      for (const listener of listeners) listener();
    });
  };
  const follow = <T extends KubeObject>(cache: Cache<T>): void => {
    cache.subscribe((change) => {
      // The status of a pool is written by the allocator itself.
      if (change.type !== 'updated' || saysOther(change.object, change.old)) changed();
    });
  };
  follow(pools);
  follow(l2);
  follow(bgp);
  follow(peers);
  follow(aliases);
  follow(profiles);
  return {
    synced: Promise.all([
      ...all.map((cache) => cache.synced),
      Promise.race([profiles.synced, delay(profilePatienceMs, undefined, { ref: false })]),
    ]),
    get current() {
      current ??= reader.read({
        pools: pools.list(),
        l2: l2.list(),
        bgp: bgp.list(),
        peers: peers.list(),
        communities: aliases.list(),
        profiles: profiles.list(),
      });
      return current;
    },
    subscribe(listener) {
      listeners.push(listener);
    },
    stop() {
      for (const cache of [...all, profiles]) cache.stop();
    },
  };
}

/** Whether an object says something else than before: its generation counts changes of its spec alone. */
function saysOther({ metadata: now }: KubeObject, { metadata: before }: KubeObject): boolean {
  return now.generation !== before.generation || !isDeepStrictEqual(now.labels, before.labels);
}
