// What a runtime asks for besides the attachment itself: capabilities (CONVENTIONS.md of CNI), CNI_ARGS, annotations.
import { isRecord } from '../k8s/json.ts';
import type { L4Protocol } from '../linux/nft.ts';
import { type Cidr, cidrContains, familyOf, type Ip, type Mac, type Port, parseCidr, parseIp } from '../net/address.ts';
import { Fields } from './fields.ts';
import { CniError, errorCode } from './protocol.ts';

/** A port of the node that leads to one of the container. */
export interface PortMapping {
  readonly protocol: L4Protocol;
  readonly hostPort: Port;
  readonly containerPort: Port;
  /** The one address of the node that it is open on; on all of them where absent. */
  readonly hostIp?: Ip;
}

/** A limit of one direction: bits per second, and bits at once. */
export interface RateLimit {
  readonly rate: number;
  readonly burst: number;
}

/** Limits as the container sees them: ingress is what it receives. */
export interface Bandwidth {
  readonly ingress?: RateLimit;
  readonly egress?: RateLimit;
}

/** Addresses to choose from: the part of a subnet from the first to the last one, both included. */
export interface WishedRange {
  readonly subnet: Cidr;
  readonly first?: Ip;
  readonly last?: Ip;
}

/** What stays with an attachment as long as it lives. */
export interface Settings {
  readonly mac?: Mac;
  readonly ports: readonly PortMapping[];
  readonly bandwidth: Bandwidth;
  /** Further names of the container in this network. */
  readonly aliases: readonly string[];
}

export interface Wishes {
  readonly settings: Settings;
  /** Static addresses. */
  readonly ips: readonly Ip[];
  /** One address out of each set; the node's own ranges where there are none. */
  readonly ranges: readonly (readonly WishedRange[])[];
  /** In the form of a result: nameservers, search, options. */
  readonly dns?: object;
}

export const noSettings: Settings = { ports: [], bandwidth: {}, aliases: [] };

/** The capabilities that the plugin has, as the configuration claims them. The last one is what containerd 1.6 calls it. */
const podAnnotations = 'io.kubernetes.cri.pod-annotations';
export const capabilities = [
  'portMappings',
  'bandwidth',
  'ipRanges',
  'ips',
  'mac',
  'dns',
  'aliases',
  podAnnotations,
] as const;

/** The annotation of a pod that asks for static addresses: one for a family, separated by a comma. */
const addressAnnotation = 'network.weft.dev/ip-addresses';

/** Fields of runtimeConfig that ask for what this plugin has not. */
const unsupported = ['infinibandGUID', 'deviceID', 'cgroupPath'];

/**
 * Reads the wishes of an ADD and notes everything that is wrong with them. Throws CniError (`unsupportedField`) for what
 * cannot be had.
 */
export function parseWishes(
  config: Readonly<Record<string, unknown>>,
  args: ReadonlyMap<string, string>,
  problems: string[],
): Wishes {
  refuseUnsupported(config);
  const runtime = new Fields(config.runtimeConfig, 'runtimeConfig', problems);
  const ips = wishedAddresses(config, runtime, args, problems);
  const mac = runtime.value('mac') === undefined ? args.get('MAC') : runtime.text('mac');
  const dns = wishedDns(runtime);
  return {
    settings: { ...readSettings(runtime, config.name), ...macField(mac, problems) },
    ips,
    ranges: runtime.list('ipRanges').map((set) => set.items().flatMap((range) => wishedRange(range) ?? [])),
    ...(dns === undefined ? {} : { dns }),
  };
}

/** Reads settings back from what `settingsJson` wrote; what cannot be read any more is left out. */
export function parseSettings(json: string): Settings {
  const problems: string[] = [];
  const fields = new Fields(JSON.parse(json), 'settings', problems);
  return { ...readSettings(fields), ...macField(fields.text('mac'), problems) };
}

/** Settings in the form of runtimeConfig. */
export function settingsJson({ mac, ports, bandwidth, aliases }: Settings): string {
  const { ingress, egress } = bandwidth;
  return JSON.stringify({
    mac,
    portMappings: ports.map(({ hostIp, ...rest }) => ({ ...rest, hostIP: hostIp })),
    bandwidth: {
      ...(ingress && { ingressRate: ingress.rate, ingressBurst: ingress.burst }),
      ...(egress && { egressRate: egress.rate, egressBurst: egress.burst }),
    },
    aliases,
  });
}

function refuseUnsupported(config: Readonly<Record<string, unknown>>): void {
  const runtime = isRecord(config.runtimeConfig) ? config.runtimeConfig : {};
  const found = [
    ...(isRecord(config.ipam) && Object.keys(config.ipam).length > 0 ? [['ipam', config.ipam] as const] : []),
    ...unsupported
      .filter((key) => runtime[key] !== undefined)
      .map((key) => [`runtimeConfig.${key}`, runtime[key]] as const),
  ];
  if (found.length === 0) return;
  const named = found.map(([key, value]) => `${key}: ${JSON.stringify(value)}`).join(', ');
  const details = "the plugin gives addresses of the node's ranges itself; leave the field out";
  throw new CniError(errorCode.unsupportedField, `not supported by this plugin: ${named}`, details);
}

