// Loads Services into the kernel of the network namespace that it runs in, and tells how long each step takes, as JSON.
// Usage: proxy-load.ts SERVICES ENDPOINTS FILE   (FILE gets the same elements as text for nft(8))
import { writeFileSync } from 'node:fs';
import { type Change, renderChange, type TableName } from '../src/linux/nft.ts';
import { openNft } from '../src/linux/nft-run.ts';
import { asIp } from '../src/net/address.ts';
import { NftablesWriter } from '../src/proxy/nftables/writer.ts';
import { serviceModel } from '../src/proxy/service-model.ts';
import type { ProxyNode } from '../src/proxy/service-port.ts';
import { benchNode, benchService, benchSlices } from './proxy-objects.ts';

const [services = 0, endpoints = 0] = process.argv.slice(2, 4).map(Number);
const file = process.argv[4] ?? '';
const addresses = benchNode.addresses.map(asIp);
const node: ProxyNode = { name: benchNode.name, addresses, nodePortAddresses: addresses, podCidrs: [] };

let first: { readonly table: TableName; readonly change: Change } | undefined;
const nft = await openNft();
const writer = new NftablesWriter({
  nft: {
    ...nft,
    commit(table, change) {
      first ??= { table, change };
      return nft.commit(table, change);
    },
  },
  node,
  clusterCidrs: benchNode.clusterCidrs,
});
writer.setFacts({ serviceCidrs: benchNode.serviceCidrs, podCidrs: [] });

const objects = Array.from({ length: services }, (_, index) => ({
  service: benchService(index),
  slices: benchSlices(index, endpoints),
}));
const set = (index: number, generation: number): void => {
  const slices = benchSlices(index, endpoints, generation);
  const models = serviceModel(benchService(index), slices, node, { externalIps: false });
  writer.set(`bench/service-${index}`, models);
};

const begin = performance.now();
for (const [index, { service, slices: own }] of objects.entries())
  writer.set(`bench/service-${index}`, serviceModel(service, own, node, { externalIps: false }));
const decided = performance.now();
await writer.apply();
const loaded = performance.now();
if (first !== undefined) writeFileSync(file, renderChange(first.table, first.change));

const changes: number[] = [];
for (let round = 1; round <= 21; round++) {
  const start = performance.now();
  set(Math.floor((services / 23) * round), round);
  await writer.apply();
  changes.push(performance.now() - start);
}
changes.sort((a, b) => a - b);
const more: number[] = [];
for (let round = 0; round < 11; round++) {
  const start = performance.now();
  set(services + round, 0);
  await writer.apply();
  more.push(performance.now() - start);
}
more.sort((a, b) => a - b);
console.log(
  JSON.stringify({
    decide: decided - begin,
    write: loaded - decided,
    load: loaded - begin,
    change: changes[10],
    more: more[5],
    elements: writer.size,
    memory: process.memoryUsage().rss,
  }),
);
