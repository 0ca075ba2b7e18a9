// Runs the proxy in the namespace that it is started in, for tests. Standard input: one JSON line for each change of
// an object, `{"type": "put" | "delete", "object": …}`, or `{"type": "go"}` when the first objects are complete.
// The first argument is the proxy mode (nftables where absent), or `configured`: the ConfigMap says it.
// The second one is the node that it is of: node, or remote.
// Standard output: `started`, `in place MODE`, `event REASON MESSAGE`, one line for each marker (a Service in 10.96.250.0/24) that the kernel has.
import { createInterface } from 'node:readline';
import { isAlreadyExists } from '../../src/k8s/client.ts';
import { createFakeClient } from '../../src/k8s/fake-client.ts';
import { proxyModeAnnotation, proxyModes } from '../../src/k8s/network-config.ts';
import type { KubeObject, Resource } from '../../src/k8s/object.ts';
import { configMaps, endpointSlices, events, nodes, serviceCidrs, services } from '../../src/k8s/resources.ts';
import { listAddresses } from '../../src/linux/addresses.ts';
import type { TableChange } from '../../src/linux/iptables.ts';
import { openIptables } from '../../src/linux/iptables-run.ts';
import { findLink } from '../../src/linux/links.ts';
import { Netlink } from '../../src/linux/netlink.ts';
import { openNft } from '../../src/linux/nft-run.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr, asIp, type Family } from '../../src/net/address.ts';
import { startProxy } from '../../src/proxy/start.ts';

type Message = { type: 'go' } | { type: 'put' | 'delete'; object: KubeObject };

const resources: Record<string, Resource<KubeObject>> = {
  Service: services,
  EndpointSlice: endpointSlices,
  Node: nodes,
  ConfigMap: configMaps,
  ServiceCIDR: serviceCidrs,
};
const client = createFakeClient();
const nft = await openNft();
const fixed = process.argv[2] !== 'configured';
const mode = proxyModes.find((one) => one === process.argv[2]) ?? 'nftables';
const nodeName = process.argv[3] === 'remote' ? 'remote' : 'node';
let proxy: { stop(): Promise<void> } | undefined;

async function change(type: 'put' | 'delete', object: KubeObject): Promise<void> {
  const resource = resources[object.kind];
  if (resource === undefined) throw new Error(`the proxy does not watch ${object.kind}`);
  const { name = '', namespace } = object.metadata;
  if (type === 'delete') return client.delete(resource, { name, namespace }, { gracePeriodSeconds: 0 });
  await client.create(resource, object).catch((error: unknown) => {
    if (!isAlreadyExists(error)) throw error;
    return client.update(resource, object);
  });
}

const iptables = mode === 'iptables' || !fixed ? await openIptables() : undefined;

/** IPVS tells nobody what is written; the address of a Service is written last. */
function tellMarkersOfIpvs(): void {
  using links = Netlink.open();
  const link = findLink(links, 'kube-ipvs0')?.index;
  for (const { address } of link === undefined ? [] : listAddresses(links, link))
    if (address.startsWith('10.96.250.')) told.add(`marker ${address}`);
}

/** Each marker is told once. */
class Told {
  readonly #told = new Set<string>();

  add(line: string): void {
    if (!this.#told.has(line)) console.log(line);
    this.#told.add(line);
  }
}
const told = new Told();
if (mode === 'ipvs' || !fixed) setInterval(tellMarkersOfIpvs, 20);

const start = (): Promise<{ stop(): Promise<void> }> =>
  startProxy({
    client,
    nodeName,
    nodeAddresses: (nodeName === 'node' ? ['172.18.0.2', 'fd18::2'] : ['172.18.0.3', 'fd18::3']).map(asIp),
    externalIps: true,
    clusterCidrs: ['10.244.0.0/16', 'fd44::/16'].map(asCidr),
    serviceCidrs: ['10.96.0.0/16', 'fd96::/112'].map(asCidr),
    ...(fixed && { mode }),
    serveStatus: true,
    log: createLog('proxy'),
    ...(iptables !== undefined && {
      iptables: {
        ...iptables,
        async restore(family: Family, changes: readonly TableChange[]) {
          await iptables.restore(family, changes);
          for (const [, marker] of JSON.stringify(changes).matchAll(/-d (10\.96\.250\.\d+) /g))
            console.log(`marker ${marker}`);
        },
      },
    }),
    nft: {
      ...nft,
      async commit(table, written) {
        await nft.commit(table, written);
        // All changes before the marker are in the same transaction or in an earlier one.
        for (const { set, key } of written.added)
          if (set === 'cluster-ips' && key.startsWith('10.96.250.')) console.log(`marker ${key}`);
      },
    },
  });

client.cache(events).subscribe(({ object }) => console.log(`event ${object.reason} ${object.message}`));

let inPlace: string | undefined;
client.cache(nodes).subscribe(({ object }) => {
  const mode = object.metadata.annotations?.[proxyModeAnnotation];
  if (mode !== undefined && mode !== inPlace) console.log(`in place ${mode}`);
  inPlace = mode;
});

for await (const line of createInterface({ input: process.stdin })) {
  const message: Message = JSON.parse(line);
  if (message.type !== 'go') await change(message.type, message.object);
  else {
    proxy = await start();
    console.log('started');
  }
}
await proxy?.stop();
process.exit(0);
