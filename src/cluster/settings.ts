// What a user can choose about a cluster, and the rules that the choices must keep. Pure.
import { type Cidr, cidrsOverlap, familyOf, type Port, parseCidr, parsePort, rangeOf } from '../net/address.ts';

/** What a cluster is made from; kept in its state folder. */
export interface ClusterSettings {
  readonly name: string;
  /** How many nodes, the control plane's included. */
  readonly nodes: number;
  readonly podCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
  /** The LAN between the nodes. */
  readonly underlay: Cidr;
  /** The port of the API server on 127.0.0.1; any free one where it is not chosen. */
  readonly apiPort?: Port;
  /** No image pulls from outside registries. */
  readonly offline: boolean;
}

/** Settings as a user writes them, on the command line or in the file of --config; each may be absent. */
export interface GivenSettings {
  readonly name?: unknown;
  readonly nodes?: unknown;
  readonly podCidr?: unknown;
  readonly serviceCidr?: unknown;
  readonly apiPort?: unknown;
  readonly offline?: unknown;
  readonly fabric?: unknown;
  readonly proxyMode?: unknown;
}

/** A setting that cannot be; the message is one line that names it and its value. */
export class SettingsError extends Error {
  override readonly name = 'SettingsError';
}

export const defaultName = 'weft';
const defaults = { nodes: 3, podCidr: '10.244.0.0/16', serviceCidr: '10.96.0.0/16', underlay: '172.18.0.0/16' };

/** More nodes than this do not help anyone on one machine. */
const mostNodes = 100;
/** Each node's part of the pod range, as kube-controller-manager's default node-cidr-mask-size. */
const nodeMask = 24;
/** Node names are `NAME-control-plane` at the longest; they must fit a DNS label and Unix socket paths 107 bytes. */
const longestName = 40;

const known = ['name', 'nodes', 'podCidr', 'serviceCidr', 'apiPort', 'offline', 'fabric', 'proxyMode'];

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
  const nodes = wholeNumber('nodes', given.nodes ?? defaults.nodes);
  if (nodes < 1 || nodes > mostNodes) throw new SettingsError(`--nodes ${nodes}: must be from 1 to ${mostNodes}`);
  oneOf('--fabric', given.fabric ?? 'host-gw', ['host-gw']);
  oneOf('--proxy-mode', given.proxyMode ?? 'nftables', ['nftables']);
  const pods = range('--pod-cidr', given.podCidr ?? defaults.podCidr);
  const services = range('--service-cidr', given.serviceCidr ?? defaults.serviceCidr);
  const underlay = range('the underlay', defaults.underlay);
  refuseOverlap([
    ['--pod-cidr', pods],
    ['--service-cidr', services],
    ['the network between the nodes', underlay],
  ]);
  checkPodRange(pods, nodes);
  const { prefix } = rangeOf(services);
  if (prefix > 28 || prefix < 12)
    throw new SettingsError(`--service-cidr ${services}: the prefix length must be from 12 to 28`);
  const apiPort = given.apiPort === undefined ? undefined : port(given.apiPort);
  return {
    name,
    nodes,
    podCidrs: [pods],
    serviceCidrs: [services],
    underlay,
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
  const wanted = decideSettings({ ...given, name: existing.name });
  const differences: string[] = [];
  const compare = (option: string, chosen: unknown, want: unknown, have: unknown): void => {
    if (chosen !== undefined && String(want) !== String(have))
      differences.push(`${option} ${String(want)} (it has ${String(have)})`);
  };
  compare('--nodes', given.nodes, wanted.nodes, existing.nodes);
  compare('--pod-cidr', given.podCidr, wanted.podCidrs, existing.podCidrs);
  compare('--service-cidr', given.serviceCidr, wanted.serviceCidrs, existing.serviceCidrs);
  compare('--api-port', given.apiPort, wanted.apiPort, existing.apiPort);
  return differences;
}

function range(option: string, value: unknown): Cidr {
  const parts = typeof value === 'string' ? value.split(',') : [];
  const [text = ''] = parts;
  const parsed = parseCidr(text.trim());
  if (parsed === undefined)
    throw new SettingsError(`${option} '${String(value)}': not an address range such as 10.244.0.0/16`);
  if (parts.length > 1 || familyOf(parsed) === 'IPv6')
    throw new SettingsError(`${option} '${String(value)}': only one IPv4 range is offered`);
  if (parsed !== text.trim())
    throw new SettingsError(`${option} '${text.trim()}': the range begins at ${parsed.split('/')[0]}; write ${parsed}`);
  return parsed;
}

function refuseOverlap(ranges: readonly (readonly [string, Cidr])[]): void {
  for (const [index, [option, one]] of ranges.entries())
    for (const [other, two] of ranges.slice(index + 1))
      if (cidrsOverlap(one, two)) throw new SettingsError(`${option} ${one} and ${other} ${two} overlap`);
}

function checkPodRange(pods: Cidr, nodes: number): void {
  const { prefix } = rangeOf(pods);
  const room = prefix > nodeMask ? 0 : 2 ** (nodeMask - prefix);
  if (room < nodes)
    throw new SettingsError(
      `--pod-cidr ${pods} is too small for ${nodes} nodes: each takes a /${nodeMask}, and it holds ${room}`,
    );
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

function oneOf(option: string, value: unknown, choices: readonly string[]): void {
  if (typeof value !== 'string' || !choices.includes(value))
    throw new SettingsError(`${option} '${String(value)}': there is ${choices.join(', ')}`);
}
