// Decides the rules of iptables that are there before any Service: kube-proxy's jumps and shared chains. Pure.
import { type IptablesTable, type Match, ruleText, type Target } from '../../linux/iptables.ts';
import { asCidr, type Family, type Ip } from '../../net/address.ts';
import { filterChains, natChains, ownMark } from './chain-names.ts';

/** The bit of a packet's mark that says: give it this node's address as its source. */
const masqueradeBit = 0x4000;

const loopback = { IPv4: asCidr('127.0.0.0/8'), IPv6: asCidr('::1/128') } as const satisfies Record<Family, string>;

export interface FixedOptions {
  readonly family: Family;
  /** Where NodePorts are open; `all` are the node's own addresses. */
  readonly nodePortAddresses: 'all' | readonly Ip[];
  /** NodePorts answer at 127.0.0.1 too. */
  readonly localhostNodePorts: boolean;
  /** Connection tracking takes packets out of the window for valid (nf_conntrack_tcp_be_liberal). */
  readonly tcpBeLiberal: boolean;
}

/** A rule of a chain that the kernel itself calls. */
export interface Jump {
  readonly table: IptablesTable;
  readonly from: string;
  readonly to: string;
  readonly rule: string;
}

const comment = (text: string): Match => ({ match: 'comment', text });
const rule = (matches: readonly Match[], target: Target): string => ruleText({ matches, target });

function jump(table: IptablesTable, from: string, to: string, about?: string, onlyNew = false): Jump {
  const isNew: Match[] = onlyNew ? [{ match: 'state', states: ['NEW'] }] : [];
  const matches = [...isNew, ...(about === undefined ? [] : [comment(about)])];
  return { table, from, to, rule: rule(matches, { to: 'chain', chain: to }) };
}

/** The ways into our chains, the one that was put in front last at the end. */
export const jumps: readonly Jump[] = [
  ...['INPUT', 'FORWARD'].map((from) =>
    jump('filter', from, filterChains.externalServices, 'kubernetes externally-visible service portals', true),
  ),
  jump('filter', 'INPUT', filterChains.nodePorts, 'kubernetes health check service ports'),
  ...['FORWARD', 'OUTPUT'].map((from) =>
    jump('filter', from, filterChains.services, 'kubernetes service portals', true),
  ),
  jump('filter', 'FORWARD', filterChains.forward, 'kubernetes forwarding rules'),
  ...['INPUT', 'OUTPUT', 'FORWARD'].map((from) =>
    jump('filter', from, filterChains.firewall, 'kubernetes load balancer firewall', true),
  ),
  ...['OUTPUT', 'PREROUTING'].map((from) => jump('nat', from, natChains.services, 'kubernetes service portals')),
  jump('nat', 'POSTROUTING', natChains.postrouting, 'kubernetes postrouting rules'),
  ...['INPUT', 'OUTPUT'].map((from) => jump('filter', from, filterChains.localnet)),
];

/** The shared chains of the table nat that no Service adds to. */
export function fixedNatChains(): Map<string, readonly string[]> {
  return new Map([
    [
      natChains.postrouting,
      [
        rule([{ match: 'mark', value: masqueradeBit, mask: masqueradeBit, not: true }], { to: 'RETURN' }),
        // The bit goes: the kernel keeps it through an encapsulation, and the outer packet would be translated too.
        rule([], { to: 'flip mark bits', bits: masqueradeBit }),
        rule([comment('kubernetes service traffic requiring SNAT')], { to: 'MASQUERADE' }),
      ],
    ],
    [natChains.markForMasquerade, [rule([], { to: 'set mark bits', bits: masqueradeBit })]],
  ]);
}

/** The shared chains of the table filter that no Service adds to. */
export function fixedFilterChains(options: FixedOptions): Map<string, readonly string[]> {
  const { family, tcpBeLiberal, localhostNodePorts } = options;
  // Packets that connection tracking cannot place would not be translated back: the client resets the connection.
  const invalid = tcpBeLiberal ? [] : [rule([{ match: 'state', states: ['INVALID'] }], { to: 'DROP' })];
  const guard =
    family === 'IPv4' && localhostNodePorts
      ? [
          // With route_localnet others on the LAN could otherwise reach what listens on 127.0.0.1 (CVE-2020-8558).
          rule(
            [
              comment('block incoming localnet connections'),
              { match: 'destination', range: loopback.IPv4 },
              { match: 'source', range: loopback.IPv4, not: true },
              { match: 'state', states: ['RELATED', 'ESTABLISHED', 'DNAT'], not: true },
            ],
            { to: 'DROP' },
          ),
        ]
      : [];
  return new Map([
    [
      filterChains.forward,
      [
        ...invalid,
        rule([comment('kubernetes forwarding rules'), { match: 'mark', value: masqueradeBit, mask: masqueradeBit }], {
          to: 'ACCEPT',
        }),
        rule(
          [comment('kubernetes forwarding conntrack rule'), { match: 'state', states: ['RELATED', 'ESTABLISHED'] }],
          { to: 'ACCEPT' },
        ),
      ],
    ],
    [filterChains.localnet, guard],
  ]);
}

/** The canary of the table mangle, which says besides whose rules these are. */
export const ownCanary: readonly string[] = [ruleText({ matches: [comment(ownMark)] })];

/** The end of KUBE-SERVICES: what no Service's own address was for. */
export function toNodePorts({ family, nodePortAddresses, localhostNodePorts }: FixedOptions): string[] {
  const about = comment('kubernetes service nodeports; NOTE: this must be the last rule in this chain');
  const target: Target = { to: 'chain', chain: natChains.nodePorts };
  if (nodePortAddresses !== 'all')
    return nodePortAddresses.map((range) => rule([about, { match: 'destination', range }], target));
  const notLoopback: Match[] =
    family === 'IPv6' || !localhostNodePorts ? [{ match: 'destination', range: loopback[family], not: true }] : [];
  return [rule([about, { match: 'destination type', type: 'LOCAL' }, ...notLoopback], target)];
}
