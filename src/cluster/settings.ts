// What a user can choose about a cluster, and the rules that the choices must keep. Pure.
import { type Port, parsePort } from '../net/address.ts';
import { type DnsSettings, decideDnsSettings, type GivenDnsSettings } from './dns-settings.ts';
import { decideFabricSettings, type FabricSettings, type GivenFabricSettings } from './fabric-settings.ts';
import { decideLbPool } from './lb-pool.ts';
import { checkNodePortRange, defaultNodePortRange, formatPortRange, type NodePortRange } from './node-port-range.ts';
import { decideProxySettings, type GivenProxySettings, type ProxySettings } from './proxy-settings.ts';
import { type ClusterRanges, decideRanges } from './ranges.ts';
import { decideServiceSettings, type GivenServiceSettings, type ServiceSettings } from './service-settings.ts';
import { SettingsError } from './settings-error.ts';

/** What a cluster is made from; kept in its state folder. */
export interface ClusterSettings extends ClusterRanges, FabricSettings, ServiceSettings, ProxySettings, DnsSettings {
  readonly name: string;
  /** How many nodes, the control plane's included. */
  readonly nodes: number;
  /** The numbers of the nodes, in order: 0 is the control plane's, 1 `worker`, 2 `worker2`; nodes come and go. */
  readonly members: readonly number[];
  /** The node ports that Services may have. */
  readonly nodePortRange: NodePortRange;
  /** The addresses of load balancers, as `--lb-pool` has them; or `none`. */
  readonly lbPool: string;
  /** The port of the API server on 127.0.0.1; any free one where it is not chosen. */
  readonly apiPort?: Port;
  /** No image pulls from outside registries. */
  readonly offline: boolean;
}

/** Settings as a user writes them, on the command line or in the file of --config; each may be absent. */
export interface GivenSettings extends GivenFabricSettings, GivenServiceSettings, GivenProxySettings, GivenDnsSettings {
  readonly name?: unknown;
  readonly nodes?: unknown;
  readonly podCidr?: unknown;
  readonly serviceCidr?: unknown;
  readonly nodePortRange?: unknown;
  readonly lbPool?: unknown;
  readonly apiPort?: unknown;
  readonly offline?: unknown;
}

export const defaultName = 'weft';
const defaultNodes = 3;

/** More nodes than this do not help anyone on one machine. */
const mostNodes = 100;
/** Node names are `NAME-control-plane` at the longest; they must fit a DNS label and Unix socket paths 107 bytes. */
const longestName = 40;

const known = [
  ...['name', 'nodes', 'podCidr', 'serviceCidr', 'nodePortRange', 'lbPool', 'apiPort', 'offline'],
  ...['fabric', 'crossSubnet', 'encrypt', 'underlaySubnets', 'proxyMode', 'ipvsScheduler'],
  ...['externalIps', 'nodePortAddresses', 'dnsUpstream'],
];

/** Reads the content of a --config file: the same settings as on the command line. */
export function readGivenSettings(content: unknown, where: string): GivenSettings {
  if (content === null || content === undefined) return {};
  if (typeof content !== 'object' || Array.isArray(content))
    throw new SettingsError(`${where}: expected settings such as 'nodes: 3'`);
  for (const key of Object.keys(content))
    if (!known.includes(key))
      throw new SettingsError(`${where}: there is no setting '${key}'; there are ${known.join(', ')}`);
  return content;
}

/** The settings with defaults filled in. Throws a SettingsError for the first that cannot be. */
export function decideSettings(given: GivenSettings): ClusterSettings {
  const name = checkName(given.name ?? defaultName);
  const nodes = wholeNumber('nodes', given.nodes ?? defaultNodes);
  if (nodes < 1 || nodes > mostNodes) throw new SettingsError(`--nodes ${nodes}: must be from 1 to ${mostNodes}`);
  const ranges = decideRanges(given, { name, nodes });
  const fabric = decideFabricSettings(given);
  const apiPort = given.apiPort === undefined ? undefined : port(given.apiPort);
  return {
    name,
    nodes,
    members: Array.from({ length: nodes }, (_, index) => index),
    ...ranges,
    ...fabric,
    ...decideServiceSettings(given),
    nodePortRange: checkNodePortRange(given.nodePortRange ?? defaultNodePortRange),
    ...decideProxySettings(given),
    lbPool: decideLbPool(given.lbPool, { ...ranges, ...fabric }),
    ...decideDnsSettings(given, ranges),
    ...(apiPort !== undefined && { apiPort }),
    offline: given.offline === true,
  };
}

