// Names, addresses and paths of a cluster: what is called how, and where it lies. Pure, but for the environment.
import { join } from 'node:path';
import { addressAt, type Cidr, type Ip } from '../net/address.ts';
import { placeOf, type Segment, segmentsOf } from './segments.ts';
import type { ClusterSettings } from './settings.ts';

/** Where the state of all clusters is. */
export function weftHome(): string {
  return process.env.WEFT_HOME ?? '/var/lib/weft';
}

/** Sockets, pid files and pins of namespaces of all clusters: gone after a reboot. */
export const runRoot = '/run/weft';

export interface NodeLayout {
  /** The Node's name, its network namespace and its host name. */
  readonly name: string;
  /** Its number in the cluster; 0 is the control plane's. */
  readonly number: number;
  /** The number of its subnet, in the order of the segments. */
  readonly segment: number;
  /** The name without the cluster's: `control-plane`, `worker`, `worker2`. */
  readonly role: string;
  readonly controlPlane: boolean;
  /** One of each family of the cluster, the main one first. */
  readonly addresses: readonly [Ip, ...Ip[]];
  /** In the state folder; what the node keeps. */
  readonly state: string;
  /** In the run folder. */
  readonly run: string;
  /** The file that pins the mount namespace, and the one that pins the UTS namespace. */
  readonly mountNamespace: string;
  readonly utsNamespace: string;
  /** The agent dials for others: "host:port\n", then the bytes. */
  readonly dialSocket: string;
  /** The folder that is /run/containerd inside of the node. */
  readonly containerdRun: string;
  readonly cgroup: string;
}

export interface ClusterLayout {
  readonly name: string;
  readonly state: string;
  readonly run: string;
  readonly settingsFile: string;
  /** The port of the API server on 127.0.0.1, chosen at the first start. */
  readonly apiPortFile: string;
  readonly pki: string;
  readonly kubeconfig: string;
  readonly database: string;
  readonly logs: string;
  readonly supervisorSocket: string;
  readonly apiSocket: string;
  readonly registrySocket: string;
  readonly proxySocket: string;
  /** Where nodes ask DNS servers outside of the cluster. */
  readonly dnsRelaySocket: string;
  readonly pids: string;
  /** While this file is there, nobody starts a new supervisor: the cluster is being removed. */
  readonly stopping: string;
  readonly underlayNetns: string;
  readonly routerNetns: string;
  readonly segments: readonly Segment[];
  /** Below the root of each cgroup hierarchy. */
  readonly cgroup: string;
  /** Has a folder for each node, named by its role. */
  readonly nodesState: string;
  readonly nodes: readonly NodeLayout[];
}

export function clusterState(name: string): string {
  return join(weftHome(), name);
}

export function clusterRun(name: string): string {
  return join(runRoot, name);
}

/** What the layout follows from. */
export type LayoutSettings = Pick<ClusterSettings, 'name' | 'members' | 'underlay' | 'underlaySubnets'>;

/** Everything's place, for a cluster of these settings. */
export function layoutOf(settings: LayoutSettings): ClusterLayout {
  const { name } = settings;
  const state = clusterState(name);
  const run = clusterRun(name);
  return {
    name,
    state,
    run,
    settingsFile: join(state, 'settings.json'),
    apiPortFile: join(state, 'api-port'),
    pki: join(state, 'pki'),
    kubeconfig: join(state, 'kubeconfig'),
    database: join(state, 'apiserver.db'),
    logs: join(state, 'logs'),
    supervisorSocket: join(run, 'supervisor.sock'),
    apiSocket: join(run, 'api.sock'),
    registrySocket: join(run, 'registry.sock'),
    proxySocket: join(run, 'proxy.sock'),
    dnsRelaySocket: join(run, 'dns-relay.sock'),
    pids: join(run, 'pids'),
    stopping: join(run, 'stopping'),
    underlayNetns: `${name}-underlay`,
    routerNetns: `${name}-router`,
    segments: segmentsOf(settings),
    cgroup: join('weft', name),
    nodesState: join(state, 'nodes'),
    nodes: settings.members.map((index) => nodeLayout(settings, index, state, run)),
  };
}

function nodeLayout(settings: LayoutSettings, index: number, state: string, run: string): NodeLayout {
  const role = index === 0 ? 'control-plane' : index === 1 ? 'worker' : `worker${index}`;
  const name = `${settings.name}-${role}`;
  const { segment, subnets, host } = placeOf(settings, index);
  return {
    name,
    number: index,
    role,
    controlPlane: index === 0,
    segment,
    addresses: eachFamily(subnets, (range) => addressAt(range, host)),
    state: join(state, 'nodes', role),
    run: join(run, role),
    mountNamespace: join(run, role, 'mnt'),
    utsNamespace: join(run, role, 'uts'),
    dialSocket: join(run, role, 'dial.sock'),
    containerdRun: join(run, role, 'containerd'),
    cgroup: join('weft', settings.name, role),
  };
}

/** The first address of the main service range: the API server's own Service. */
export function kubernetesAddress(settings: Pick<ClusterSettings, 'serviceCidrs'>): Ip {
  return eachFamily(settings.serviceCidrs, (range) => addressAt(range, 1))[0];
}

/** The tenth address of each service range: cluster DNS. */
export function dnsAddresses(settings: Pick<ClusterSettings, 'serviceCidrs'>): readonly [Ip, ...Ip[]] {
  return eachFamily(settings.serviceCidrs, (range) => addressAt(range, 10));
}

function eachFamily(ranges: readonly Cidr[], addressOf: (range: Cidr) => Ip): readonly [Ip, ...Ip[]] {
  const [main, second] = ranges.map(addressOf);
  if (main === undefined) throw new RangeError('a cluster has a range of one family at least');
  return second === undefined ? [main] : [main, second];
}

export const clusterDomain = 'cluster.local';
/** Where the API server listens inside of the control plane's node. */
export const apiServerPort = 6443;
export const kubeletPort = 10250;
