// Puts Services into the kernel of the namespace that it runs in, the last of which leads to a given pod, for
// bench/service-path.ts. Usage: service-path-load.ts SERVICES CLUSTER-IP ENDPOINT PORT
import { openNft } from '../src/linux/nft-run.ts';
import { asIp } from '../src/net/address.ts';
import { NftablesWriter } from '../src/proxy/nftables/writer.ts';
import { serviceModel } from '../src/proxy/service-model.ts';
import type { ProxyNode } from '../src/proxy/service-port.ts';
import { benchNode, benchService, benchSlices } from './proxy-objects.ts';

const [services = '0', clusterIP = '', endpoint = '', port = '0'] = process.argv.slice(2);
const addresses = benchNode.addresses.map(asIp);
const node: ProxyNode = { name: benchNode.name, addresses, nodePortAddresses: addresses, podCidrs: [] };
const writer = new NftablesWriter({ nft: await openNft(), node, clusterCidrs: benchNode.clusterCidrs });
writer.setFacts({ serviceCidrs: benchNode.serviceCidrs, podCidrs: [] });
for (let index = 1; index < Number(services); index++)
  writer.set(
    `bench/service-${index}`,
    serviceModel(benchService(index), benchSlices(index, 3), node, { externalIps: false }),
  );
const one = benchService(0);
const [slice] = benchSlices(0, 1);
if (slice === undefined) throw new Error('there is no slice');
const target = {
  service: { ...one, spec: { ...one.spec, clusterIP, clusterIPs: [clusterIP] } },
  slice: { ...slice, endpoints: [{ addresses: [endpoint] }], ports: [{ name: 'http', port: Number(port) }] },
};
writer.set('bench/target', serviceModel(target.service, [target.slice], node, { externalIps: false }));
await writer.apply();
