// The address ranges of a cluster: pods, Services, the LAN between the nodes; of one family or of both. Pure.
import { createHash } from 'node:crypto';
import {
  asCidr,
  type Cidr,
  cidrsOverlap,
  type Family,
  familyOf,
  formatIp,
  parseCidr,
  parseIp,
  rangeOf,
} from '../net/address.ts';
import { SettingsError } from './settings-error.ts';

/** One range, or one of each family; all three lists have the same families in the same order, the main one first. */
export interface ClusterRanges {
  readonly podCidrs: readonly Cidr[];
  readonly serviceCidrs: readonly Cidr[];
  /** The LAN between the nodes. */
  readonly underlay: readonly Cidr[];
}

/** What is taken where one of the options names no range; kind's. */
const defaultRanges = {
  pods: { IPv4: asCidr('10.244.0.0/16'), IPv6: asCidr('fd00:10:244::/56') },
  services: { IPv4: asCidr('10.96.0.0/16'), IPv6: asCidr('fd00:10:96::/112') },
} as const satisfies Record<string, Record<Family, Cidr>>;

const underlayIpv4 = asCidr('172.18.0.0/16');

/** Each node's part of the pod range, as kube-controller-manager's default node-cidr-mask-size. */
const nodeMask: Readonly<Record<Family, number>> = { IPv4: 24, IPv6: 64 };

/** Between them a Service range must be: room for the tenth address, which is DNS's, and not more than Kubernetes takes. */
const serviceMask: Readonly<Record<Family, readonly [widest: number, narrowest: number]>> = {
  IPv4: [12, 28],
  IPv6: [64, 124],
};

/** Ranges that mean something else to every Linux. */
const special: readonly Named[] = [
  ['the loopback addresses', asCidr('127.0.0.0/8')],
  ['the link-local addresses', asCidr('169.254.0.0/16')],
  ['the multicast and reserved addresses', asCidr('224.0.0.0/3')],
  ['the special addresses', asCidr('::/8')],
  ['the link-local addresses', asCidr('fe80::/10')],
  ['the multicast addresses', asCidr('ff00::/8')],
];

type Named = readonly [what: string, range: Cidr];

/**
 * The ranges of a cluster from what a user wrote: `CIDR` or `CIDR,CIDR`. Where only one of the options is given, the
 * other one follows its families. Throws a SettingsError for the first that cannot be.
 */
export function decideRanges(
  given: { readonly podCidr?: unknown; readonly serviceCidr?: unknown },
  cluster: { readonly name: string; readonly nodes: number },
): ClusterRanges {
  const pods = given.podCidr === undefined ? undefined : parseRanges('--pod-cidr', given.podCidr);
  const services = given.serviceCidr === undefined ? undefined : parseRanges('--service-cidr', given.serviceCidr);
  const families = (pods ?? services)?.map(familyOf) ?? ['IPv4' as const];
  const ranges = {
    podCidrs: pods ?? families.map((family) => defaultRanges.pods[family]),
    serviceCidrs: services ?? families.map((family) => defaultRanges.services[family]),
    underlay: families.map((family) => underlayRange(family, cluster.name)),
  };
  checkFamilies(ranges);
  refuseOverlap([
    ...ranges.podCidrs.map((range): Named => ['--pod-cidr', range]),
    ...ranges.serviceCidrs.map((range): Named => ['--service-cidr', range]),
    ...ranges.underlay.map((range): Named => ['the network between the nodes', range]),
    ...special,
  ]);
  for (const range of ranges.podCidrs) checkPodRange(range, cluster.nodes);
  for (const range of ranges.serviceCidrs) checkServiceRange(range);
  return ranges;
}

/**
 * The LAN's range. Of IPv6 a unique local one (RFC 4193): its 40 bits come from the cluster's name instead of from
 * chance, so that the same `up` gives the same addresses.
 */
function underlayRange(family: Family, name: string): Cidr {
  if (family === 'IPv4') return underlayIpv4;
  const globalId = BigInt(`0x${createHash('sha256').update(`weft ${name}`).digest('hex').slice(0, 10)}`);
  return asCidr(`${formatIp(((0xfdn << 40n) | globalId) << 80n, 'IPv6')}/64`);
}

function parseRanges(option: string, value: unknown): Cidr[] {
  const ranges = String(value)
    .split(',')
    .map((text) => parseRange(option, text.trim(), value));
  const [first, second, third] = ranges;
  if (third !== undefined)
    throw new SettingsError(`${option} '${String(value)}': one range, or one IPv4 and one IPv6 range, by a comma`);
  if (first !== undefined && second !== undefined && familyOf(first) === familyOf(second))
    throw new SettingsError(
      `${option} '${String(value)}': both ranges are ${familyOf(first)}; a second one must be of the other family`,
    );
  return ranges;
}

function parseRange(option: string, text: string, value: unknown): Cidr {
  const parsed = typeof value === 'string' ? parseCidr(text) : undefined;
  if (parsed === undefined)
    throw new SettingsError(`${option} '${text}': not an address range such as 10.244.0.0/16 or fd00:10:244::/56`);
  if (Number(parsed.split('/')[1]) === 0) throw new SettingsError(`${option} '${text}': that is every address`);
  const [first] = parsed.split('/');
  if (parseIp(text.split('/')[0] ?? '') !== first)
    throw new SettingsError(`${option} '${text}': the range begins at ${first}; write ${parsed}`);
  return parsed;
}

function checkFamilies({ podCidrs, serviceCidrs }: ClusterRanges): void {
  const [pods, services] = [podCidrs, serviceCidrs].map((ranges) => ranges.map(familyOf).join(','));
  if (pods !== services)
    throw new SettingsError(
      `--pod-cidr ${podCidrs.join(',')} is ${pods} and --service-cidr ${serviceCidrs.join(',')} is ${services}: both must have the same families in the same order`,
    );
}

function refuseOverlap(ranges: readonly Named[]): void {
  for (const [index, [option, one]] of ranges.entries())
    for (const [other, two] of ranges.slice(index + 1))
      if (cidrsOverlap(one, two)) throw new SettingsError(`${option} ${one} and ${other} ${two} overlap`);
}

function checkPodRange(pods: Cidr, nodes: number): void {
  const { prefix, family } = rangeOf(pods);
  const mask = nodeMask[family];
  const room = prefix > mask ? 0 : 2 ** (mask - prefix);
  if (room < nodes)
    throw new SettingsError(
      `--pod-cidr ${pods} is too small for ${nodes} nodes: each takes a /${mask}, and it holds ${room}`,
    );
}

function checkServiceRange(services: Cidr): void {
  const { prefix, family } = rangeOf(services);
  const [widest, narrowest] = serviceMask[family];
  if (prefix < widest || prefix > narrowest)
    throw new SettingsError(
      `--service-cidr ${services}: the prefix length must be from ${widest} to ${narrowest} for ${family}`,
    );
}
