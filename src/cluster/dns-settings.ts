// What a user chooses about names outside of the cluster: whom its DNS asks, and what of that the nodes need a relay for. Pure.
import { asCidr, asIp, type Cidr, cidrContains, familyOf, type Ip, parseIp, parsePort } from '../net/address.ts';
import { dnsAddresses } from './layout.ts';
import type { ClusterRanges } from './ranges.ts';
import { SettingsError } from './settings-error.ts';

export interface DnsSettings {
  /** Upstreams as a Corefile has them, or `host`; none: names outside of the cluster have no answer. */
  readonly dnsUpstreams: readonly string[];
}

/** As a user writes them. */
export interface GivenDnsSettings {
  /** `10.0.0.53`, `10.0.0.53:5353`, `10.0.0.53#5353`, `tls://10.0.0.53%dns.example`, `host`; a list, or by commas. */
  readonly dnsUpstream?: unknown;
}

/** Whom to ask. */
export type DnsUpstream =
  | { readonly kind: 'host' }
  | {
      readonly kind: 'server';
      readonly protocol: 'dns' | 'tls';
      readonly address: Ip;
      readonly port: number;
      /** The name that its certificate must have. */
      readonly serverName?: string;
    };

/** An address and a port that a node has in the place of an upstream: what comes there is sent from the host. */
export interface RelayedAddress {
  readonly address: Ip;
  readonly port: number;
}

/** The resolver of this machine, whatever its /etc/resolv.conf says, is at this address of every node. */
export const hostResolver: RelayedAddress = { address: asIp('169.254.20.11'), port: 53 };

const usualPort = { dns: 53, tls: 853 } as const;
/** As many as a Corefile's `forward` takes. */
const mostUpstreams = 15;
const label = '[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?';
const serverName = new RegExp(`^(?=.{1,253}$)${label}(\\.${label})*$`);

/** The settings of these upstreams. Throws a SettingsError for the first that is none, or that no node could ask. */
export function decideDnsSettings(given: GivenDnsSettings, ranges: ClusterRanges): DnsSettings {
  const { dnsUpstream } = given;
  if (dnsUpstream === undefined) return { dnsUpstreams: [] };
  const texts = Array.isArray(dnsUpstream) ? dnsUpstream.map(String) : String(dnsUpstream).split(',');
  if (texts.length > mostUpstreams)
    throw new SettingsError(`--dns-upstream: there are ${texts.length}, and at most ${mostUpstreams} can be asked`);
  const upstreams = texts.map((text) => {
    const upstream = readUpstream(text.trim());
    checkReachable(upstream, text.trim(), ranges);
    return formatUpstream(upstream);
  });
  return { dnsUpstreams: [...new Set(upstreams)] };
}

/** An upstream as a user writes it. Throws a SettingsError where it is none. */
export function readUpstream(text: string): DnsUpstream {
  if (text === 'host') return { kind: 'host' };
  const [, scheme = 'dns', rest = ''] = /^(?:([a-z0-9]+):\/\/)?(.*)$/i.exec(text) ?? [];
  const protocol = scheme.toLowerCase();
  const bare = parseIp(rest);
  const [, bracketed, plain, name, portText] =
    (bare === undefined && /^(?:\[([^\]]+)\]|([^[\]:%#]+))(?:%([^:%#]+))?(?:[:#](\d{1,5}))?$/.exec(rest)) || [];
  // fd00::53#5353: without brackets only '#' can tell the port from the address.
  const [, long, longPort] = (bracketed === undefined && plain === undefined && /^(.*)#(\d{1,5})$/.exec(rest)) || [];
  const address = bare ?? parseIp(bracketed ?? plain ?? long ?? '');
  if ((protocol !== 'dns' && protocol !== 'tls') || address === undefined) throw none(text);
  const givenPort = portText ?? longPort;
  const port = givenPort === undefined ? usualPort[protocol] : parsePort(givenPort);
  if (port === undefined || (name !== undefined && (protocol !== 'tls' || !serverName.test(name.toLowerCase()))))
    throw none(text);
  return {
    kind: 'server',
    protocol,
    address,
    port,
    ...(name !== undefined && { serverName: name.toLowerCase() }),
  };
}

const none = (text: string): SettingsError =>
  new SettingsError(
    `--dns-upstream '${text}': must be 'host' or addresses of DNS servers such as 10.0.0.53, 10.0.0.53:5353, [fd00::53]:5353 or tls://10.0.0.53%dns.example`,
  );

/** As a Corefile's `forward` takes it. */
function formatUpstream(upstream: DnsUpstream): string {
  if (upstream.kind === 'host') return 'host';
  const { protocol, address, port, serverName: name } = upstream;
  const scheme = protocol === 'tls' ? 'tls://' : '';
  const own = name === undefined ? '' : `%${name}`;
  const suffix = port === usualPort[protocol] ? own : `${own}:${port}`;
  const isBare = suffix === '' || familyOf(address) === 'IPv4';
  return `${scheme}${isBare ? address : `[${address}]`}${suffix}`;
}

/** The targets of a Corefile's `forward` for these upstreams. */
export const forwardTargets = (dnsUpstreams: readonly string[]): string[] =>
  dnsUpstreams.map((text) => (text === 'host' ? hostResolver.address : text));

/** What of them is outside of the cluster, where nodes have no way to: each needs a relay to the host's side. */
export function relayedAddresses({ dnsUpstreams }: DnsSettings, ranges: ClusterRanges): RelayedAddress[] {
  const found = dnsUpstreams.map(readUpstream).flatMap((upstream): RelayedAddress[] => {
    if (upstream.kind === 'host') return [hostResolver];
    return isInside(upstream.address, ranges) ? [] : [{ address: upstream.address, port: upstream.port }];
  });
  const places = new Map(found.map((one) => [`${one.address} ${one.port}`, one]));
  return [...places.values()];
}

const isWithin = (address: Ip, ranges: readonly Cidr[]): boolean =>
  ranges.some((range) => cidrContains(range, address));

const isInside = (address: Ip, { podCidrs, serviceCidrs, underlay }: ClusterRanges): boolean =>
  isWithin(address, [...podCidrs, ...serviceCidrs, ...underlay]);

/** Where no DNS server is, or something of the node itself. */
const nobody = ['0.0.0.0/8', '169.254.20.0/24', '224.0.0.0/3', '::/128', 'fe80::/10', 'ff00::/8'].map(asCidr);

function checkReachable(upstream: DnsUpstream, text: string, ranges: ClusterRanges): void {
  if (upstream.kind === 'host') return;
  const { address } = upstream;
  const refuse = (why: string): SettingsError => new SettingsError(`--dns-upstream '${text}': ${why}`);
  if (isWithin(address, nobody)) throw refuse(`no DNS server of others can be at ${address}`);
  if (dnsAddresses(ranges).includes(address)) throw refuse("this is the cluster's own DNS");
  if (familyOf(address) === 'IPv6' && !ranges.podCidrs.some((range) => familyOf(range) === 'IPv6'))
    throw refuse('the cluster has no IPv6: give an IPv4 address, or a --pod-cidr with both');
}
