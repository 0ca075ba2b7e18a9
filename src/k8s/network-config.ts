// The settings of the cluster's network, as an object that its components share: the ConfigMap kube-system/weft-config.
import { type Ip, parseIp } from '../net/address.ts';
import type { ConfigMap } from './types.generated.ts';

/** Where the settings are. */
export const networkConfigKey = { namespace: 'kube-system', name: 'weft-config' } as const;

/** How nodes reach the pods of other nodes. */
export const fabricKinds = ['host-gw', 'router', 'vxlan', 'bgp'] as const;
export type FabricKindName = (typeof fabricKinds)[number];

/** How Services are written into the kernel. */
export const proxyModes = ['nftables', 'iptables', 'ipvs'] as const;
export type ProxyMode = (typeof proxyModes)[number];

/** How a virtual server of IPVS chooses one of its real servers (ipvsadm(8) says how each one does). */
export const ipvsSchedulers = ['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'sh', 'mh', 'dh', 'sed', 'nq'] as const;
export type IpvsScheduler = (typeof ipvsSchedulers)[number];

/** An annotation of a Node: the proxy mode that is in place there. */
export const proxyModeAnnotation = 'network.weft.dev/proxy-mode';

/** What a node says about its fabric, as annotations of its Node. */
export const fabricAnnotation = {
  /** The kind by which this node now sends to the others: it is in the kernel. */
  inPlace: 'network.weft.dev/fabric',
  /** Where the node takes in VXLAN: the address of its end of the tunnels. */
  vtep: 'network.weft.dev/vtep',
  /** The public key with which the node takes in encrypted packets, in base64. */
  wireguard: 'network.weft.dev/wireguard',
} as const;

const encryptedSuffix = '+wireguard';

/** How a node calls in `inPlace` the kind by which it sends: `vxlan`, or `vxlan+wireguard` where it encrypts. */
export function inPlaceName(fabric: FabricKindName, encrypted: boolean): string {
  return encrypted ? `${fabric}${encryptedSuffix}` : fabric;
}

/** Whether a node that says this of itself encrypts. */
export function saysEncrypted(inPlace: string): boolean {
  return inPlace.endsWith(encryptedSuffix);
}

/** An annotation of the ConfigMap: what the router between the nodes has in its table (`router`, or absent). */
export const routerAnnotation = 'network.weft.dev/router-table';

export interface VxlanSettings {
  /** The network identifier, 1 to 16777215. */
  readonly vni: number;
  /** The UDP port. */
  readonly port: number;
  /** Nodes on one subnet of the underlay reach each other without a tunnel. */
  readonly crossSubnet: boolean;
}

export interface WireguardSettings {
  /** The UDP port at every node. */
  readonly port: number;
}

export interface NetworkConfig {
  readonly fabric: FabricKindName;
  /** Whether pods' packets between nodes are encrypted, by WireGuard. */
  readonly encrypted: boolean;
  readonly wireguard: WireguardSettings;
  readonly vxlan: VxlanSettings;
  /** The addresses of the router between the nodes, in each subnet of the underlay and family. */
  readonly routers: readonly Ip[];
  /** Whether that router has the routes to all pods. */
  readonly routerHasTable: boolean;
}

export const defaultProxyMode: ProxyMode = 'nftables';

/** The proxy mode that the settings ask for (`otherwise` where they do not), or one line about why they cannot be followed. */
export function readProxyMode(
  { data = {} }: ConfigMap,
  otherwise: ProxyMode = defaultProxyMode,
): { readonly mode: ProxyMode } | { readonly problem: string } {
  const named = data['proxy.mode'] ?? otherwise;
  const mode = proxyModes.find((one) => one === named);
  if (mode !== undefined) return { mode };
  const { namespace, name } = networkConfigKey;
  return { problem: `ConfigMap ${namespace}/${name}: proxy.mode: '${named}' must be one of ${proxyModes.join(', ')}` };
}

/** Each in turn, as with kube-proxy. */
export const defaultIpvsScheduler: IpvsScheduler = 'rr';

/** The scheduler that the settings ask for in the mode ipvs, or one line about why they cannot be followed. */
export function readIpvsScheduler({
  data = {},
}: ConfigMap): { readonly scheduler: IpvsScheduler } | { readonly problem: string } {
  const named = data['proxy.ipvsScheduler'] ?? defaultIpvsScheduler;
  const scheduler = ipvsSchedulers.find((one) => one === named);
  if (scheduler !== undefined) return { scheduler };
  const { namespace, name } = networkConfigKey;
  const all = ipvsSchedulers.join(', ');
  return { problem: `ConfigMap ${namespace}/${name}: proxy.ipvsScheduler: '${named}' must be one of ${all}` };
}

export const defaultNetworkConfig: NetworkConfig = {
  fabric: 'host-gw',
  encrypted: false,
  // As Calico's and flannel's, and that of WireGuard's documentation.
  wireguard: { port: 51820 },
  // As flannel's: Linux' own port, not that of the RFC (4789), which other software of a machine may use.
  vxlan: { vni: 1, port: 8472, crossSubnet: false },
  routers: [],
  routerHasTable: false,
};

/** A setting that cannot be followed, in one line that names it and its value. */
export interface ConfigProblem {
  readonly key: string;
  readonly reason: string;
}

/**
 * Reads the settings; what is absent is the default. A value that is wrong is reported, and the default is taken for
 * it, except that `fabric` and `encryption` must be right: undefined then, and the network stays as it is.
 */
export function readNetworkConfig(object: ConfigMap): {
  readonly config: NetworkConfig | undefined;
  readonly problems: readonly ConfigProblem[];
} {
  const data = object.data ?? {};
  const problems: ConfigProblem[] = [];
  const whole = (key: string, most: number, otherwise: number): number => {
    const text = data[key];
    if (text === undefined) return otherwise;
    if (/^[1-9]\d{0,8}$/.test(text) && Number(text) <= most) return Number(text);
    problems.push({ key, reason: `'${text}' must be a whole number from 1 to ${most}` });
    return otherwise;
  };
  const vxlan = {
    vni: whole('vxlan.vni', 2 ** 24 - 1, defaultNetworkConfig.vxlan.vni),
    port: whole('vxlan.port', 65_535, defaultNetworkConfig.vxlan.port),
    crossSubnet: readSwitch(data['vxlan.crossSubnet'], 'vxlan.crossSubnet', problems),
  };
  const wireguard = { port: whole('wireguard.port', 65_535, defaultNetworkConfig.wireguard.port) };
  const routers = readAddresses(data['router.addresses'], 'router.addresses', problems);
  const named = data.fabric ?? defaultNetworkConfig.fabric;
  const fabric = fabricKinds.find((kind) => kind === named);
  if (fabric === undefined) {
    problems.push({ key: 'fabric', reason: `'${named}' must be one of ${fabricKinds.join(', ')}` });
    return { config: undefined, problems };
  }
  const { encryption = 'none' } = data;
  if (encryption !== 'none' && encryption !== 'wireguard') {
    problems.push({ key: 'encryption', reason: `'${encryption}' must be none or wireguard` });
    return { config: undefined, problems };
  }
  const encrypted = encryption === 'wireguard';
  const routerHasTable = object.metadata.annotations?.[routerAnnotation] === 'router';
  return { config: { fabric, encrypted, vxlan, wireguard, routers, routerHasTable }, problems };
}

function readSwitch(text: string | undefined, key: string, problems: ConfigProblem[]): boolean {
  if (text !== undefined && text !== 'true' && text !== 'false')
    problems.push({ key, reason: `'${text}' must be true or false` });
  return text === 'true';
}

function readAddresses(text: string | undefined, key: string, problems: ConfigProblem[]): Ip[] {
  const parts = (text ?? '').split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim()]));
  return parts.flatMap((part) => {
    const address = parseIp(part);
    if (address === undefined) problems.push({ key, reason: `'${part}' is not an IP address` });
    return address ?? [];
  });
}
