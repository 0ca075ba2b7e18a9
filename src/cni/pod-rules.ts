// What nftables does for the pods of a node: drops packets with a source that is not the pod's, opens host ports, and
// masquerades what leaves the cluster. Pure: tables that never change, and the elements that each attachment adds.
import type { Element, Expr, Rule, Statement } from '../linux/nft.ts';
import { commentOf, elementKey } from '../linux/nft.ts';
import type { Contribution, TableSchema } from '../linux/nft-table.ts';
import { asCidr, asIp, type Cidr, cidrContainsRange, type Family, familyOf } from '../net/address.ts';
import type { Lease } from './lease-store.ts';
import { bridgeName, hostLinkName } from './plan.ts';

const meta = (key: 'l4proto' | 'iifname' | 'oifname'): Expr => ({ kind: 'meta', key });
const address = (header: 'ip' | 'ip6', field: 'saddr' | 'daddr'): Expr => ({ kind: 'payload', header, field });
const arpSource: Expr = { kind: 'payload', header: 'arp', field: 'saddr ip' };
const port: Expr = { kind: 'payload', header: 'th', field: 'dport' };
const concat = (...parts: readonly Expr[]): Expr => ({ kind: 'concat', parts });
const isIn = (left: Expr, set: string): Statement => ({
  do: 'match',
  left,
  op: '==',
  right: { kind: 'set', name: set },
});
const verdict = (to: 'accept' | 'drop'): Statement => ({ do: 'verdict', to: { verdict: to } });
const rule = (...statements: readonly Statement[]): Rule => ({ statements });

/**
 * The guard of the bridge, at its very entrance. A pod's port lets in what has one of the pod's own addresses as source
 * (in IP and in ARP), and in IPv6 what has only a meaning on the link: link-local sources, and none at all as duplicate
 * address detection has it. Ports that are no pod's are left alone. A packet in order costs one look-up.
 */
export const guardTable: TableSchema = {
  family: 'bridge',
  name: 'weft-cni',
  sets: [
    { name: 'ports', key: [meta('iifname')] },
    { name: 'sources', key: [meta('iifname'), address('ip', 'saddr')] },
    { name: 'sources6', key: [meta('iifname'), address('ip6', 'saddr')] },
  ],
  chains: [
    {
      name: 'prerouting',
      hook: { type: 'filter', hook: 'prerouting', priority: -300 },
      rules: [
        rule(isIn(concat(meta('iifname'), address('ip', 'saddr')), 'sources'), verdict('accept')),
        rule(isIn(concat(meta('iifname'), address('ip6', 'saddr')), 'sources6'), verdict('accept')),
        rule(isIn(concat(meta('iifname'), arpSource), 'sources'), verdict('accept')),
        ...[asCidr('fe80::/10'), asIp('::')].map((value) =>
          rule(
            { do: 'match', left: address('ip6', 'saddr'), op: '==', right: { kind: 'address', value } },
            verdict('accept'),
          ),
        ),
        rule(isIn(meta('iifname'), 'ports'), verdict('drop')),
      ],
    },
  ],
};

/** The ranges to which packets of pods keep their source, besides those that the user names: the link, and groups. */
const neverMasqueraded: Record<Family, readonly Cidr[]> = {
  IPv4: ['169.254.0.0/16', '224.0.0.0/4', '255.255.255.255/32'].map(asCidr),
  IPv6: ['fe80::/10', 'ff00::/8'].map(asCidr),
};

/**
 * Host ports and masquerading of a family. Priorities: host ports with the Services (-100), masquerading where source
 * addresses are changed (100), and the guard of the node's loopback before everything (-300): host ports on 127.0.0.1
 * need `route_localnet` on the bridge, which must not let pods reach what listens there.
 */
