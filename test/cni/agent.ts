// The network part of a node's agent as an own process for tests: CNI daemon and fabric, told the Nodes by its parent.
import { startCniDaemon } from '../../src/cni/daemon.ts';
import { startFabric } from '../../src/fabric/start.ts';
import type { Stored } from '../../src/k8s/object.ts';
import type { Node } from '../../src/k8s/types.generated.ts';
import { createLog } from '../../src/log/log.ts';
import { asCidr } from '../../src/net/address.ts';
import { staticClient } from './static-client.ts';

export interface AgentSettings {
  readonly nodeName: string;
  /** All folders of the node are made under this one. */
  readonly root: string;
  readonly nodes: readonly Stored<Node>[];
  readonly clusterCidrs: readonly string[];
  /** How long freed addresses rest, in ms. */
  readonly restMs?: number;
  readonly sweep?: { firstMs: number; everyMs: number };
}

const settings: AgentSettings = JSON.parse(process.argv[2] ?? '{}');
const { nodeName, root, nodes, sweep, restMs } = settings;
const clusterCidrs = settings.clusterCidrs.map(asCidr);
const client = staticClient(nodes);
await startCniDaemon({
  client,
  nodeName,
  clusterCidrs,
  socketPath: `${root}/cni.sock`,
  stateDir: `${root}/state`,
  confDir: `${root}/net.d`,
  binDir: `${root}/bin`,
  log: createLog('cni'),
  ...(sweep === undefined ? {} : { sweep }),
  ...(restMs === undefined ? {} : { restMs }),
});
await startFabric({ client, nodeName, clusterCidrs, log: createLog('fabric') });
process.on('message', (all: readonly Stored<Node>[]) => client.setNodes(all));
process.on('disconnect', () => process.exit());
process.send?.('ready');
