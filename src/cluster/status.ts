// What a cluster is and how it does, for `weft status`.
import { connect } from '../k8s/connect.ts';
import { type ServiceL2Status, serviceL2Statuses } from '../k8s/load-balancer.ts';
import type { FabricKindName, ProxyMode } from '../k8s/network-config.ts';
import { type KubeObject, keyOf, type Resource } from '../k8s/object.ts';
import { nodes, services } from '../k8s/resources.ts';
import type { Node, Service } from '../k8s/types.generated.ts';
import { identity, readAuthority, readKeyPair } from './identities.ts';
import { apiServerPort, type ClusterLayout } from './layout.ts';
import { readProcessFile } from './process-file.ts';
import { isNodeReady } from './readiness.ts';
import type { ClusterSettings } from './settings.ts';
import { askSupervisor, type NodePortForward } from './supervisor-socket.ts';

/** A Service of type LoadBalancer. */
export interface LoadBalancerStatus {
  readonly service: string;
  /** None while it waits for one. */
  readonly addresses: readonly string[];
  readonly ports: readonly string[];
  /** The nodes that answer for the addresses on their links. */
  readonly announcedBy: readonly string[];
}

export interface ClusterStatus {
  readonly name: string;
  readonly state: 'ready' | 'starting' | 'stopped';
  readonly api?: string;
  readonly kubeconfig: string;
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  readonly fabric: FabricKindName;
  /** What pods say to pods of other nodes goes through WireGuard. */
  readonly encrypted: boolean;
  readonly proxyMode: ProxyMode;
  readonly nodes: readonly {
    readonly name: string;
    readonly addresses: readonly string[];
    readonly podCidrs: readonly string[];
    readonly state: 'Ready' | 'NotReady' | 'Unknown';
  }[];
  readonly processes: readonly { readonly name: string; readonly pid?: number; readonly restarts: number }[];
  readonly nodePorts: readonly NodePortForward[];
  /** The addresses that load balancers get of their own accord; `none` where there are none. */
  readonly lbPool: string;
  readonly loadBalancers: readonly LoadBalancerStatus[];
}

/** Asks the supervisor and the API server; what does not answer is said to be stopped or unknown. */
export async function clusterStatus(settings: ClusterSettings, layout: ClusterLayout): Promise<ClusterStatus> {
  const supervisor = await askSupervisor(layout.supervisorSocket);
  const objects = supervisor === undefined ? nothing : await readObjects(layout);
  const pid = readProcessFile(layout.pids, 'supervisor')?.pid;
  return {
    name: settings.name,
    state: supervisor === undefined ? 'stopped' : supervisor.ready ? 'ready' : 'starting',
    ...(supervisor !== undefined && { api: `https://127.0.0.1:${supervisor.apiPort}` }),
    kubeconfig: layout.kubeconfig,
    podCidrs: settings.podCidrs,
    serviceCidrs: settings.serviceCidrs,
    fabric: settings.fabric,
    encrypted: settings.encrypt,
    proxyMode: settings.proxyMode,
    nodes: layout.nodes.map(({ name, addresses }) => {
      const object = objects.nodes.find(({ metadata }) => metadata.name === name);
      const state = object === undefined ? 'Unknown' : isNodeReady(object) ? 'Ready' : 'NotReady';
      return { name, addresses, podCidrs: object?.spec.podCIDRs ?? [], state };
    }),
    processes: [
      { name: 'supervisor', restarts: 0, ...(pid !== undefined && { pid }) },
      ...(supervisor?.processes ?? []),
    ],
    nodePorts: supervisor?.nodePorts ?? [],
    lbPool: settings.lbPool,
    loadBalancers: loadBalancersOf(objects),
  };
}

interface Objects {
  readonly nodes: readonly Node[];
  readonly services: readonly Service[];
  readonly l2: readonly ServiceL2Status[];
}

const nothing: Objects = { nodes: [], services: [], l2: [] };

function loadBalancersOf({ services: all, l2 }: Objects): LoadBalancerStatus[] {
  return all
    .filter(({ spec }) => spec?.type === 'LoadBalancer')
    .map((service) => {
      const { name, namespace } = service.metadata;
      const own = l2.filter(({ status }) => status?.serviceName === name && status?.serviceNamespace === namespace);
      return {
        service: keyOf(service),
        addresses: (service.status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip ?? []),
        ports: (service.spec?.ports ?? []).map(({ port, protocol = 'TCP' }) => `${port}/${protocol}`),
        announcedBy: [...new Set(own.flatMap(({ status }) => status?.node ?? []))].sort(),
      };
    })
    .sort((a, b) => (a.service < b.service ? -1 : 1));
}

/** What the API server has, or nothing where it does not answer soon. */
async function readObjects(layout: ClusterLayout): Promise<Objects> {
  const { cert, key } = readKeyPair(layout, identity.admin);
  const client = connect({
    server: `https://127.0.0.1:${apiServerPort}`,
    socketPath: layout.apiSocket,
    ca: readAuthority(layout),
    cert,
    key,
  });
  const items = async <T extends KubeObject>(resource: Resource<T>): Promise<readonly T[]> =>
    (await client.list(resource)).items;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<Objects>((resolve) => {
    timer = setTimeout(() => resolve(nothing), 2000);
  });
  try {
    const [nodeList, serviceList, l2] = [items(nodes), items(services), items(serviceL2Statuses)];
    const all = Promise.all([nodeList, serviceList, l2.catch(() => [])]);
    return await Promise.race([all.then(([n, s, l]): Objects => ({ nodes: n, services: s, l2: l })), late]);
  } catch {
    return nothing;
  } finally {
    clearTimeout(timer);
    await client.close();
  }
}
