import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { netnsPath } from '../../src/linux/netns.ts';
import { type Change, renderChange, type TableName } from '../../src/linux/nft.ts';
import { type Nft, openNft } from '../../src/linux/nft-run.ts';
import { asCidr, asIp, type Family } from '../../src/net/address.ts';
import { backend, modelOf, port } from '../../src/proxy/fixtures.ts';
import { NftablesWriter } from '../../src/proxy/nftables/writer.ts';
import type { ServicePortModel } from '../../src/proxy/service-port.ts';
import { listing, nft as runNft } from '../linux/nft-listing.ts';

const [byText, byNetlink] = [`wt-program-text-${process.pid}`, `wt-program-netlink-${process.pid}`];
const clusterCidrs = ['10.244.0.0/16', 'fd44::/48'].map(asCidr);
const addresses = ['172.18.0.2', '127.0.0.1', 'fd18::2'].map(asIp);
const families: readonly Family[] = ['IPv4', 'IPv6'];
const tableOf = (family: Family): TableName => ({ family: family === 'IPv4' ? 'ip' : 'ip6', name: 'weft-proxy' });

let direct: Nft;
before(async () => {
  for (const netns of [byText, byNetlink]) execFileSync('ip', ['netns', 'add', netns]);
  direct = await openNft(netnsPath(byNetlink));
});
after(() => {
  for (const netns of [byText, byNetlink]) execFileSync('ip', ['netns', 'delete', netns]);
});

/** Everything that a Service can have; another thing with each number. */
function models(index: number): ServicePortModel[] {
  return families.flatMap((family) => {
    const [service, pods, outer] =
      family === 'IPv4' ? ['10.96.', '10.244.', '198.18.'] : ['fd96::', 'fd44::', '2001:db8::'];
    const at = (prefix: string, number: number): string =>
      `${prefix}${family === 'IPv4' ? `${number >> 8}.${number & 255}` : number.toString(16)}`;
    const endpoints = Array.from({ length: index % 5 }, (_, one) =>
      backend(at(pods, 600 + index * 5 + one), { local: one === 0, weight: index % 7 === 0 ? one + 1 : 1 }),
    );
    const external = index % 4 === 0;
    return (['TCP', 'UDP', 'SCTP'] as const).map((protocol) =>
      modelOf(endpoints, {
        name: { namespace: 'default', name: `web-${index}`, port: protocol.toLowerCase() },
        family,
        protocol,
        clusterIp: asIp(at(service, 256 + index)),
        localEndpoints: endpoints.slice(0, 1),
        externalTrafficPolicy: index % 8 === 0 ? 'Local' : 'Cluster',
        ...(external && { nodePort: port(30_000 + index), loadBalancerIps: [asIp(at(outer, index + 1))] }),
        ...(external && index % 3 === 0 && { sourceRanges: [asCidr(family === 'IPv4' ? '10.0.0.0/8' : 'fd00::/8')] }),
        ...(index % 6 === 0 && { affinitySeconds: 60 + index }),
        ...(index === 1 && { choice: 'client-address' as const }),
      }),
    );
  });
}

test('the tables of the proxy are those that nft makes of the same changes, at the start and after it', async () => {
  let written = 0;
  const nft: Nft = {
    ...direct,
    async commit(table, change: Change) {
      await direct.commit(table, change);
      runNft(byText, renderChange(table, change));
      written++;
    },
  };
  const node = { addresses, nodePortAddresses: addresses };
  const writer = new NftablesWriter({ nft, node, clusterCidrs });
  const serviceCidrs = ['10.96.0.0/12', 'fd96::/112'].map(asCidr);
  writer.setFacts({ serviceCidrs, podCidrs: ['10.244.0.0/24', 'fd44::/64'].map(asCidr) });
  const same = async (): Promise<void> => {
    await writer.apply();
    for (const family of families)
      assert.deepEqual(listing(byNetlink, tableOf(family)), listing(byText, tableOf(family)));
  };
  for (let index = 0; index < 120; index++) writer.set(`default/web-${index}`, models(index));
  await same();
  for (let index = 0; index < 60; index++) writer.set(`default/web-${index}`, index % 2 === 0 ? [] : models(index + 1));
  await same();
  // With chains that were not there, ranges of the node, and all of it once more.
  writer.set('default/web-0', models(0));
  writer.setFacts({ serviceCidrs: serviceCidrs.slice(0, 1), podCidrs: ['10.244.7.0/24'].map(asCidr) });
  await same();
  assert.ok(written >= 6);
});