export function hostTable(family: Family): TableSchema {
  const ip = family === 'IPv4' ? 'ip' : 'ip6';
  const [source, destination] = [address(ip, 'saddr'), address(ip, 'daddr')];
  const translate: Rule[] = [
    rule({
      do: 'dnat',
      family: ip,
      to: { kind: 'lookup', key: concat(destination, meta('l4proto'), port), map: 'ports' },
    }),
    rule(
      {
        do: 'match',
        left: { kind: 'fib', address: 'daddr', result: 'type' },
        op: '==',
        right: { kind: 'word', value: 'local' },
      },
      { do: 'dnat', family: ip, to: { kind: 'lookup', key: concat(meta('l4proto'), port), map: 'any-ports' } },
    ),
  ];
  const bridge: Expr = { kind: 'text', value: bridgeName };
  const loopback: Expr = { kind: 'address', value: asCidr(family === 'IPv4' ? '127.0.0.0/8' : '::1/128') };
  const dnatted: Statement = {
    do: 'match',
    left: { kind: 'ct', key: 'status' },
    op: 'has',
    right: { kind: 'word', value: 'dnat' },
  };
  return {
    family: ip,
    name: 'weft-cni',
    sets: [
      { name: 'ports', key: [destination, meta('l4proto'), port], value: [destination, port] },
      { name: 'any-ports', key: [meta('l4proto'), port], value: [destination, port] },
      { name: 'hairpins', key: [source, destination] },
      { name: 'pods', key: [source], interval: true },
      { name: 'inside', key: [destination], interval: true },
    ],
    chains: [
      {
        name: 'loopback',
        hook: { type: 'filter', hook: 'prerouting', priority: -300 },
        rules: [
          rule(
            { do: 'match', left: meta('iifname'), op: '==', right: bridge },
            { do: 'match', left: destination, op: '==', right: loopback },
            verdict('drop'),
          ),
        ],
      },
      { name: 'prerouting', hook: { type: 'nat', hook: 'prerouting', priority: -100 }, rules: translate },
      { name: 'output', hook: { type: 'nat', hook: 'output', priority: -100 }, rules: translate },
      {
        name: 'postrouting',
        hook: { type: 'nat', hook: 'postrouting', priority: 100 },
        rules: [
          // A pod that reaches itself by its own host port.
          rule(dnatted, isIn(concat(source, destination), 'hairpins'), { do: 'masquerade' }),
          // Loopback has no meaning for a pod.
          rule(
            { do: 'match', left: meta('oifname'), op: '==', right: bridge },
            { do: 'match', left: source, op: '==', right: loopback },
            { do: 'masquerade' },
          ),
          rule(
            isIn(source, 'pods'),
            { do: 'match', left: destination, op: '!=', right: { kind: 'set', name: 'inside' } },
            { do: 'masquerade' },
          ),
        ],
      },
    ],
  };
}

/** What an attachment adds to the guard. */
export function guardOf(lease: Lease): Contribution {
  const port = { interface: hostLinkName(lease.attachment) };
  const comment = commentOf(lease.pod === '' ? lease.attachment.containerId : lease.pod);
  return {
    chains: [],
    elements: [
      { set: 'ports', key: elementKey(port), comment },
      ...lease.addresses.map((own) => ({
        set: familyOf(own) === 'IPv4' ? 'sources' : 'sources6',
        key: elementKey(port, own),
        comment,
      })),
    ],
  };
}

/** What an attachment adds to the table of a family: its host ports, to its first address of the family. */
export function hostPortsOf(lease: Lease, family: Family): Contribution {
  const own = lease.addresses.find((candidate) => familyOf(candidate) === family);
  const ports = lease.settings.ports.filter(({ hostIp }) => hostIp === undefined || familyOf(hostIp) === family);
  if (own === undefined || ports.length === 0) return { chains: [], elements: [] };
  const comment = commentOf(lease.pod === '' ? lease.attachment.containerId : lease.pod);
  const elements = ports.map(({ protocol, hostPort, hostIp, containerPort }): Element => {
    const value = elementKey(own, containerPort);
    if (hostIp === undefined) return { set: 'any-ports', key: elementKey(protocol, hostPort), value, comment };
    return { set: 'ports', key: elementKey(hostIp, protocol, hostPort), value, comment };
  });
  return { chains: [], elements: [...elements, { set: 'hairpins', key: elementKey(own, own), comment }] };
}

/** Which packets of pods leave with the node's address; `false` for none. */
export interface Masquerade {
  /** Destinations outside of the cluster to which packets of pods keep their source all the same. */
  readonly except: readonly Cidr[];
}

/** The pods' ranges, and the destinations to which their packets keep their source. */
export function masqueradeOf(
  family: Family,
  { pods, inside }: { readonly pods: readonly Cidr[]; readonly inside: readonly Cidr[] },
): Contribution {
  const ofFamily = (ranges: readonly Cidr[]): Cidr[] => ranges.filter((range) => familyOf(range) === family);
  const elements = [
    ...ofFamily(pods).map((range) => ({ set: 'pods', key: elementKey(range) })),
    ...withoutCovered([...ofFamily(inside), ...neverMasqueraded[family]]).map((range) => ({
      set: 'inside',
      key: elementKey(range),
    })),
  ];
  return { chains: [], elements };
}

/** Leaves out ranges that lie within others: the elements of an interval set must not overlap. */
function withoutCovered(ranges: readonly Cidr[]): Cidr[] {
  const unique = [...new Set(ranges)];
  return unique.filter((range) => !unique.some((other) => other !== range && cidrContainsRange(other, range)));
}