/** A cluster's name: a DNS label that leaves room for the names of nodes. */
export function checkName(name: unknown): string {
  if (typeof name === 'string' && name.length <= longestName && /^[a-z]([-a-z0-9]*[a-z0-9])?$/.test(name)) return name;
  throw new SettingsError(
    `cluster name '${String(name)}': must be at most ${longestName} lower case letters, digits and '-', with a letter first and no '-' last`,
  );
}

/** What of the given settings differs from those of a cluster that exists: a second `up` cannot change them. */
export function settingsInConflict(given: GivenSettings, existing: ClusterSettings): string[] {
  const { nodes, underlaySubnets } = existing;
  const own = { podCidr: existing.podCidrs.join(), serviceCidr: existing.serviceCidrs.join() };
  const ranges = given.podCidr === undefined && given.serviceCidr === undefined ? own : {};
  const wanted = decideSettings({ nodes, underlaySubnets, ...ranges, ...given, name: existing.name });
  const differences: string[] = [];
  const compare = (option: string, chosen: unknown, want: unknown, have: unknown): void => {
    if (chosen !== undefined && String(want) !== String(have))
      differences.push(`${option} ${String(want)} (it has ${String(have)})`);
  };
  compare('--nodes', given.nodes, wanted.nodes, existing.nodes);
  compare('--pod-cidr', given.podCidr, wanted.podCidrs, existing.podCidrs);
  compare('--service-cidr', given.serviceCidr, wanted.serviceCidrs, existing.serviceCidrs);
  const [wantedPorts, ports] = [wanted, existing].map((one) => formatPortRange(one.nodePortRange));
  compare('--node-port-range', given.nodePortRange, wantedPorts, ports);
  compare('--proxy-mode', given.proxyMode, wanted.proxyMode, existing.proxyMode);
  compare('--ipvs-scheduler', given.ipvsScheduler, wanted.ipvsScheduler, existing.ipvsScheduler);
  compare('--lb-pool', given.lbPool, wanted.lbPool, existing.lbPool);
  compare('--external-ips', given.externalIps, wanted.externalIps, existing.externalIps);
  const [wantedAddresses, addresses] = [wanted, existing].map((one) => one.nodePortAddresses ?? 'its own');
  compare('--node-port-addresses', given.nodePortAddresses, wantedAddresses, addresses);
  compare('--dns-upstream', given.dnsUpstream, wanted.dnsUpstreams, existing.dnsUpstreams.join() || 'none');
  compare('--api-port', given.apiPort, wanted.apiPort, existing.apiPort);
  compare('--fabric', given.fabric, wanted.fabric, existing.fabric);
  compare('--cross-subnet', given.crossSubnet, wanted.crossSubnet, existing.crossSubnet);
  compare('--encrypt', given.encrypt, wanted.encrypt, existing.encrypt);
  compare('--underlay-subnets', given.underlaySubnets, wanted.underlaySubnets, existing.underlaySubnets);
  return differences;
}

function wholeNumber(what: string, value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  if (typeof value === 'string' && /^\d{1,6}$/.test(value)) return Number(value);
  throw new SettingsError(`--${what} '${String(value)}': must be a whole number`);
}

function port(value: unknown): Port {
  const parsed = typeof value === 'number' || typeof value === 'string' ? parsePort(value) : undefined;
  if (parsed === undefined) throw new SettingsError(`--api-port '${String(value)}': must be from 1 to 65535`);
  return parsed;
}
