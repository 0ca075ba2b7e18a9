// The nftables table of the proxy before any Service: a constant number of maps, everything else is elements. Pure.
//
//   dispatch:  (daddr, protocol, port) -> services -> goto tcp-n3: one of 3 -> endpoints-tcp (…, index) -> dnat
//
// There is one chain for each NUMBER of endpoints in use with a protocol, so that another Service is a few elements and no rule.
// Masquerading is decided after the translation by the address that the connection was first sent to: no mark is used
// that other software could use too. (Session affinity carries a mark within one chain and clears it afterwards.)
import type { Chain, Expr, L4Protocol, SetDefinition, Statement } from '../../linux/nft.ts';
import type { TableSchema } from '../../linux/nft-table.ts';
import { asCidr, type Cidr, type Family, familyOf } from '../../net/address.ts';
import { affinityMarkRange, affinitySets } from './affinity.ts';
import {
  address,
  anyIndex,
  concat,
  frontendParts,
  goto,
  mark,
  match,
  number,
  portOf,
  protocolExpr,
  rule,
  to,
} from './expressions.ts';

/** The name of the proxy's tables, `ip weft-proxy` and `ip6 weft-proxy`. */
const tableName = 'weft-proxy';

const transports = ['tcp', 'udp', 'sctp'] as const satisfies readonly L4Protocol[];

/**
 * The table as it is before any Service: its maps, and the chains that are always there. Where NodePorts are open on
 * 127.0.0.1, packets of others that name such an address are dropped.
 */
export function proxyTable(family: Family, clusterCidrs: readonly Cidr[], hasLocalhost = false): TableSchema {
  const pods = clusterCidrs.filter((range) => familyOf(range) === family);
  return {
    family: family === 'IPv4' ? 'ip' : 'ip6',
    name: tableName,
    sets: sets(family),
    chains: [
      ...endings(family, pods),
      ...dispatch(family, pods),
      ...hooks(family),
      ...(hasLocalhost && family === 'IPv4' ? [loopbackGuard] : []),
    ],
  };
}

function sets(family: Family): SetDefinition[] {
  const frontend = frontendParts(family);
  return [
    { name: 'cluster-ips', key: [address(family, 'daddr')] },
    { name: 'service-ranges', key: [address(family, 'daddr')], interval: true },
    { name: 'own-pods', key: [address(family, 'saddr')], interval: true },
    // Counters show which address and which endpoint gets the connections; they cost a sixth of the time of a full load.
    { name: 'services', key: frontend, value: 'verdict', counter: true },
    { name: 'outside-services', key: frontend, value: 'verdict', counter: true },
    ...transports.map((protocol) => ({
      name: `endpoints-${protocol}`,
      key: [address(family, 'daddr'), portOf(protocol), anyIndex],
      value: [address(family, 'daddr'), portOf(protocol)],
      counter: true,
    })),
    { name: 'source-nat', key: frontend, value: 'verdict' },
    { name: 'hairpin', key: [address(family, 'saddr'), address(family, 'daddr')] },
    { name: 'guarded', key: frontend },
    { name: 'sources', key: [...frontend, address(family, 'saddr')], interval: true },
    ...affinitySets(family),
  ];
}

/** The chains that a connection ends in when it is not translated, and those that say whose source is translated. */
function endings(family: Family, pods: readonly Cidr[]): Chain[] {
  const unreachable = family === 'IPv4' ? 'icmp port-unreachable' : 'icmpv6 port-unreachable';
  const masquerade: Statement = { do: 'masquerade' };
  const saddr = address(family, 'saddr');
  return [
    {
      name: 'reject-new',
      rules: [
        // ICMP errors are limited to one a second for each destination; a reset always arrives.
        rule(match(protocolExpr, { kind: 'word', value: 'tcp' }), { do: 'reject', with: 'tcp reset' }),
        rule({ do: 'reject', with: unreachable }),
      ],
    },
    { name: 'drop-new', rules: [rule(to({ verdict: 'drop' }))] },
    { name: 'masquerade-everybody', rules: [rule(masquerade)] },
    {
      name: 'masquerade-outside',
      rules: pods.length === 0 ? [] : [rule(match(saddr, anyOf(pods), '!='), notOfTheLink, masquerade)],
    },
    {
      name: 'masquerade-visitors',
      rules: [
        rule(fromNode('=='), masquerade),
        // A pod of another node came by that node's address: the answer must go back through this one.
        ...(pods.length === 0
          ? []
          : [rule(match(saddr, anyOf(pods)), match(saddr, { kind: 'set', name: 'own-pods' }, '!='), masquerade)]),
      ],
    },
  ];
}

