// The network part of a node's agent as an own process for tests: CNI daemon and fabric, told the Nodes by its parent.
import { startCniDaemon } from '../../src/cni/daemon.ts';
import { startFabric } from '../../src/fabric/start.ts';
import type { Stored } from '../../src/k8s/object.ts';
import type { ConfigMap, Node } from '../../src/k8s/types.generated.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr } from '../../src/net/address.ts';
import { staticClient } from './static-client.ts';

export interface AgentSettings {
  readonly nodeName: string;
  /** All folders of the node are made under this one. */
  readonly root: string;
  readonly nodes: readonly Stored<Node>[];
  /** The settings of the network; without them, those are in force that go without saying. */
  readonly config?: Stored<ConfigMap>;
  readonly clusterCidrs: readonly string[];
  /** Ranges outside of the cluster to which packets of pods keep their source. */
  readonly unmasqueraded?: readonly string[];
  /** How long freed addresses rest, in ms. */
  readonly restMs?: number;
  readonly sweep?: { firstMs: number; everyMs: number };
}

/** What its parent tells it. */
export type AgentMessage = { readonly nodes: readonly Stored<Node>[] } | { readonly config: Stored<ConfigMap> };

/** What it tells its parent, besides 'ready': a merge patch. */
export interface AgentPatch {
  readonly plural: string;
  readonly name: string;
  readonly body: object;
}

const settings: AgentSettings = JSON.parse(process.argv[2] ?? '{}');
const { nodeName, root, nodes, sweep, restMs, unmasqueraded = [] } = settings;
const clusterCidrs = settings.clusterCidrs.map(asCidr);
const client = staticClient(nodes, (plural, name, body) => process.send?.({ plural, name, body }));
if (settings.config !== undefined) client.setConfig(settings.config);
await startCniDaemon({
  client,
  nodeName,
  clusterCidrs,
  socketPath: `${root}/cni.sock`,
  stateDir: `${root}/state`,
  confDir: `${root}/net.d`,
  binDir: `${root}/bin`,
  masquerade: { except: unmasqueraded.map(asCidr) },
  log: createLog('cni'),
  ...(sweep === undefined ? {} : { sweep }),
  ...(restMs === undefined ? {} : { restMs }),
});
await startFabric({
  client,
  nodeName,
  clusterCidrs,
  runDir: `${root}/bird`,
  stateDir: `${root}/fabric`,
  log: createLog('fabric'),
});
process.on('message', (told: AgentMessage) => {
  if ('nodes' in told) client.setNodes(told.nodes);
  else client.setConfig(told.config);
});
process.on('disconnect', () => process.exit());
process.send?.('ready');
