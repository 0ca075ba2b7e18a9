// Loads Services into iptables in the network namespace that it runs in, changes one, adds one, takes all away, and tells
// in ms what each step took, as JSON. For bench/iptables.ts.
// Usage: iptables-load.ts BACKEND SERVICES ENDPOINTS   or, to print what one restore of all of it would be and touch
// nothing: iptables-load.ts text SERVICES ENDPOINTS
import { restoreText } from '../src/linux/iptables.ts';
import { type Iptables, iptablesOf } from '../src/linux/iptables-run.ts';
import { asIp } from '../src/net/address.ts';
import { IptablesWriter } from '../src/proxy/iptables/writer.ts';
import { serviceModel } from '../src/proxy/service-model.ts';
import type { ProxyNode } from '../src/proxy/service-port.ts';
import { benchNode, benchService, benchSlices } from './proxy-objects.ts';

const [backend, ...counts] = process.argv.slice(2);
const [services = 0, endpoints = 0] = counts.map(Number);
const addresses = benchNode.addresses.map(asIp);
const node: ProxyNode = { name: benchNode.name, addresses, nodePortAddresses: addresses, podCidrs: [] };

/** An empty kernel that prints what it is given. */
const printing: Iptables = {
  backend: 'legacy',
  save: async () => new Map(),
  list: async () => [],
  restore: async (_, changes) => void process.stdout.write(restoreText(changes)),
};
const iptables = backend === 'text' ? printing : iptablesOf(backend === 'legacy' ? 'legacy' : 'nft');
const { clusterCidrs } = benchNode;
const writer = new IptablesWriter({ iptables, node, clusterCidrs, nodePortAddresses: 'all' });

function set(index: number, generation: number): void {
  const slices = benchSlices(index, endpoints, generation);
  writer.set(`bench/service-${index}`, serviceModel(benchService(index), slices, node, { externalIps: false }));
}

async function timed(work: () => void | Promise<void>): Promise<number> {
  const begin = performance.now();
  await work();
  await writer.apply();
  return performance.now() - begin;
}

const median = (all: readonly number[]): number => all.toSorted((a, b) => a - b)[all.length >> 1] ?? Number.NaN;

const load = await timed(() => {
  for (let index = 0; index < services; index++) set(index, 0);
});
if (backend !== 'text') {
  const change: number[] = [];
  const more: number[] = [];
  for (let round = 1; round <= 7; round++) {
    change.push(await timed(() => set(Math.floor((services / 9) * round), round)));
    more.push(await timed(() => set(services + round, 0)));
  }
  const begin = performance.now();
  await writer.cleanUp();
  const removal = performance.now() - begin;
  console.log(JSON.stringify({ load, change: median(change), more: median(more), removal }));
}