const anyOf = (ranges: readonly Cidr[]): Expr => ({
  kind: 'anyOf',
  values: ranges.map((value): Expr => ({ kind: 'address', value })),
});

const fromNode = (op: '==' | '!='): Statement =>
  match({ kind: 'fib', address: 'saddr', result: 'type' }, { kind: 'word', value: 'local' }, op);

/**
 * The source is not yet an address of the link that the packet leaves by. Where it is one, masquerading would change
 * nothing, but for this: the kernel forgets all masqueraded connections of a link that goes down, and the watches of this
 * node's own components would hang on connections that nobody knows any more.
 */
const notOfTheLink: Statement = match(
  { kind: 'fib', address: 'saddr', link: 'oif', result: 'type' },
  { kind: 'word', value: 'local' },
  '!=',
);

function dispatch(family: Family, pods: readonly Cidr[]): Chain[] {
  const key = concat(...frontendParts(family));
  const saddr = address(family, 'saddr');
  const fromOutside = pods.length === 0 ? [] : [match(saddr, anyOf(pods), '!=')];
  return [
    {
      name: 'dispatch',
      rules: [
        rule(
          match(key, { kind: 'set', name: 'guarded' }),
          match(concat(key, saddr), { kind: 'set', name: 'sources' }, '!='),
          to(goto('drop-new')),
        ),
        rule(...fromOutside, fromNode('!='), { do: 'vmap', key, map: 'outside-services' }),
        rule({ do: 'vmap', key, map: 'services' }),
        rule(match(address(family, 'daddr'), { kind: 'set', name: 'cluster-ips' }), to(goto('reject-new'))),
        // Nobody has the address: beyond this node it would go round between routers, or to someone who is not meant.
        rule(match(address(family, 'daddr'), { kind: 'set', name: 'service-ranges' }), to(goto('drop-new'))),
      ],
    },
  ];
}

/**
 * The kernel's setting route_localnet lets what a process sends from 127.0.0.1 leave the node, once its address is
 * translated; without this guard it would also let others reach what listens on 127.0.0.1 (CVE-2020-8558). Answers come
 * to the node's own address: they are translated back after this chain.
 */
const loopbackGuard: Chain = {
  name: 'loopback-guard',
  hook: { type: 'filter', hook: 'prerouting', priority: -300 },
  rules: (['saddr', 'daddr'] as const).map((field) =>
    rule(
      match({ kind: 'meta', key: 'iifname' }, { kind: 'text', value: 'lo' }, '!='),
      match(address('IPv4', field), { kind: 'address', value: asCidr('127.0.0.0/8') }),
      to({ verdict: 'drop' }),
    ),
  ),
};

/** The chains that the kernel calls; those of type nat see the first packet of each connection only. */
function hooks(family: Family): Chain[] {
  const header = family === 'IPv4' ? 'ip' : 'ip6';
  const first = concat({ kind: 'ct-original', key: `${header} daddr` }, protocolExpr, {
    kind: 'ct-original',
    key: 'proto-dst',
  });
  const anyTransport: Expr = { kind: 'anyOf', values: transports.map((value): Expr => ({ kind: 'word', value })) };
  const translated = match({ kind: 'ct', key: 'status' }, { kind: 'word', value: 'dnat' }, 'has');
  const fromTo = concat(address(family, 'saddr'), address(family, 'daddr'));
  return [
    {
      name: 'prerouting',
      hook: { type: 'nat', hook: 'prerouting', priority: -100 },
      rules: [rule(to(goto('dispatch')))],
    },
    { name: 'output', hook: { type: 'nat', hook: 'output', priority: -100 }, rules: [rule(to(goto('dispatch')))] },
    {
      name: 'postrouting',
      hook: { type: 'nat', hook: 'postrouting', priority: 100 },
      rules: [
        // What session affinity left on the first packet; nobody else shall have to know of it.
        rule(match(mark, affinityMarkRange), {
          do: 'mark',
          value: number(0),
        }),
        // A pod that reaches itself through its Service must see another source, or its answer never leaves it.
        rule(translated, match(fromTo, { kind: 'set', name: 'hairpin' }), { do: 'masquerade' }),
        rule(translated, match(protocolExpr, anyTransport), { do: 'vmap', key: first, map: 'source-nat' }),
      ],
    },
  ];
}
