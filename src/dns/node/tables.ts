// Decides how packets find the DNS server of their own node: without connection tracking, for as long as it serves. Pure.
//
//   pod ──► cluster DNS address ──► raw: it serves, and a socket is there ──► untracked ──► the server of this node
//                                   raw: otherwise                        ──► Service kube-dns ──► another node's server
//
// The server renews its place in `serving` again and again. One that hangs drops out within a second; one that is killed
// has no sockets any more and drops out at once; one that ends takes itself out first and serves on for a while.
import type { Chain, Change, Expr, Rule, SetDefinition, Statement, TableName, TableWithSets } from '../../linux/nft.ts';
import { elementKey } from '../../linux/nft.ts';
import { type Family, familyOf, type Ip } from '../../net/address.ts';

/** Where clients that know of it find the server of their node, as with Kubernetes' NodeLocal DNSCache. */
export const localAddress = '169.254.20.10';

/** Seconds for which the kernel believes that the server serves. */
export const servingSeconds = 1;

const tableName = 'weft-dns';
const dnsPort = 53;
/** Before connection tracking, as the table `raw` of iptables. */
const raw = -300;
const flowSeconds = 120;
const largestFlows = 65_536;

export const tableOf = (family: Family): TableName => ({ family: family === 'IPv4' ? 'ip' : 'ip6', name: tableName });

/** The same with what is in its sets: the kernel is told of elements without nft's parser, and without its cache. */
export const tableWithSets = (family: Family): TableWithSets => setsOf[family];

/** The table as it is before the server serves; it holds nothing else than what belongs to these addresses. */
export function nodeTable(family: Family, addresses: readonly Ip[]): Change {
  const added = addresses
    .filter((ip) => familyOf(ip) === family)
    .map((ip) => ({ set: 'own', key: elementKey(ip), comment: 'an address of the DNS server' }));
  return { replace: { sets: sets(family) }, chains: chains(family), removed: [], added };
}

/** The change by which the kernel believes for another moment that the server serves at these addresses, or no more. */
export function serve(family: Family, addresses: readonly Ip[], isServing: boolean): Change {
  const lifetime = { timeout: servingSeconds, expires: servingSeconds };
  const own = addresses.filter((ip) => isServing && familyOf(ip) === family);
  const added = own.map((ip) => ({ set: 'serving', key: elementKey(ip), lifetime }));
  // Kernels before 6.12 do not renew an element that is there: it goes and comes in one transaction.
  return { chains: [], flushed: ['serving'], removed: [], added };
}

/** Only the time of elements that are there already: for kernels that renew what is added again (Linux 6.12). */
export function renew(family: Family, addresses: readonly Ip[]): Change {
  const { added, removed, chains } = serve(family, addresses, true);
  return { added, removed, chains };
}

const header = (family: Family): 'ip' | 'ip6' => (family === 'IPv4' ? 'ip' : 'ip6');
const address = (family: Family, field: 'saddr' | 'daddr'): Expr => ({
  kind: 'payload',
  header: header(family),
  field,
});
const port = (field: 'sport' | 'dport', protocol: 'tcp' | 'udp'): Expr => ({
  kind: 'payload',
  header: protocol,
  field,
});
const among = (left: Expr, set: string): Statement => match(left, { kind: 'set', name: set });
const match = (left: Expr, right: Expr, op: '==' | 'has' = '=='): Statement => ({ do: 'match', left, op, right });
const isDns = (field: 'sport' | 'dport', protocol: 'tcp' | 'udp'): Statement =>
  match(port(field, protocol), { kind: 'number', value: dnsPort });
const has = (flag: 'syn' | 'ack'): Statement => match({ kind: 'tcp-flags' }, { kind: 'word', value: flag }, 'has');
/** There is a socket for the packet, and it is bound to just this address. */
const hasSocket: Statement = match({ kind: 'socket', key: 'wildcard' }, { kind: 'number', value: 0 });
const untracked: readonly Statement[] = [{ do: 'notrack' }, { do: 'verdict', to: { verdict: 'accept' } }];
const rule = (...statements: readonly Statement[]): Rule => ({ statements });

/**
 * A client's connection. nft 1.0.6 ends with a failed assertion where a rule updates a set whose key is a concatenation
 * of more than 16 bytes: in IPv6 it is 64 bits of two hashes.
 */
function flowOf(family: Family): Expr[] {
  const client = [address(family, 'saddr'), port('sport', 'tcp')];
  if (family === 'IPv4') return client;
  return [1, 2].map((seed) => ({ kind: 'hash', of: { kind: 'concat', parts: client }, seed }));
}

const sets = (family: Family): SetDefinition[] => [
  { name: 'own', key: [address(family, 'daddr')] },
  { name: 'serving', key: [address(family, 'daddr')], timeout: true },
  // Connections of TCP that the server of this node has taken: they stay with it to their end.
  { name: 'flows', key: flowOf(family), dynamicSize: largestFlows },
];

const setsOf: Readonly<Record<Family, TableWithSets>> = {
  IPv4: { ...tableOf('IPv4'), sets: sets('IPv4') },
  IPv6: { ...tableOf('IPv6'), sets: sets('IPv6') },
};

function chains(family: Family): Chain[] {
  const flow: Expr = { kind: 'concat', parts: flowOf(family) };
  const remember: Statement = { do: 'update', map: 'flows', key: flow, timeoutSeconds: flowSeconds };
  const known = rule(
    isDns('dport', 'tcp'),
    among(address(family, 'daddr'), 'own'),
    has('ack'),
    among(flow, 'flows'),
    remember,
    ...untracked,
  );
  const serving = among(address(family, 'daddr'), 'serving');
  const answers = (['udp', 'tcp'] as const).map((protocol) =>
    rule(among(address(family, 'saddr'), 'own'), isDns('sport', protocol), ...untracked),
  );
  return [
    {
      name: 'prerouting',
      hook: { type: 'filter', hook: 'prerouting', priority: raw },
      rules: [
        rule(serving, isDns('dport', 'udp'), hasSocket, ...untracked),
        known,
        rule(serving, isDns('dport', 'tcp'), has('syn'), hasSocket, remember, ...untracked),
      ],
    },
    {
      name: 'output',
      hook: { type: 'filter', hook: 'output', priority: raw },
      // Of a packet that starts here, `socket` is the one that sent it: only the server's own word counts.
      rules: [
        rule(serving, isDns('dport', 'udp'), ...untracked),
        known,
        rule(serving, isDns('dport', 'tcp'), has('syn'), remember, ...untracked),
        ...answers,
      ],
    },
  ];
}
