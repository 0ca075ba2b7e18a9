// What a cluster is and how it does, for `weft status`.
import { connect } from '../k8s/connect.ts';
import { nodes } from '../k8s/resources.ts';
import type { Node } from '../k8s/types.generated.ts';
import { identity, readAuthority, readKeyPair } from './identities.ts';
import { apiServerPort, type ClusterLayout } from './layout.ts';
import { readProcessFile } from './process-file.ts';
import { isNodeReady } from './readiness.ts';
import type { ClusterSettings } from './settings.ts';
import { askSupervisor, type NodePortForward } from './supervisor-socket.ts';

export interface ClusterStatus {
  readonly name: string;
  readonly state: 'ready' | 'starting' | 'stopped';
  readonly api?: string;
  readonly kubeconfig: string;
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly nodes: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly podCidrs: readonly string[];
    readonly state: 'Ready' | 'NotReady' | 'Unknown';
  }[];
  readonly processes: readonly { readonly name: string; readonly pid?: number; readonly restarts: number }[];
  readonly nodePorts: readonly NodePortForward[];
}

/** Asks the supervisor and the API server; what does not answer is said to be stopped or unknown. */
export async function clusterStatus(settings: ClusterSettings, layout: ClusterLayout): Promise<ClusterStatus> {
  const supervisor = await askSupervisor(layout.supervisorSocket);
  const objects = supervisor === undefined ? [] : await readNodes(layout);
  const pid = readProcessFile(layout.pids, 'supervisor')?.pid;
  return {
    name: settings.name,
    state: supervisor === undefined ? 'stopped' : supervisor.ready ? 'ready' : 'starting',
    ...(supervisor !== undefined && { api: `https://127.0.0.1:${supervisor.apiPort}` }),
    kubeconfig: layout.kubeconfig,
    podCidrs: settings.podCidrs,
    serviceCidrs: settings.serviceCidrs,
    nodes: layout.nodes.map(({ name, addresses }) => {
      const object = objects.find(({ metadata }) => metadata.name === name);
      const state = object === undefined ? 'Unknown' : isNodeReady(object) ? 'Ready' : 'NotReady';
      return { name, addresses, podCidrs: object?.spec.podCIDRs ?? [], state };
    }),
    processes: [
      { name: 'supervisor', restarts: 0, ...(pid !== undefined && { pid }) },
      ...(supervisor?.processes ?? []),
    ],
    nodePorts: supervisor?.nodePorts ?? [],
  };
}

/** The Nodes, or none where the API server does not answer soon. */
async function readNodes(layout: ClusterLayout): Promise<readonly Node[]> {
  const { cert, key } = readKeyPair(layout, identity.admin);
  const client = connect({
    server: `https://127.0.0.1:${apiServerPort}`,
    socketPath: layout.apiSocket,
    ca: readAuthority(layout),
    cert,
    key,
  });
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Node[]>((resolve) => {
    timer = setTimeout(() => resolve([]), 2000);
  });
  try {
    return await Promise.race([client.list(nodes).then(({ items }) => items), late]);
  } catch {
    return [];
  } finally {
    clearTimeout(timer);
    await client.close();
  }
}