/** Aliases are a list (CONVENTIONS.md), or a list for each network (podman). */
function readSettings(fields: Fields, network?: unknown): Settings {
  const byNetwork = isRecord(fields.value('aliases')) && typeof network === 'string';
  return {
    ports: fields.list('portMappings').flatMap((entry) => portMapping(entry) ?? []),
    bandwidth: bandwidth(fields.object('bandwidth')),
    aliases: byNetwork ? fields.object('aliases').texts(network) : fields.texts('aliases'),
  };
}

/** Static addresses: of the runtime, else of `args`, else of CNI_ARGS, else of the pod's annotation. */
function wishedAddresses(
  config: Readonly<Record<string, unknown>>,
  runtime: Fields,
  args: ReadonlyMap<string, string>,
  problems: string[],
): Ip[] {
  const own = new Fields(config.args, 'args', problems).object('cni');
  const annotation = runtime.object(podAnnotations).text(addressAnnotation);
  const split = (value: string | undefined): string[] =>
    value === undefined ? [] : value.split(',').map((part) => part.trim());
  const sources: [string, string[]][] = [
    ['runtimeConfig.ips', runtime.texts('ips')],
    ['args.cni.ips', own.texts('ips')],
    ['IP of CNI_ARGS', split(args.get('IP'))],
    [`the annotation ${addressAnnotation}`, split(annotation)],
  ];
  const [where, texts] = sources.find(([, given]) => given.length > 0) ?? ['', []];
  return texts.flatMap((text) => {
    const address = parseIp(text.split('/')[0] ?? '');
    if (address === undefined) problems.push(`${where}: '${text}' is not an IP address`);
    return address ?? [];
  });
}

function portMapping(entry: Fields): PortMapping | undefined {
  const hostPort = entry.port('hostPort');
  const containerPort = entry.port('containerPort');
  const named = (entry.value('protocol') === undefined ? 'tcp' : (entry.text('protocol') ?? '')).toLowerCase();
  const protocol = named === 'tcp' || named === 'udp' || named === 'sctp' ? named : undefined;
  if (protocol === undefined) entry.problem('protocol', 'must be tcp, udp or sctp');
  const host = entry.text('hostIP') ?? '';
  const hostIp = parseIp(host);
  if (host !== '' && hostIp === undefined) entry.problem('hostIP', 'is not an IP address');
  if (hostPort === undefined || containerPort === undefined || protocol === undefined) return undefined;
  const everywhere = hostIp === undefined || hostIp === '0.0.0.0' || hostIp === '::';
  return { protocol, hostPort, containerPort, ...(everywhere ? {} : { hostIp }) };
}

/** Both of a pair or none, as the reference plugin has it. */
function bandwidth(entry: Fields): Bandwidth {
  const limit = (direction: 'ingress' | 'egress'): RateLimit | undefined => {
    const [rate, burst] = [entry.count(`${direction}Rate`), entry.count(`${direction}Burst`)];
    if (rate > 0 !== burst > 0)
      entry.problem(
        `${direction}${rate > 0 ? 'Burst' : 'Rate'}`,
        `must be there with ${direction}${rate > 0 ? 'Rate' : 'Burst'}`,
      );
    return rate > 0 && burst > 0 ? { rate, burst } : undefined;
  };
  const [ingress, egress] = [limit('ingress'), limit('egress')];
  return { ...(ingress && { ingress }), ...(egress && { egress }) };
}

function wishedRange(entry: Fields): WishedRange | undefined {
  const subnet = parseCidr(entry.text('subnet') ?? '');
  if (subnet === undefined) entry.problem('subnet', 'is not a range such as 10.1.0.0/24');
  const inside = (name: string): Ip | undefined => {
    const text = entry.text(name);
    if (text === undefined) return undefined;
    const address = parseIp(text);
    if (
      address === undefined ||
      (subnet !== undefined && (familyOf(subnet) !== familyOf(address) || !cidrContains(subnet, address)))
    )
      entry.problem(name, 'is not an address of the subnet');
    return address;
  };
  const [first, last] = [inside('rangeStart'), inside('rangeEnd')];
  return subnet === undefined ? undefined : { subnet, ...(first && { first }), ...(last && { last }) };
}

function macField(text: string | undefined, problems: string[]): { mac?: Mac } {
  if (text === undefined || text === '') return {};
  const lower = text.toLowerCase();
  const valid = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/.test(lower) && (Number.parseInt(lower.slice(0, 2), 16) & 1) === 0;
  if (valid && lower !== '00:00:00:00:00:00') return { mac: lower as Mac };
  problems.push(`mac: '${text}' is not the hardware address of one interface`);
  return {};
}

function wishedDns(runtime: Fields): object | undefined {
  const dns = runtime.object('dns');
  const parts = { nameservers: dns.texts('servers'), search: dns.texts('searches'), options: dns.texts('options') };
  return Object.values(parts).every((list) => list.length === 0) ? undefined : parts;
}
