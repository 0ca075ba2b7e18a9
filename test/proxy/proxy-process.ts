// Runs the proxy in the namespace that it is started in, for tests. Standard input: one JSON line for each change of
// an object, `{"type": "put" | "delete", "object": …}`, or `{"type": "go"}` when the first objects are complete.
// Standard output: one line for each commit to the kernel.
import { createInterface } from 'node:readline';
import type { Cache, Change, Client } from '../../src/k8s/client.ts';
import { type KubeObject, keyOf, type ObjectKey, type Stored } from '../../src/k8s/object.ts';
import { openNft } from '../../src/linux/nft-run.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr, asIp } from '../../src/net/address.ts';
import { startProxy } from '../../src/proxy/start.ts';

class MemoryCache {
  readonly objects = new Map<string, Stored<KubeObject>>();
  readonly listeners = new Set<(change: Change<KubeObject>) => void>();

  change(type: string, object: Stored<KubeObject>): void {
    const key = keyOf(object);
    const old = this.objects.get(key);
    let change: Change<KubeObject> = old === undefined ? { type: 'added', object } : { type: 'updated', object, old };
    if (type === 'delete') change = { type: 'deleted', object };
    if (type === 'delete') this.objects.delete(key);
    else this.objects.set(key, object);
    for (const listener of this.listeners) listener(change);
  }
}

const caches = new Map<string, MemoryCache>();
const cacheOf = (kind: string): MemoryCache => {
  const cache = caches.get(kind) ?? new MemoryCache();
  caches.set(kind, cache);
  return cache;
};
const first = Promise.withResolvers<void>();

const cache = <T extends KubeObject>({ kind }: { kind: string }): Cache<T> => {
  const memory = cacheOf(kind);
  // Only objects of the asked kind are put into its cache.
  const own = (object: Stored<KubeObject> | undefined) => object as Stored<T> | undefined;
  return {
    synced: first.promise,
    isSynced: true,
    get: (key: ObjectKey) => own(memory.objects.get(keyOf(key))),
    list: () => [...memory.objects.values()] as unknown as Stored<T>[],
    subscribe(listener) {
      const adapted = (change: Change<KubeObject>): void => listener(change as unknown as Change<T>);
      memory.listeners.add(adapted);
      for (const object of memory.objects.values()) adapted({ type: 'added', object });
      return () => memory.listeners.delete(adapted);
    },
    stop() {},
  };
};

const [nodeName = 'node', addresses = '172.18.0.2,fd18::2', cidrs = '10.244.0.0/16,fd44::/16'] = process.argv.slice(2);
const nft = await openNft();
const starting = startProxy({
  client: { cache } as unknown as Client,
  nodeName,
  nodeAddresses: addresses.split(',').map(asIp),
  clusterCidrs: cidrs.split(',').map(asCidr),
  log: createLog('proxy'),
  nft: {
    ...nft,
    async commit(table, change) {
      const start = performance.now();
      await nft.commit(table, change);
      console.log(`commit ${table.family} ${change.added.length} ${(performance.now() - start).toFixed(2)}`);
    },
  },
});
for await (const line of createInterface({ input: process.stdin })) {
  const { type, object } = JSON.parse(line) as { type: string; object: Stored<KubeObject> };
  if (type !== 'go') {
    cacheOf(object.kind).change(type, object);
    continue;
  }
  first.resolve();
  await starting;
  console.log('started');
}
await (await starting).stop();
